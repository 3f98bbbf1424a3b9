package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// taskGrace is how long a task may go on after SIGTERM.
const taskGrace = 10 * time.Second

// task is a one-off run, in the hands of a goroutine of its own.
//
//	spec        it is known
//	started     its command may have begun: from here on it is never started again
//	exit.json   how it ended
type task struct {
	engine *Engine
	folder folder
	spec   spec
	done   chan struct{} // closed when what follows is set
	exit   springtide.Exit
	err    error
}

// outcomeOfTask is what exit.json holds.
type outcomeOfTask struct {
	springtide.Exit
	// Unknown says that it may have run, to its end or not.
	Unknown bool      `json:"unknown,omitempty"`
	Ended   time.Time `json:"ended"`
}

// errLeft is what those who wait for a task get when the platform ends.
func errLeft() error {
	return springtide.Errorf(springtide.Unavailable, "the platform is stopping; the task goes on").WithHint("attach to it again later")
}

// Exec implements engine.Engine.
func (e *Engine) Exec(ctx context.Context, asked springtide.Task) (springtide.Exit, error) {
	switch {
	case !isName(asked.ID):
		return springtide.Exit{}, springtide.Errorf(springtide.Invalid, "%q is not the name of a task", asked.ID)
	case asked.Command == "":
		return springtide.Exit{}, springtide.Errorf(springtide.Invalid, "task %s: there is no command", asked.ID)
	}
	if err := validateVariables(asked.Command, asked.Template.Env); err != nil {
		return springtide.Exit{}, err
	}
	select {
	case <-e.started:
	case <-ctx.Done():
		return springtide.Exit{}, ctx.Err()
	}
	t, err := e.findTask(asked)
	if err != nil {
		return springtide.Exit{}, err
	}
	select {
	case <-t.done:
		return t.exit, t.err
	case <-ctx.Done():
		return springtide.Exit{}, ctx.Err()
	}
}

// findTask gives the task of that name, an earlier one if there is.
func (e *Engine) findTask(asked springtide.Task) (*task, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.tasks[asked.ID]
	if t == nil {
		if e.ended {
			return nil, errLeft()
		}
		t = e.newTask(spec{Task: &asked, Ordered: time.Now()})
		if earlier, err := t.folder.readSpec(); err == nil && earlier.Task != nil {
			t.spec = earlier
		}
		e.tasks[asked.ID] = t
		ctx := e.ctx
		e.workers.Go(func() { t.run(ctx) })
	}
	if known := t.spec.Task; known.Command != asked.Command || known.Environment != asked.Environment || known.Release != asked.Release {
		return nil, springtide.Errorf(springtide.Conflict, "task %s is known, with another command", asked.ID).WithHint("give the task another ID")
	}
	return t, nil
}

func (e *Engine) newTask(s spec) *task {
	return &task{engine: e, folder: e.folderOf(s), spec: s, done: make(chan struct{})}
}

// run starts the task unless it was started before, and waits for its end.
func (t *task) run(ctx context.Context) {
	defer close(t.done)
	t.exit, t.err = t.outcome(ctx)
	if t.err != nil {
		// Whoever asks again shall have another try.
		t.engine.mu.Lock()
		delete(t.engine.tasks, t.spec.Task.ID)
		t.engine.mu.Unlock()
	}
}

func (t *task) outcome(ctx context.Context) (springtide.Exit, error) {
	if kept, err := t.folder.readOutcome(); err == nil {
		return t.settled(kept)
	}
	r, err := t.folder.readRecord()
	if err != nil {
		return springtide.Exit{}, err
	}
	process := t.engine.adopt(t.folder, t.spec, r)
	began := t.folder.marked(startedFile)
	if process == nil && !began {
		process, err = t.start()
		if err != nil {
			return springtide.Exit{}, t.refused(err)
		}
		r.Attempt = 1
	}
	if process == nil {
		// It began before this control plane did, and ended meanwhile.
		process = &running{namespace: r.Namespace && r.Boot == t.engine.boot, name: t.spec.name(), group: t.engine.groups.existing(t.spec.key()), code: -1}
	} else if err := process.wait(ctx); err != nil {
		process.close()
		return springtide.Exit{}, errLeft()
	}
	ended := t.engine.collect(process, t.folder, 1, t.spec)
	t.giveBack()
	if ended.neverBegan && !began {
		return springtide.Exit{}, springtide.Errorf(springtide.Failed, "task %s could not be started", t.spec.name())
	}
	kept := outcomeOfTask{Exit: springtide.Exit{Code: ended.code, Reason: ended.reason}, Unknown: !ended.known, Ended: time.Now()}
	if ended.timedOut {
		kept.Reason = fmt.Sprintf("timed out after %s", t.spec.Task.Timeout)
	}
	if data, err := json.Marshal(kept); err == nil {
		err = durable.WriteFile(t.folder.file(exitFile), data, 0o600)
		if err != nil {
			t.engine.log.Error("the end of a task could not be written", "task", t.spec.name(), "error", err)
		}
	}
	_ = os.RemoveAll(t.folder.file(homeFolder))
	return t.settled(kept)
}

