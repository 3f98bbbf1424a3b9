package sqlite_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/sqlite"
	"github.com/springtide/springtide/internal/store/storetest"
)

func TestTheStoreDoesWhatAStoreHasToDo(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		path := filepath.Join(t.TempDir(), "tide.db")
		return func() store.Store { return open(t, path) }
	})
}

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNobodyElseMayReadTheFiles(t *testing.T) {
	folder := t.TempDir()
	s := open(t, filepath.Join(folder, "tide.db"))
	defer s.Close()
	if _, err := s.NextTableVersion(t.Context()); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 {
		t.Errorf("want database, log and index, got %v", files)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %s", file.Name(), info.Mode())
		}
	}
}

func TestAFolderWithAnyNameCanHoldIt(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a b?c=d#e%20f&_pragma=g")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, filepath.Join(folder, "tide.db")).Close()
	if info, err := os.Stat(filepath.Join(folder, "tide.db")); err != nil || info.Size() == 0 {
		t.Errorf("the database is not where it should be: %v %v", info, err)
	}
}

func TestOpeningSaysWhatIsWrong(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		kind springtide.ErrorKind
		text string
	}{
		garbage: {springtide.Failed, "not a database"},
		filepath.Join(folder, "missing", "tide.db"): {springtide.Unavailable, "no such file or directory"},
	} {
		_, err := sqlite.Open(t.Context(), path, slog.New(slog.DiscardHandler))
		if springtide.KindOf(err) != want.kind || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: got %v, want kind %s and %q", path, err, want.kind, want.text)
		}
	}
}
