package health

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

var errRefused = errors.New("refused")

func TestTheFirstHealthyAnswerMakesItReady(t *testing.T) {
	start := time.Now()
	machine := NewMachine(springtide.Health{TCP: true}, start, Starting)
	machine.Observe(start, errRefused)
	if state, reason := machine.State(); state != Starting || reason != "refused" {
		t.Fatalf("%s, %q", state, reason)
	}
	machine.Observe(start.Add(time.Second), nil)
	if state, reason := machine.State(); state != Ready || reason != "" {
		t.Fatalf("%s, %q", state, reason)
	}
}

func TestOnlyFailuresInARowMakeItUnhealthyAndOneGoodAnswerMendsIt(t *testing.T) {
	now := time.Now()
	machine := NewMachine(springtide.Health{TCP: true, Failures: 3}, now, Ready)
	for _, answer := range []error{errRefused, errRefused, nil, errRefused, errRefused} {
		machine.Observe(now, answer)
	}
	if state, _ := machine.State(); state != Ready {
		t.Fatalf("%s after two failures in a row", state)
	}
	machine.Observe(now, errRefused)
	if state, reason := machine.State(); state != Unhealthy || reason != "refused (3 times in a row)" {
		t.Fatalf("%s, %q", state, reason)
	}
	machine.Observe(now, nil)
	if state, _ := machine.State(); state != Ready {
		t.Fatalf("%s after a good answer", state)
	}
}

func TestWhatIsNotHealthyWithinTheStartLimitIsTooLateForGood(t *testing.T) {
	start := time.Now()
	machine := NewMachine(springtide.Health{TCP: true, Start: time.Minute}, start, Starting)
	machine.Observe(start.Add(59*time.Second), errRefused)
	if state, _ := machine.State(); state != Starting {
		t.Fatalf("%s before the limit", state)
	}
	machine.Observe(start.Add(time.Minute), errRefused)
	machine.Observe(start.Add(time.Minute), nil)
	if state, _ := machine.State(); state != TooLate {
		t.Fatalf("%s after the limit", state)
	}
}

func TestWhileItStartsItIsProbedAfterATwentiethOfTheTimeItTook(t *testing.T) {
	start := time.Now()
	machine := NewMachine(springtide.Health{TCP: true, Interval: 5 * time.Second}, start, Starting)
	for elapsed, want := range map[time.Duration]time.Duration{
		0:                        10 * time.Millisecond,
		time.Second:              50 * time.Millisecond,
		30 * time.Second:         500 * time.Millisecond,
		59999 * time.Millisecond: time.Millisecond,
	} {
		if wait := machine.Wait(start.Add(elapsed)); wait != want {
			t.Errorf("after %s: %s, want %s", elapsed, wait, want)
		}
	}
	machine.Observe(start, nil)
	if wait := machine.Wait(start); wait != 5*time.Second {
		t.Errorf("when ready: %s", wait)
	}
}

type report struct {
	after time.Duration
	state State
}

func watch(t *testing.T, health springtide.Health, long time.Duration, probe func(after time.Duration) error) []report {
	var reports []report
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		last := Starting
		_ = Watcher{
			Health: health, Started: start, State: Starting,
			Probe: func(context.Context) error { return probe(time.Since(start)) },
			Report: func(state State, _ string) {
				if state != last {
					reports = append(reports, report{time.Since(start), state})
					last = state
				}
			},
		}.Run(ctx)
	})
	return reports
}

func TestAWatcherNoticesReadinessAtOnceAndFailureAfterThreeIntervals(t *testing.T) {
	reports := watch(t, springtide.Health{TCP: true}, time.Minute, func(after time.Duration) error {
		if after < time.Second || after > 20*time.Second && after < 40*time.Second {
			return errRefused
		}
		return nil
	})
	if len(reports) != 3 || reports[0].state != Ready || reports[1].state != Unhealthy || reports[2].state != Ready {
		t.Fatalf("%v", reports)
	}
	if late := reports[0].after - time.Second; late > 60*time.Millisecond {
		t.Errorf("readiness noticed %s late", late)
	}
	if after := reports[1].after; after < 30*time.Second || after > 36*time.Second {
		t.Errorf("unhealthy after %s", after)
	}
}

func TestAWatcherGivesUpAtTheStartLimit(t *testing.T) {
	reports := watch(t, springtide.Health{TCP: true, Start: 10 * time.Second}, time.Minute, func(time.Duration) error { return errRefused })
	if len(reports) != 1 || reports[0] != (report{10 * time.Second, TooLate}) {
		t.Fatalf("%v", reports)
	}
}

func TestWhatHasNoProbeIsReadyOnceItHasRunForAMoment(t *testing.T) {
	reports := watch(t, springtide.Health{}, time.Minute, func(time.Duration) error { panic("probed") })
	if len(reports) != 1 || reports[0] != (report{settle, Ready}) {
		t.Fatalf("%v", reports)
	}
}
