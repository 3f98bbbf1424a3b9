package sqlite_test

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/sqlite"
	"github.com/springtide/springtide/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Writer(func(place string) (store.Store, error) {
		return sqlite.Open(context.Background(), place, slog.New(slog.DiscardHandler))
	})
	os.Exit(m.Run())
}

func TestWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tide.db")
	storetest.SurviveKills(t, path, func() store.Store {
		checkIntegrity(t, path)
		return open(t, path)
	})
}

func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check says %q (%v)", verdict, err)
	}
	rows, err := db.QueryContext(t.Context(), "PRAGMA foreign_key_check")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() {
		t.Error("foreign_key_check finds rows that hang on nothing")
	}
	if err := rows.Err(); err != nil {
		t.Error(err)
	}
}
