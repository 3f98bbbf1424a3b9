package sqlite_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
)

func TestACopyIsAStoreOfOneMomentWhileOthersWrite(t *testing.T) {
	folder := t.TempDir()
	s := open(t, filepath.Join(folder, "tide.db"))
	defer s.Close()
	quiz := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	if _, err := s.CreateEnvironment(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	stop, written := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			if _, err := s.NextTableVersion(t.Context()); err != nil {
				written <- err
				return
			}
			select {
			case <-stop:
				written <- nil
				return
			default:
			}
		}
	}()
	to := filepath.Join(folder, "copy.db")
	// What a copy that was killed left behind is in nobody's way.
	if err := os.WriteFile(to, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Copy(t.Context(), to); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(to)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the copy has mode %v, %v", info.Mode(), err)
	}
	copied := open(t, to)
	defer copied.Close()
	if _, err := copied.Environment(t.Context(), quiz); err != nil {
		t.Error(err)
	}
}
