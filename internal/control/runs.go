package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/engine"
)

// keepRuns is how long a run is remembered: as long as the engine keeps its outcome.
const keepRuns = 24 * time.Hour

// runs implements api.Runs. Each run is a file, so that a new control plane
// knows it: the engine attaches to the task of that ID.
type runs struct {
	ctx    context.Context // the control plane's: a run goes on without its client
	fleet  *deploy.Fleet
	engine engine.Engine
	root   func(context.Context, springtide.Digest) (string, error)
	folder string
	logger *slog.Logger

	mu      sync.Mutex
	waiting map[string]*wait
}

// newRuns makes the folder of the runs and forgets old ones.
func newRuns(ctx context.Context, fleet *deploy.Fleet, engine engine.Engine, root func(context.Context, springtide.Digest) (string, error), folder string, logger *slog.Logger) (*runs, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	r := &runs{ctx: ctx, fleet: fleet, engine: engine, root: root, folder: folder, logger: logger, waiting: make(map[string]*wait)}
	r.prune(time.Now().Add(-keepRuns))
	return r, nil
}

// wait is one wait for the engine's answer, shared by all who ask.
type wait struct {
	done chan struct{}
	exit springtide.Exit
	err  error
}

// record is a run's file.
type record struct {
	Run  api.Run         `json:"run"`
	Task springtide.Task `json:"task"`
}

// StartRun implements api.Runs.
func (r *runs) StartRun(ctx context.Context, request api.RunRequest) (api.Run, error) {
	environment, release, err := r.fleet.Environment(request.Environment)
	if err != nil {
		return api.Run{}, err
	}
	if environment.Active == 0 {
		return api.Run{}, springtide.Errorf(springtide.NotFound, "%s has no release to run in", request.Environment).WithHint("make one with `tide deploy`")
	}
	process, err := processFor(release.App, request.Process)
	if err != nil {
		return api.Run{}, err
	}
	root, err := r.root(ctx, release.Artifact)
	if err != nil {
		return api.Run{}, err
	}
	env := make(map[string]string)
	maps.Copy(env, release.App.Env)
	maps.Copy(env, process.Env)
	maps.Copy(env, release.Config)
	id := "run-" + strings.ToLower(rand.Text()[:10])
	rec := record{
		Run: api.Run{ID: id, Environment: request.Environment, Release: release.Number, Command: request.Command, Started: time.Now()},
		Task: springtide.Task{
			ID: id, Environment: request.Environment, Release: release.Number, Command: request.Command, Timeout: request.Timeout,
			Template: springtide.Template{Artifact: release.Artifact, Root: root, Process: process, Env: env},
		},
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return api.Run{}, err
	}
	if err := durable.WriteFile(r.path(id), data, 0o600); err != nil {
		return api.Run{}, err
	}
	r.await(rec.Task)
	return rec.Run, nil
}

// processFor chooses the process whose limits and variables a run gets.
func processFor(app springtide.App, name springtide.ProcessName) (springtide.Process, error) {
	names := app.ProcessNames()
	if name == "" {
		name = names[0]
		if _, has := app.Processes[springtide.Web]; has {
			name = springtide.Web
		}
	}
	process, has := app.Processes[name]
	if !has {
		return process, springtide.Errorf(springtide.NotFound, "%s has no process %q", app.Name, name).WithHint("it has %v", names)
	}
	return process, nil
}

// await begins to wait for a task, unless somebody does already.
func (r *runs) await(task springtide.Task) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.waiting[task.ID]; w != nil {
		return w
	}
	w := &wait{done: make(chan struct{})}
	r.waiting[task.ID] = w
	go func() {
		w.exit, w.err = r.engine.Exec(r.ctx, task)
		close(w.done)
	}()
	return w
}

func (r *runs) path(id string) string { return filepath.Join(r.folder, id+".json") }

func (r *runs) load(id string) (record, error) {
	var rec record
	if id != filepath.Base(id) {
		return rec, springtide.Errorf(springtide.Invalid, "%q is not the ID of a run", id)
	}
	data, err := os.ReadFile(r.path(id))
	if os.IsNotExist(err) {
		return rec, springtide.Errorf(springtide.NotFound, "run %q is not known", id)
	}
	if err != nil {
		return rec, err
	}
	return rec, json.Unmarshal(data, &rec)
}

// Run implements api.Runs.
func (r *runs) Run(ctx context.Context, id string) (api.Run, error) {
	now, cancel := context.WithTimeout(ctx, 20*time.Millisecond) // what has ended answers at once
	defer cancel()
	return r.WaitRun(now, id)
}

// WaitRun implements api.Runs.
func (r *runs) WaitRun(ctx context.Context, id string) (api.Run, error) {
	rec, err := r.load(id)
	if err != nil {
		return api.Run{}, err
	}
	w := r.await(rec.Task)
	select {
	case <-w.done:
		if w.err != nil {
			return rec.Run, w.err
		}
		rec.Run.Exit = &w.exit
	case <-ctx.Done():
	}
	return rec.Run, nil
}

// prune forgets runs that were started before then.
func (r *runs) prune(before time.Time) {
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		r.logger.Warn("the folder of runs cannot be read", "error", err)
		return
	}
	for _, entry := range entries {
		id := strings.TrimSuffix(entry.Name(), ".json")
		rec, err := r.load(id)
		if err != nil || rec.Run.Started.After(before) {
			continue
		}
		os.Remove(r.path(id))
		r.mu.Lock()
		delete(r.waiting, id)
		r.mu.Unlock()
	}
}
