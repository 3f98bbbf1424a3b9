package control

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/durable"
)

// fakeTasks is an engine that counts what it is told to run.
type fakeTasks struct {
	known string // a task that it has begun
	run   []string
}

func (f *fakeTasks) Knows(_ context.Context, task string) (bool, error) { return task == f.known, nil }

func (f *fakeTasks) Exec(_ context.Context, task springtide.Task) (springtide.Exit, error) {
	f.run = append(f.run, task.ID)
	return springtide.Exit{Code: 3}, nil
}

// earlier writes what an earlier control plane left of a run.
func earlier(t *testing.T, data, id string, started time.Time) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(data, "runs"), 0o700); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(record{Run: api.OneOff{ID: id, Started: started}, Task: springtide.Task{ID: id, Command: "./charge-everybody"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(data, "runs", id+".json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAskingHowARunEndedNeverRunsItAgain(t *testing.T) {
	data, tasks := t.TempDir(), &fakeTasks{known: "run-kept"}
	earlier(t, data, "run-kept", time.Now().Add(-time.Hour))
	earlier(t, data, "run-forgotten", time.Now().Add(-23*time.Hour))
	r, err := newRuns(t.Context(), nil, tasks, nil, data, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if run, err := r.WaitRun(t.Context(), "run-kept"); err != nil || run.Exit == nil || run.Exit.Code != 3 {
		t.Errorf("a run that the engine has: %+v, %v", run, err)
	}
	if run, err := r.WaitRun(t.Context(), "run-forgotten"); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("a run that the engine has forgotten: %+v, %v", run, err)
	}
	if len(tasks.run) != 1 || tasks.run[0] != "run-kept" {
		t.Errorf("the engine was told to run %v", tasks.run)
	}
}

func TestOldRunsAreForgottenUnlessTheyStillRun(t *testing.T) {
	data := t.TempDir()
	for id, age := range map[string]time.Duration{"run-new": time.Hour, "run-old": 30 * time.Hour, "run-long": 30 * time.Hour} {
		earlier(t, data, id, time.Now().Add(-age))
	}
	if _, err := newRuns(t.Context(), nil, &fakeTasks{known: "run-long"}, nil, data, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(data, "runs", "*"))
	if err != nil || len(kept) != 2 {
		t.Errorf("kept %v, %v", kept, err)
	}
}
