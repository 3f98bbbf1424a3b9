package ledger

import (
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
)

func TestACopyOfALedgerHasItsRuns(t *testing.T) {
	w := sqliteWorld(t)
	enqueued, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil)
	w.must(err)
	to := filepath.Join(t.TempDir(), "copy.db")
	for range 2 {
		w.must(w.Copy(t.Context(), to))
	}
	copied, err := Open(t.Context(), to, Options{})
	w.must(err)
	defer copied.Close()
	if _, err := copied.Run(t.Context(), quiz, enqueued[0].Run); err != nil {
		t.Error(err)
	}
}

func TestALedgerInPostgreSQLSaysWhereItIsKeptSafe(t *testing.T) {
	w := postgresWorld(t)
	if err := w.Copy(t.Context(), filepath.Join(t.TempDir(), "copy.db")); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("got %v", err)
	}
}
