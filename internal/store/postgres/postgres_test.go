package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/postgres"
	"github.com/springtide/springtide/internal/store/sqlite"
	"github.com/springtide/springtide/internal/store/storetest"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

// shared is the server of those tests that do it no harm.
var shared struct {
	sync.Mutex
	*postgres15.Cluster
	folder    string
	databases int
}

func TestMain(m *testing.M) {
	storetest.Writer(func(place string) (store.Store, error) {
		return postgres.Open(context.Background(), place, slog.New(slog.DiscardHandler))
	})
	code := m.Run()
	if shared.Cluster != nil {
		shared.Stop()
		os.RemoveAll(shared.folder)
	}
	os.Exit(code)
}

// emptyDatabase gives the address of a new database.
func emptyDatabase(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Cluster == nil {
		folder, err := os.MkdirTemp("", "store-")
		if err == nil {
			err = os.Chmod(folder, 0o755)
		}
		if err == nil {
			shared.folder = folder
			shared.Cluster, err = postgres15.New(folder, postgres15.Options{NoFsync: true, Settings: map[string]string{"max_connections": "300"}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	shared.databases++
	address, err := shared.URL(t.Context(), fmt.Sprint("store", shared.databases))
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func open(t *testing.T, location string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), location, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestTheStoreDoesWhatAStoreHasToDo(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Place {
		location := emptyDatabase(t)
		return func() store.Store { return open(t, location) }
	})
}

func TestWhatWasAcknowledgedSurvivesKills(t *testing.T) {
	location := emptyDatabase(t)
	storetest.SurviveKills(t, location, func() store.Store {
		awaitAlone(t, location)
		return open(t, location)
	})
}

func TestBothDatabasesHaveTablesOfOneVersion(t *testing.T) {
	if postgres.Tables() != sqlite.Tables() {
		t.Errorf("PostgreSQL's are version %d, SQLite's are %d: each migration has a file in both", postgres.Tables(), sqlite.Tables())
	}
}
