package control

import (
	"context"
	"database/sql"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// dataFolder is an empty one, with a database.
func dataFolder(t *testing.T) string {
	t.Helper()
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), filepath.Join(data, "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	id := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	if _, err := store.CreateEnvironment(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	release, err := store.AddRelease(t.Context(), springtide.Release{Environment: id, Artifact: "sha256:0"})
	if err != nil {
		t.Fatal(err)
	}
	group := springtide.Group{ID: springtide.GroupID{Environment: id, Release: release.Number, Process: springtide.Web, Generation: 1}}
	if err := store.PutGroup(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	return data
}

// runAndEnd runs a control plane and waits until it ends by itself.
func runAndEnd(t *testing.T, data string) error {
	t.Helper()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { ended <- Run(ctx, Options{DataFolder: data, Logger: slog.New(slog.DiscardHandler)}) }()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the control plane neither works nor ends")
		return nil
	}
}

func TestAControlPlaneThatCannotReadWhatIsWantedEnds(t *testing.T) {
	data := dataFolder(t)
	db, err := sql.Open("sqlite", filepath.Join(data, "tide.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), `UPDATE groups SET template = 'damaged'`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := runAndEnd(t, data); err == nil {
		t.Error("it ended without an error")
	}
}

func TestAControlPlaneWithoutItsSocketEnds(t *testing.T) {
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "run", "feed.sock", "in-the-way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := runAndEnd(t, data); err == nil {
		t.Error("it ended without an error")
	}
}

func TestAControlPlaneWithADamagedDatabaseSaysSo(t *testing.T) {
	data := t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "tide.db"), []byte("this was a database, once upon a time, and is one no more; it has become a story"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runAndEnd(t, data); springtide.KindOf(err) != springtide.Failed {
		t.Errorf("got %v", err)
	}
}