func (t *task) settled(kept outcomeOfTask) (springtide.Exit, error) {
	if kept.Unknown {
		return springtide.Exit{}, springtide.Errorf(springtide.Failed,
			"it is not known how task %s ended: %s", t.spec.name(), cmpOr(kept.Reason, "the platform was interrupted when it started")).
			WithHint("it may have done its work; it is not run again by itself")
	}
	return kept.Exit, nil
}

func cmpOr(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// refused cleans up after a start that failed. Only what was certainly never
// told to go may be started again.
func (t *task) refused(err error) error {
	t.giveBack()
	if !t.folder.marked(startedFile) {
		if err := t.folder.remove(); err != nil {
			t.engine.log.Error("the folder of a task could not be removed", "task", t.spec.name(), "error", err)
		}
	}
	return springtide.Errorf(springtide.Failed, "task %s could not be started: %w", t.spec.name(), err)
}

func (t *task) giveBack() {
	if t.spec.Slot != 0 {
		t.engine.network.detach(t.spec.Slot)
		t.engine.network.slots.giveBack(t.spec.Slot)
	}
}

// start prepares the folder and starts the command.
func (t *task) start() (*running, error) {
	e := t.engine
	if err := os.RemoveAll(string(t.folder)); err != nil {
		return nil, err
	}
	if err := makeFolder(t.folder); err != nil {
		return nil, err
	}
	user, err := e.user(t.spec)
	if err != nil {
		return nil, err
	}
	if user != 0 {
		if err := giveHome(t.folder, user); err != nil {
			return nil, err
		}
	}
	t.spec.Slot, t.spec.Port = 0, 0
	if err := e.takeAddress(&t.spec); err != nil {
		return nil, err
	}
	if err := t.folder.writeSpec(t.spec); err != nil {
		return nil, err
	}
	grant, err := e.grant(t.spec)
	if err != nil {
		return nil, err
	}
	asked := t.spec.Task
	logs, logName := e.logPlace(t.spec)
	return e.launch(launch{
		folder: t.folder, spec: t.spec, isolation: e.isolation, user: user, limits: asked.Template.Process.Limits,
		logs: logs, logName: logName, root: e.rootOf(t.spec),
		command: e.commandOf(t.spec), env: e.variables(t.spec, grant), grant: grant,
		timeout: asked.Timeout, grace: taskGrace,
		begun: func() error { return t.folder.mark(startedFile) },
	}, record{Attempt: 1, Started: time.Now()})
}

func (f folder) readOutcome() (kept outcomeOfTask, err error) {
	return kept, readJSON(f.file(exitFile), &kept)
}

// loadTasks finds the tasks that an earlier control plane left; those without an
// outcome are looked after from the start. It gives the keys of all.
func (e *Engine) loadTasks() (keys map[string]bool, err error) {
	entries, err := os.ReadDir(filepath.Join(e.options.Data, "tasks"))
	if err != nil {
		return nil, err
	}
	keys = map[string]bool{}
	for _, entry := range entries {
		place := folder(filepath.Join(e.options.Data, "tasks", entry.Name()))
		s, err := place.readSpec()
		if errors.Is(err, fs.ErrNotExist) {
			if err := place.remove(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil || s.Task == nil {
			e.log.Error("the folder of a task cannot be read; it is left alone", "task", entry.Name(), "error", err)
			continue
		}
		keys[s.key()] = true
		if _, err := place.readOutcome(); err != nil && place.marked(startedFile) {
			e.holdAddress(s)
			e.tasks[s.Task.ID] = e.newTask(s)
		}
	}
	return keys, nil
}

// tasksLive reports whether a task runs; the mutex is held.
func (e *Engine) tasksLive() bool {
	for _, t := range e.tasks {
		if t.folder.locked() {
			return true
		}
	}
	return false
}

// pruneTasks forgets tasks that ended long ago.
func (e *Engine) pruneTasks(now time.Time) {
	entries, _ := os.ReadDir(filepath.Join(e.options.Data, "tasks"))
	for _, entry := range entries {
		place := folder(filepath.Join(e.options.Data, "tasks", entry.Name()))
		kept, err := place.readOutcome()
		if err != nil || now.Sub(kept.Ended) < e.options.TaskKeep {
			continue
		}
		e.mu.Lock()
		delete(e.tasks, entry.Name())
		e.mu.Unlock()
		if err := place.remove(); err != nil {
			e.log.Error("the folder of a task could not be removed", "task", entry.Name(), "error", err)
		}
	}
}
