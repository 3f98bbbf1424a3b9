package health

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Watcher probes one instance for as long as it lives.
type Watcher struct {
	Health springtide.Health
	// Started is when its process was started.
	Started time.Time
	// State is [Starting], or what was last known of it.
	State State
	// Probe probes once.
	Probe func(ctx context.Context) error
	// Report is told every change of the state or its reason.
	Report func(state State, reason string)
}

// Run probes until ctx ends or it is [TooLate]. Something without a probe is
// reported as ready once it has run for a moment, and never again.
func (w Watcher) Run(ctx context.Context) error {
	machine := NewMachine(w.Health, w.Started, w.State)
	state, reason := machine.State()
	if !probes(w.Health) {
		if state != Ready {
			if err := sleep(ctx, machine.Wait(time.Now())); err != nil {
				return err
			}
			w.Report(Ready, "")
		}
		<-ctx.Done()
		return ctx.Err()
	}
	for {
		answer := w.Probe(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		machine.Observe(time.Now(), answer)
		if newState, newReason := machine.State(); newState != state || newReason != reason {
			state, reason = newState, newReason
			w.Report(state, reason)
		}
		if state == TooLate {
			return nil
		}
		if err := sleep(ctx, machine.Wait(time.Now())); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
