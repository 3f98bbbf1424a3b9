package manifest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// folders unpacks the folders of testdata/folders, each in an archive of its own
// that also holds what is made of it.
func folders(t *testing.T) map[string]string {
	t.Helper()
	archives, err := filepath.Glob("testdata/folders/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no folders: %v", err)
	}
	unpacked := map[string]string{}
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, file := range archive.Files {
			if file.Name != "want" {
				files[file.Name] = string(file.Data)
			}
		}
		unpacked[strings.TrimSuffix(filepath.Base(path), ".txtar")] = folder(t, files)
	}
	return unpacked
}
