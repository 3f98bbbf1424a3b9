package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func openForTrouble(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func wantUnavailable(t *testing.T, err error, text string) {
	t.Helper()
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want it unavailable because of %q", err, text)
	}
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskRefusesWritesAndRecoversByItself(t *testing.T) {
	s := openForTrouble(t)
	id := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	if _, err := s.CreateEnvironment(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	execute(t, s.truth, "PRAGMA max_page_count = 1")
	large := map[string]string{"A": strings.Repeat("x", 1<<20)}
	_, err := s.SetConfig(t.Context(), id, large, nil)
	wantUnavailable(t, err, "the disk is full")
	if _, err := s.Environment(t.Context(), id); err != nil {
		t.Errorf("reading: %v", err)
	}
	execute(t, s.truth, "PRAGMA max_page_count = 100000")
	if _, err := s.SetConfig(t.Context(), id, large, nil); err != nil {
		t.Errorf("after space was made: %v", err)
	}
}

func TestADatabaseLockedByAnotherProcessIsUnavailable(t *testing.T) {
	s := openForTrouble(t)
	other, err := truth().connect(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	execute(t, s.truth, "PRAGMA busy_timeout = 10")
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.NextTableVersion(t.Context())
	wantUnavailable(t, err, "another process has locked")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.NextTableVersion(t.Context()); err != nil {
		t.Errorf("after the lock was let go: %v", err)
	}
}

func TestAWriteThatWaitsForAnotherEndsWithItsContext(t *testing.T) {
	s := openForTrouble(t)
	s.writing <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.NextTableVersion(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-s.writing
	if _, err := s.NextTableVersion(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADatabaseOfANewerVersionIsRefused(t *testing.T) {
	s := openForTrouble(t)
	execute(t, s.truth, "PRAGMA user_version = 1000")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), s.path, slog.New(slog.DiscardHandler))
	if springtide.KindOf(err) != springtide.Failed || !strings.Contains(err.Error(), "written by a newer version") {
		t.Errorf("got %v", err)
	}
}

func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	s := openForTrouble(t)
	execute(t, s.truth, "DROP TABLE tokens")
	execute(t, s.truth, "PRAGMA user_version = 0")
	if err := s.migrate(t.Context()); err == nil {
		t.Fatal("want an error: the tables are there already")
	}
	var tables int
	if err := s.truth.QueryRowContext(t.Context(), "SELECT count(*) FROM sqlite_schema WHERE name = 'tokens'").Scan(&tables); err != nil {
		t.Fatal(err)
	}
	if tables != 0 {
		t.Error("a part of the migration has happened")
	}
}

func TestTheConnectionsAreSetUpForDurabilityAndLittleMemory(t *testing.T) {
	s := openForTrouble(t)
	for _, want := range []struct {
		db              *sql.DB
		setting, answer string
	}{
		{s.truth, "journal_mode", "wal"},
		{s.truth, "synchronous", "2"},
		{s.notes, "synchronous", "1"},
		{s.truth, "foreign_keys", "1"},
		{s.notes, "foreign_keys", "1"},
		{s.readers, "query_only", "1"},
		{s.truth, "cache_size", "-1024"},
		{s.readers, "cache_size", "-256"},
		{s.truth, "mmap_size", "0"},
		{s.truth, "busy_timeout", "5000"},
	} {
		var answer string
		if err := want.db.QueryRowContext(t.Context(), "PRAGMA "+want.setting).Scan(&answer); err != nil {
			t.Fatal(err)
		}
		if answer != want.answer {
			t.Errorf("%s is %s, want %s", want.setting, answer, want.answer)
		}
	}
}
