package process

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

// starts has instances of apps start, each for so long, and gives the order in
// which they began and when the last one did.
func starts(t *testing.T, computes bool, took time.Duration, apps ...springtide.AppName) (order []springtide.AppName, last time.Duration, most int) {
	turns := newTurns()
	turns.atOnce = 2
	began := time.Now()
	starting := 0
	events := make(chan func(), 1)
	for _, app := range apps {
		go func() {
			done := turns.take(t.Context(), app, func() bool { return computes }, nil)
			events <- func() {
				order, last = append(order, app), time.Since(began)
				starting++
				most = max(most, starting)
			}
			time.Sleep(took)
			events <- func() { starting-- }
			done()
		}()
		synctest.Wait()
	}
	for range 2 * len(apps) {
		(<-events)()
	}
	return order, last, most
}

func TestStartsThatComputeTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		order, last, most := starts(t, true, time.Second, "a", "a", "a", "a", "a", "b", "c")
		if most != 2 || last != 3*time.Second {
			t.Errorf("at most %d at a time, the last after %s", most, last)
		}
		// Two at a time: which of two that begin at the same moment is first is open.
		if early := order[:6]; !slices.Contains(early[:4], "b") || !slices.Contains(early, "c") {
			t.Errorf("%v: an app that orders many keeps others waiting", order)
		}
	})
}

func TestStartsThatWaitForSomethingElseAreMadeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := slices.Repeat([]springtide.AppName{"a"}, 30)
		if _, last, most := starts(t, false, 3*time.Second, all...); most != 30 || last > 500*time.Millisecond {
			t.Errorf("at most %d at a time, the last after %s", most, last)
		}
	})
}

func TestAStartThatHangsKeepsNobodyWaitingForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, last, _ := starts(t, true, time.Hour, "a", "a", "a"); last != turnLimit {
			t.Errorf("the third began after %s", last)
		}
	})
}

func TestWhoNoLongerWantsToStartIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns()
		turns.atOnce = 1
		busy := func() bool { return true }
		first := turns.take(t.Context(), "a", busy, nil)
		ctx, cancel := context.WithCancel(t.Context())
		stop := make(chan struct{})
		ended := make(chan bool, 2)
		go func() { ended <- turns.take(ctx, "b", busy, nil) == nil }()
		go func() { ended <- turns.take(t.Context(), "c", busy, stop) == nil }()
		synctest.Wait()
		cancel()
		close(stop)
		for range 2 {
			if !<-ended {
				t.Error("a turn was given to who does not want it")
			}
		}
		first()
		first()
		if next := turns.take(t.Context(), "d", busy, nil); next == nil || len(turns.starting) != 1 {
			t.Errorf("%d starting", len(turns.starting))
		} else {
			next()
		}
	})
}

func TestAnInstanceThatComputesIsToldFromOneThatWaits(t *testing.T) {
	needRoot(t)
	e := runningEngine(t, nil)
	if !e.groups.has("memory") {
		t.Skip("there are no control groups")
	}
	for command, computes := range map[string]bool{"while :; do :; done": true, "sleep 1000": false} {
		group := springtide.Group{Replicas: 1, Template: springtide.Template{
			Root: t.TempDir(), Process: springtide.Process{Command: command, Grace: 50 * time.Millisecond},
		}}
		group.ID = springtide.GroupID{Environment: springtide.EnvironmentID{App: "boot", Name: springtide.Production}, Process: "web", Release: 1, Generation: 1}
		if err := e.Apply(t.Context(), group); err != nil {
			t.Fatal(err)
		}
		one := awaitReady(t, e, group)[0]
		poll(t, command, func() bool { return e.groups.existing(string(one.ID)).computes() == computes })
		if err := e.Remove(t.Context(), group.ID); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkStarts has twelve instances start at once, whose starts compute or
// wait: with turns and without. The figures are when the first, half of them and
// all were ready.
func BenchmarkStarts(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("needs root")
	}
	for _, boot := range []struct{ name, command string }{
		{"computing", "i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done"},
		{"waiting", "sleep 1"},
	} {
		for _, atOnce := range []int{0, 1000} {
			b.Run(fmt.Sprintf("%s/%s", boot.name, map[int]string{0: "turns", 1000: "together"}[atOnce]), func(b *testing.B) {
				for b.Loop() {
					benchmarkStarts(b, boot.command, atOnce)
				}
			})
		}
	}
}

func benchmarkStarts(b *testing.B, boot string, atOnce int) {
	const instances = 12
	e := runningEngine(b, nil)
	if atOnce > 0 {
		e.turns.atOnce = atOnce
	}
	group := springtide.Group{Replicas: instances, Template: springtide.Template{Root: b.TempDir(), Process: springtide.Process{
		Command: boot + "; touch $HOME/ready; sleep 1000", Grace: 50 * time.Millisecond,
		Health: springtide.Health{Command: "test -e $HOME/ready", Interval: time.Second, Timeout: time.Second, Start: time.Minute, Failures: 3},
	}}}
	group.ID = springtide.GroupID{Environment: springtide.EnvironmentID{App: "boot", Name: springtide.Production}, Process: "web", Release: 1, Generation: 1}
	began := time.Now()
	if err := e.Apply(b.Context(), group); err != nil {
		b.Fatal(err)
	}
	var ready []float64
	for snapshot := range e.Watch(b.Context()) {
		ready = ready[:0]
		for _, one := range snapshot.Of(group.ID) {
			if one.State == springtide.InstanceReady {
				ready = append(ready, one.Ready.Sub(began).Seconds())
			}
		}
		if len(ready) == instances {
			break
		}
	}
	slices.Sort(ready)
	b.ReportMetric(ready[0], "s-first")
	b.ReportMetric(ready[instances/2-1], "s-half")
	b.ReportMetric(ready[instances-1], "s-all")
	if err := e.Remove(b.Context(), group.ID); err != nil {
		b.Fatal(err)
	}
}
