package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
)

// unlockLimit is how long an init whose starter died may take to notice it.
const unlockLimit = 5 * time.Second

// load finds the instances and tasks of an earlier control plane. Those whose
// init lives are adopted as they were.
func (e *Engine) load() error {
	entries, err := os.ReadDir(filepath.Join(e.options.Data, "instances"))
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, entry := range entries {
		if !entry.IsDir() || entry.Name()[0] == '.' {
			continue
		}
		place := folder(filepath.Join(e.options.Data, "instances", entry.Name()))
		s, err := place.readSpec()
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Half made, or half removed: nothing runs in it.
			if err := place.remove(); err != nil {
				return err
			}
			continue
		case err != nil:
			e.log.Error("the folder of an instance cannot be read; it is left alone", "instance", entry.Name(), "error", err)
			known[entry.Name()] = true
			continue
		}
		known[s.key()] = true
		if err := e.loadInstance(place, s); err != nil {
			return err
		}
	}
	tasks, err := e.loadTasks()
	if err != nil {
		return err
	}
	if err := e.removeOtherCredentials(func(key string) bool { return known[key] || tasks[key] }); err != nil {
		return err
	}
	for _, name := range e.groups.names() {
		if group := e.groups.existing(name); !known[name] && !tasks[name] && len(group.processes()) == 0 { // else a build runs in it, for one
			group.remove()
		}
	}
	return nil
}

func (e *Engine) loadInstance(place folder, s spec) error {
	r, err := place.readRecord()
	if err != nil {
		e.log.Error("the state of an instance cannot be read", "instance", s.Instance, "error", err)
	}
	e.holdAddress(s)
	i := &instance{
		engine: e, folder: place, retire: make(chan struct{}), spec: s, prepared: true, record: r,
		view: springtide.Instance{
			ID: s.Instance, Group: s.Group.ID, State: springtide.InstanceStarting, Address: e.address(s),
			Ordered: s.Ordered, Restarts: r.Restarts, Started: r.Started, Ready: r.Ready, PID: r.PID,
			CrashLoop: r.Crashes >= loopAfter, LastLines: r.LastLines, Reason: r.Reason,
		},
	}
	i.process = e.adopt(place, s, r)
	retiring := place.marked(retiringFile)
	switch {
	case i.process != nil && retiring:
		i.view.State = springtide.InstanceRetiring
	case i.process != nil && !r.Ready.IsZero() && r.Unhealthy:
		i.view.State = springtide.InstanceUnhealthy
	case i.process != nil && !r.Ready.IsZero():
		i.view.State, i.view.Reason = springtide.InstanceReady, ""
	case i.process == nil && r.Attempt > 0 && r.Ended:
		i.showCrash(&i.view)
	case i.process == nil && r.Attempt > 0:
		// It ended while nobody looked.
		i.process = &running{namespace: r.Namespace && r.Boot == e.boot, name: s.name(), group: e.groups.existing(s.key()), code: -1}
		i.collect("")
	}
	if retiring {
		i.retiring = true
		close(i.retire)
	}
	e.instances[s.Instance] = i
	return nil
}

func (e *Engine) holdAddress(s spec) {
	if s.Slot != 0 {
		e.network.slots.hold(s.Slot)
	} else if s.Port != 0 {
		e.ports.hold(s.Port)
	}
}

// adopt gives the init that lives in the folder; nil if none does.
func (e *Engine) adopt(place folder, s spec, r record) *running {
	for deadline := time.Now().Add(unlockLimit); place.locked(); {
		process := &running{pid: r.PID, namespace: r.Namespace, name: s.name(), group: e.groups.existing(s.key())}
		if r.PID > 0 && r.Boot == e.boot && process.open() == nil {
			// The PID may be another's by now, unless it started when ours did. The
			// lock is looked at again because ours may have ended in between.
			if ticks, err := startTicks(r.PID); err == nil && ticks == r.Ticks && place.locked() {
				return process
			}
			process.close()
		}
		// An init that was not told to go yet and is not in the record: it ends by
		// itself, for its pipe is at its end.
		if time.Now().After(deadline) {
			e.log.Error("an init that is not known holds the lock of an instance", "instance", s.name())
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}
