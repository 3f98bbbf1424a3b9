package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/durable"
)

// keepRuns is how long a run is remembered: as long as the engine keeps its outcome.
const keepRuns = 24 * time.Hour

// tasks runs commands once. Implemented by every engine.
type tasks interface {
	Exec(ctx context.Context, task springtide.Task) (springtide.Exit, error)
	// Knows reports whether a task was begun and is not forgotten.
	Knows(ctx context.Context, task string) (bool, error)
}

// runs implements api.OneOffs. Each run is a file, so that a new control plane
// knows it: the engine attaches to the task of that ID.
type runs struct {
	ctx    context.Context // the control plane's: a run goes on without its client
	fleet  *deploy.Fleet
	engine tasks
	place  func(context.Context, springtide.Release) (springtide.Template, error)
	folder string
	logger *slog.Logger

	mu      sync.Mutex
	waiting map[string]*wait
	pruned  time.Time
}

// newRuns makes the folder of the runs and forgets old ones.
func newRuns(ctx context.Context, fleet *deploy.Fleet, engine tasks, place func(context.Context, springtide.Release) (springtide.Template, error), data string, logger *slog.Logger) (*runs, error) {
	r := &runs{
		ctx: ctx, fleet: fleet, engine: engine, place: place, logger: logger, waiting: make(map[string]*wait),
		folder: filepath.Join(data, "runs"),
	}
	if err := os.MkdirAll(r.folder, 0o700); err != nil {
		return nil, err
	}
	r.prune(ctx, time.Now())
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
	Run  api.OneOff      `json:"run"`
	Task springtide.Task `json:"task"`
}

// StartRun implements api.OneOffs.
func (r *runs) StartRun(ctx context.Context, request api.OneOffRequest) (api.OneOff, error) {
	environment, release, err := r.fleet.Environment(request.Environment)
	if err != nil {
		return api.OneOff{}, err
	}
	if environment.Active == 0 {
		return api.OneOff{}, springtide.Errorf(springtide.NotFound, "%s has no release to run in", request.Environment).WithHint("make one with `tide deploy`")
	}
	process, err := processFor(release.App, request.Process)
	if err != nil {
		return api.OneOff{}, err
	}
	template, err := r.place(ctx, release)
	if err != nil {
		return api.OneOff{}, err
	}
	template.Process, template.Env = process, release.Env(process)
	r.prune(ctx, time.Now())
	id := "run-" + strings.ToLower(rand.Text()[:10])
	rec := record{
		Run: api.OneOff{ID: id, Environment: request.Environment, Release: release.Number, Command: request.Command, Started: time.Now()},
		Task: springtide.Task{
			ID: id, Environment: request.Environment, Release: release.Number, Command: request.Command, Timeout: request.Timeout,
			Template: template,
		},
	}
	data, err := json.Marshal(rec)
	if err != nil {
		return api.OneOff{}, err
	}
	if err := durable.WriteFile(r.path(id), data, 0o600); err != nil {
		return api.OneOff{}, err
	}
	r.begin(rec.Task)
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

// await begins to wait for a task, unless somebody does already. It must not begin
// now, whenever it was asked for: it is nil if the engine does not have it.
func (r *runs) await(ctx context.Context, task springtide.Task) (*wait, error) {
	if w := r.waits(task.ID); w != nil {
		return w, nil
	}
	if known, err := r.engine.Knows(ctx, task.ID); err != nil || !known {
		return nil, err
	}
	return r.begin(task), nil
}

func (r *runs) waits(id string) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waiting[id]
}

// begin begins a task, or attaches to it.
func (r *runs) begin(task springtide.Task) *wait {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w := r.waiting[task.ID]; w != nil {
		return w
	}
	w := &wait{done: make(chan struct{})}
	r.waiting[task.ID] = w
	go func() {
		w.exit, w.err = r.engine.Exec(r.ctx, task)
		if springtide.KindOf(w.err) == springtide.Unavailable { // it goes on, and is asked for again
			r.mu.Lock()
			delete(r.waiting, task.ID)
			r.mu.Unlock()
		}
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

// Run implements api.OneOffs.
func (r *runs) Run(ctx context.Context, id string) (api.OneOff, error) {
	return r.follow(ctx, id, time.After(20*time.Millisecond)) // what has ended answers at once
}

// WaitRun implements api.OneOffs.
func (r *runs) WaitRun(ctx context.Context, id string) (api.OneOff, error) {
	return r.follow(ctx, id, nil)
}

// follow tells how a run stands when it has ended, or enough is enough.
func (r *runs) follow(ctx context.Context, id string, enough <-chan time.Time) (api.OneOff, error) {
	rec, err := r.load(id)
	if err != nil {
		return api.OneOff{}, err
	}
	w, err := r.await(ctx, rec.Task)
	if err != nil {
		return rec.Run, err
	}
	if w == nil {
		return rec.Run, springtide.Errorf(springtide.NotFound, "how run %q ended is not known", id).
			WithHint("it ended more than a day ago, or it had not begun when the control plane was killed")
	}
	select {
	case <-w.done:
		if w.err != nil {
			return rec.Run, w.err
		}
		rec.Run.Exit = &w.exit
	case <-enough:
	case <-ctx.Done():
	}
	return rec.Run, nil
}

// prune forgets, at most once an hour, old runs that the engine has forgotten.
func (r *runs) prune(ctx context.Context, now time.Time) {
	r.mu.Lock()
	due := now.Sub(r.pruned) >= time.Hour
	if due {
		r.pruned = now
	}
	r.mu.Unlock()
	if !due {
		return
	}
	entries, err := os.ReadDir(r.folder)
	if err != nil {
		r.logger.Warn("the folder of runs cannot be read", "error", err)
		return
	}
	for _, entry := range entries {
		id := strings.TrimSuffix(entry.Name(), ".json")
		rec, err := r.load(id)
		if err != nil || now.Sub(rec.Run.Started) < keepRuns {
			continue
		}
		known, err := r.engine.Knows(ctx, id)
		if err != nil {
			return // the engine does not answer now
		}
		if known {
			continue
		}
		if err := os.Remove(r.path(id)); err != nil {
			r.logger.Warn("an old run could not be forgotten", "run", id, "error", err)
		}
		r.mu.Lock()
		delete(r.waiting, id)
		r.mu.Unlock()
	}
}
