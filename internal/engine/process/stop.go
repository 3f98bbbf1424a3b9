package process

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

const (
	standardDrain = 30 * time.Second
	standardGrace = 10 * time.Second
	// streamsLimit is how long the edges may take to end streams before SIGKILL.
	streamsLimit = time.Second
	// flushLimit is how long an init may take to kill everything and write the
	// last output, before it is killed itself.
	flushLimit = 3 * time.Second
)

// letGo takes a living instance down, so that nobody who talks to it notices:
// marked, published, let go by every edge, SIGTERM, SIGKILL. When ctx ends it
// stops half-way; the mark makes the next control plane go on.
func (i *instance) letGo(ctx context.Context) {
	if err := i.folder.mark(retiringFile); err != nil {
		i.engine.log.Error("an instance could not be marked as retiring", "instance", i.spec.Instance, "error", err)
	}
	i.show(func(view *springtide.Instance) { view.State = springtide.InstanceRetiring })
	// After a restart of the control plane: not before somebody knows the group,
	// for until then nobody knows what the edges do with it.
	if !i.engine.awaitApplied(ctx, i.view.Group, nil) {
		return
	}
	if !i.record.Ready.IsZero() && i.spec.Port != 0 {
		i.awaitLetGo(ctx)
		if ctx.Err() != nil {
			return
		}
	}
	i.show(func(view *springtide.Instance) { view.State = springtide.InstanceStopping })
	i.end(ctx)
	if ctx.Err() != nil {
		return
	}
	i.engine.collect(i.process, i.folder, i.record.Attempt, i.spec)
	i.process = nil
}

// awaitLetGo waits until the edges talk to the instance no more, the drain is
// over, or the process has ended by itself.
func (i *instance) awaitLetGo(ctx context.Context) {
	drain := i.spec.Group.Template.Process.Drain
	if drain <= 0 {
		drain = standardDrain
	}
	drained, cancel := context.WithTimeout(ctx, drain)
	defer cancel()
	waiting := make(chan struct{})
	go func() {
		defer close(waiting)
		if i.process.wait(drained) == nil {
			cancel()
		}
	}()
	err := i.engine.options.Router.LetGo(drained, i.spec.Instance)
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		// An edge that cannot be asked must not cut the drain short.
		i.engine.log.Warn("the edges did not let go of an instance", "instance", i.spec.Instance, "error", err)
		<-drained.Done()
	}
	cancel()
	<-waiting
}

// end ends the process: SIGTERM, the grace, then the streams and SIGKILL. It
// returns when the process is dead, or when ctx ends.
func (i *instance) end(ctx context.Context) {
	grace := graceOf(i.spec.Group.Template.Process)
	i.process.signal(syscall.SIGTERM)
	if i.process.waitFor(ctx, grace) || ctx.Err() != nil {
		return
	}
	if i.spec.Port != 0 && !i.record.Ready.IsZero() {
		closing, cancel := context.WithTimeout(ctx, streamsLimit)
		_ = i.engine.options.Router.CloseStreams(closing, i.spec.Instance)
		cancel()
		if ctx.Err() != nil {
			return
		}
	}
	i.say("did not end within " + grace.String() + " of SIGTERM; killed")
	i.process.signal(syscall.SIGQUIT) // The init kills everything and keeps its last words.
	if !i.process.waitFor(ctx, flushLimit) && ctx.Err() == nil {
		i.process.kill()
	}
}

// waitFor waits for the end for so long at most and reports whether it came.
func (p *running) waitFor(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return p.wait(ctx) == nil
}

// vanish removes all that is left of an instance that has ended for good.
func (i *instance) vanish() {
	e := i.engine
	// A start that a killed control plane did not finish may have left these.
	group := e.groups.existing(i.spec.key())
	group.kill()
	group.remove()
	e.removeCredentials(i.spec)
	if i.spec.Slot != 0 {
		e.network.detach(i.spec.Slot)
	}
	if err := i.folder.remove(); err != nil {
		e.log.Error("the folder of an instance could not be removed", "instance", i.spec.Instance, "error", err)
	}
	e.giveBackAddress(i.spec)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.instances, i.spec.Instance)
	e.notify()
	e.poke()
}
