package process

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/health"
)

// instance is one running copy of a group, in the hands of a goroutine of its
// own (run). The states are drawn in doc.go.
type instance struct {
	engine *Engine
	folder folder
	retire chan struct{} // closed when it is to go

	// These belong to the goroutine.
	spec     spec
	prepared bool // its folder is there
	record   record
	process  *running // nil: none lives
	turn     func()   // ends its turn to start; nil: it has none
	next     time.Time

	// These are guarded by the engine's mutex.
	view     springtide.Instance
	retiring bool
}

// key is that of its spec, which changes when it is given an address; the mutex is held.
func (i *instance) key() string { return string(i.view.ID) }

// show changes what is published of the instance.
func (i *instance) show(change func(view *springtide.Instance)) {
	i.engine.mu.Lock()
	defer i.engine.mu.Unlock()
	change(&i.view)
	i.engine.notify()
}

// run brings the instance up, keeps it up, and takes it down when it is to
// retire. When ctx ends it lets go of the instance, which goes on.
func (i *instance) run(ctx context.Context) {
	defer func() {
		if i.process != nil {
			i.process.close()
		}
	}()
	for {
		if i.process == nil {
			if !i.mayStart(ctx) {
				break
			}
			group := i.engine.groups.existing(i.spec.key())
			if i.turn = i.engine.turns.take(ctx, i.view.Group.Environment.App, group.computes, i.retire); i.turn == nil {
				break
			}
			if err := i.start(); err != nil {
				i.endTurn()
				i.fail(time.Now(), "could not be started: "+err.Error(), nil)
				continue
			}
		}
		outcome, reason := i.attend(ctx)
		i.endTurn()
		switch outcome {
		case instanceEnded:
			i.collect("")
		case instanceLate:
			i.end(ctx)
			if ctx.Err() == nil {
				i.collect(reason)
			}
		case instanceRetired:
			i.letGo(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		i.engine.poke()
	}
	if ctx.Err() == nil {
		i.vanish()
	}
}

// endTurn lets another instance start.
func (i *instance) endTurn() {
	if i.turn != nil {
		i.turn()
	}
}

// mayStart waits until the instance may be started: its group must have been
// applied, and its back-off be over. It reports whether that came about.
func (i *instance) mayStart(ctx context.Context) bool {
	select {
	case <-i.retire:
		return false
	default:
	}
	if !i.engine.awaitApplied(ctx, i.view.Group, i.retire) {
		return false
	}
	timer := time.NewTimer(time.Until(i.next))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-i.retire:
	case <-ctx.Done():
	}
	return false
}

// outcome is why an instance needs no more attendance.
type outcome int

const (
	instanceLeft    outcome = iota // the engine is to end
	instanceEnded                  // its process has ended
	instanceLate                   // it did not become ready in time
	instanceRetired                // it is to go
)

// attend watches a process that lives: its health, and its end.
func (i *instance) attend(ctx context.Context) (outcome, string) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	ended := make(chan struct{})
	watching.Go(func() {
		if i.process.wait(ctx) == nil {
			close(ended)
		}
	})
	type report struct {
		state  health.State
		reason string
	}
	reports := make(chan report)
	watching.Go(func() {
		_ = health.Watcher{
			Health: i.spec.Group.Template.Process.Health, Started: i.record.Started, State: i.health(),
			Probe: i.prober(),
			Report: func(state health.State, reason string) {
				select {
				case reports <- report{state, reason}:
				case <-ctx.Done():
				}
			},
		}.Run(ctx)
	})
	stable := time.NewTimer(time.Hour)
	defer stable.Stop()
	i.armStable(stable)
	for {
		select {
		case <-ended:
			return instanceEnded, ""
		case <-i.retire:
			return instanceRetired, ""
		case <-ctx.Done():
			return instanceLeft, ""
		case <-stable.C:
			i.forgetCrashes()
		case r := <-reports:
			if r.state == health.TooLate {
				return instanceLate, i.lateReason(r.reason)
			}
			i.observe(r.state, r.reason)
			i.armStable(stable)
			i.engine.poke()
		}
	}
}

// health is the state that was last known.
func (i *instance) health() health.State {
	switch {
	case i.record.Ready.IsZero():
		return health.Starting
	case i.record.Unhealthy:
		return health.Unhealthy
	}
	return health.Ready
}

// observe takes in a change of health: on the disk first, so that whoever
// starts after a crash publishes no less than was published before it.
func (i *instance) observe(state health.State, reason string) {
	switch state {
	case health.Ready:
		first := i.record.Ready.IsZero()
		if first {
			i.record.Ready = time.Now()
		}
		i.record.Unhealthy = false
		i.endTurn()
		i.keepRecord()
		if first {
			i.warnOfWildcard()
		}
	case health.Unhealthy:
		if !i.record.Unhealthy {
			i.record.Unhealthy = true
			i.keepRecord()
			i.say("is unhealthy: " + reason)
		}
	}
	i.show(func(view *springtide.Instance) {
		switch state {
		case health.Ready:
			view.State, view.Ready, view.Reason = springtide.InstanceReady, i.record.Ready, ""
		case health.Unhealthy:
			view.State, view.Reason = springtide.InstanceUnhealthy, reason
		case health.Starting:
			if i.record.Crashes == 0 { // How it crashed says more.
				view.Reason = reason
			}
		}
	})
}

func (i *instance) keepRecord() {
	if err := i.folder.writeRecord(i.record); err != nil {
		i.engine.log.Error("the state of an instance could not be written", "instance", i.spec.Instance, "error", err)
	}
}

// armStable sets the timer for the moment when the crashes are forgotten.
func (i *instance) armStable(timer *time.Timer) {
	if i.record.Crashes > 0 && i.health() == health.Ready {
		timer.Reset(time.Until(i.record.Ready.Add(stableAfter)))
	}
}

func (i *instance) forgetCrashes() {
	if i.health() != health.Ready {
		return
	}
	i.record.Crashes, i.record.Reason, i.record.LastLines = 0, "", nil
	i.keepRecord()
	i.show(func(view *springtide.Instance) { view.CrashLoop, view.LastLines = false, nil })
}

// address is where it listens: "" if it does not.
func (e *Engine) address(s spec) string {
	if s.Port == 0 {
		return ""
	}
	if s.Slot != 0 {
		return joinAddress(e.network.address(s.Slot), s.Port)
	}
	return joinAddress(loopback, s.Port)
}

// logPlace gives the folder and the name of an instance's log.
func (e *Engine) logPlace(s spec) (logs, name string) {
	if s.Task != nil {
		return filepath.Join(e.options.Data, "tasks", s.Task.ID), "output.log"
	}
	id := s.Group.ID
	return filepath.Join(e.options.Data, "logs", string(id.Environment.App), string(id.Environment.Name), string(id.Process)),
		string(s.Instance) + ".log"
}
