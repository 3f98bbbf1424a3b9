package story

import (
	"os"
	"path/filepath"
	"testing"
)

// Folder makes a folder for a test that every user may pass through: apps have
// users of their own.
func Folder(t testing.TB) string {
	t.Helper()
	folder := t.TempDir()
	for _, path := range []string{filepath.Dir(folder), folder} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}
