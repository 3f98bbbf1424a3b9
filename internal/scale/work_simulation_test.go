package scale

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

var simulatedWorkers = springtide.GroupID{
	Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production},
	Release:     1, Process: "worker", Generation: 1,
}

// workshop is everything around a scaler of workers: a ledger with one queue,
// and an engine whose workers take runs a cold start after they were ordered.
type workshop struct {
	coldStart time.Duration
	service   func() time.Duration
	silent    bool // nothing is told of the queue

	mu      sync.Mutex
	scaler  *Scaler
	target  Target
	changed chan struct{}
	ordered int
	workers []springtide.Instance
	queue   []time.Time // since when the runs that wait do
	runs    []workRun   // those under way, those on workers that are retired included
	told    time.Time
	work    Work
	waits   []time.Duration
	peak    int
	seconds float64 // of instances
	applied []springtide.Decision
}

type workRun struct {
	takes time.Duration
	end   time.Time
}

func newWorkshop(t *testing.T, scale springtide.Scale, wait, service time.Duration) *workshop {
	w := &workshop{
		coldStart: 3 * time.Second, service: func() time.Duration { return service },
		changed: make(chan struct{}, 1),
		target: Target{Group: simulatedWorkers, Process: springtide.Process{
			Worker: &springtide.Worker{Queues: []springtide.QueueName{"default"}, Wait: wait}, Scale: scale,
		}},
		work: Work{Environment: simulatedWorkers.Environment, Queue: "default"},
	}
	w.scaler = New(Options{Targets: w, Applier: w, Recorder: w, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.scaler.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	w.play(time.Second, nothing)
	return w
}

func (w *workshop) Targets(context.Context) ([]Target, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []Target{w.target}, nil
}

func (w *workshop) Changed() <-chan struct{} { return w.changed }

func (w *workshop) RecordDecision(context.Context, springtide.Decision) error { return nil }

func (w *workshop) SetReplicas(_ context.Context, id springtide.GroupID, n int, d springtide.Decision) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if id != w.target.Group || d.From != w.target.Replicas || d.To != n {
		return errors.New(d.Sentence)
	}
	w.target.Replicas = n
	w.peak = max(w.peak, n)
	w.applied = append(w.applied, d)
	w.workers = w.workers[max(len(w.workers)-n, 0):]
	for len(w.workers) < n {
		w.ordered++
		w.workers = append(w.workers, springtide.Instance{
			ID: springtide.InstanceID(fmt.Sprintf("worker-1-%05d", w.ordered)), Group: simulatedWorkers,
			State: springtide.InstanceStarting, Ordered: time.Now(), Started: time.Now(),
		})
	}
	go w.scaler.Observe(springtide.Snapshot{Instances: slices.Clone(w.workers)})
	return nil
}

func (w *workshop) replicas() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.target.Replicas
}

func (w *workshop) decisions() []springtide.Decision {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.applied)
}

func nothing(time.Duration) float64 { return 0 }

// play lets time pass while so many runs a second become available.
func (w *workshop) play(length time.Duration, rate func(time.Duration) float64) {
	random := rand.New(rand.NewPCG(5, 5))
	for begin := time.Now(); time.Since(begin) < length; {
		time.Sleep(50 * time.Millisecond)
		w.step(poisson(random, rate(time.Since(begin))*0.05))
		synctest.Wait()
	}
}

// step lets runs end, arrive and begin, and tells the scaler every second, and
// at once if runs wait where none did.
func (w *workshop) step(arrived int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	slots, ready := 0, false
	for i := range w.workers {
		worker := &w.workers[i]
		if worker.State == springtide.InstanceStarting && now.Sub(worker.Ordered) >= w.coldStart {
			worker.State, worker.Ready, ready = springtide.InstanceReady, now, true
		}
		if worker.State == springtide.InstanceReady {
			slots += max(w.target.Process.Scale.Concurrency, 1)
		}
	}
	if ready {
		w.scaler.Observe(springtide.Snapshot{Instances: slices.Clone(w.workers)})
	}
	w.runs = slices.DeleteFunc(w.runs, func(run workRun) bool {
		if run.end.After(now) {
			return false
		}
		w.work.Finished++
		w.work.Busy += run.takes
		return true
	})
	w.work.Arrived += int64(arrived)
	none := len(w.queue) == 0
	for range arrived {
		w.queue = append(w.queue, now)
	}
	for len(w.queue) > 0 && len(w.runs) < slots {
		w.waits = append(w.waits, now.Sub(w.queue[0]))
		takes := w.service()
		w.runs = append(w.runs, workRun{takes, now.Add(takes)})
		w.queue = w.queue[1:]
	}
	w.seconds += 0.05 * float64(len(w.workers))
	if w.silent || now.Sub(w.told) < time.Second && !(none && len(w.queue) > 0) {
		return
	}
	w.told = now
	w.work.Backlog, w.work.UnderWay, w.work.Oldest = len(w.queue), len(w.runs), 0
	if len(w.queue) > 0 {
		w.work.Oldest = now.Sub(w.queue[0])
	}
	w.scaler.ReportWork([]Work{w.work})
}

// longest gives the 99th percentile and the maximum of the waits so far.
func (w *workshop) longest() (p99, most time.Duration) {
	slices.Sort(w.waits)
	return quantile(w.waits, 0.99), w.waits[len(w.waits)-1]
}

func fromZero(highest, slots int) springtide.Scale {
	return springtide.Scale{Min: 0, Max: highest, Concurrency: slots, Idle: 5 * time.Minute}
}

func TestAWorkerIsStartedAtOnceAndStopsWhenThereWasNoRunForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(4, 1), 5*time.Second, 2*time.Second)
		if n := w.replicas(); n != 0 {
			t.Fatalf("%d instances before there was a run", n)
		}
		time.Sleep(time.Millisecond) // after the last decision
		began := time.Now()
		w.step(1)
		synctest.Wait()
		if n := w.replicas(); n != 1 || !time.Now().Equal(began) {
			t.Errorf("%d instances %s after a run became available", n, time.Since(began))
		}
		w.play(5*time.Minute, nothing) // the run took 2 s, and the start 3 s
		if n := w.replicas(); n != 1 {
			t.Errorf("%d instances before the time is over", n)
		}
		w.play(7*time.Second, nothing)
		if n := w.replicas(); n != 0 {
			decision, _ := w.scaler.Last(simulatedWorkers)
			t.Fatalf("%d instances after five minutes without a run: %s", n, decision.Sentence)
		}
		w.play(time.Minute, nothing)
		decided, _ := w.scaler.Last(simulatedWorkers)
		w.play(10*time.Minute, nothing)
		if again, _ := w.scaler.Last(simulatedWorkers); !again.Time.Equal(decided.Time) {
			t.Errorf("it decided while there was nothing, %s after", again.Time.Sub(decided.Time))
		}
		if _, most := w.longest(); most > 3*time.Second+100*time.Millisecond {
			t.Errorf("the run waited %s, a cold start is 3 s", most)
		}
	})
}

func TestABurstIsWorkedOffWithinTheTargetAndWorkersGoOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(60, 1), 10*time.Second, time.Second)
		w.step(300)
		w.play(30*time.Second, nothing)
		p99, most := w.longest()
		t.Logf("p99 %s, most %s, peak %d, %.0f instance-seconds for 300 s of work", p99, most, w.peak, w.seconds)
		if limit := 10*time.Second + w.coldStart; most > limit {
			t.Errorf("a run waited %s, want %s at most", most, limit)
		}
		// 30 are enough for 10 s, and 43 for what a cold start leaves of them.
		if w.peak > 58 { // not simply all that are allowed
			t.Errorf("peak %d for 300 s of work in 10 s", w.peak)
		}
		w.play(3*time.Minute, nothing)
		for _, d := range w.decisions() {
			if d.To < d.From-max(d.From/10, 1) {
				t.Errorf("too many at a time: %s", d.Sentence)
			}
		}
		w.play(10*time.Minute, nothing)
		if n := w.replicas(); n != 0 {
			t.Errorf("%d instances long after", n)
		}
	})
}

func TestASteadyRateIsKeptUpWithWithoutFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(20, 2), 5*time.Second, 500*time.Millisecond)
		w.play(10*time.Minute, constantly(10))
		before := len(w.decisions())
		w.waits = nil
		w.play(30*time.Minute, constantly(10))
		p99, most := w.longest()
		t.Logf("p99 %s, most %s, %d instances, %d changes", p99, most, w.replicas(), len(w.decisions())-before)
		// 10 runs/s x 500 ms / 80% = 6.3 slots, of 2 each.
		if n := w.replicas(); n < 4 || n > 5 || p99 > 2*time.Second {
			t.Errorf("%d instances, p99 of the wait %s", n, p99)
		}
		if n := len(w.decisions()) - before; n > 8 {
			t.Errorf("%d changes in half an hour of a steady rate", n)
		}
	})
}

func TestManyShortRunsThatAreLateDoNotOrderOneWorkerEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(500, 1), 2*time.Second, 50*time.Millisecond)
		w.step(1) // so that it is known how long they take
		w.play(10*time.Minute, nothing)
		w.step(400) // 20 s of work, in 2 s
		w.play(time.Minute, nothing)
		_, most := w.longest()
		t.Logf("peak %d, the longest wait %s", w.peak, most)
		if w.peak > 15 || most > 6*time.Second {
			t.Errorf("peak %d, the longest wait %s", w.peak, most)
		}
	})
}

func TestASeldomLongRunHasOneWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(10, 1), 5*time.Second, 10*time.Minute)
		for range 4 {
			w.step(1)
			w.play(time.Hour, nothing)
			if n := w.replicas(); n != 0 || w.peak != 1 {
				t.Fatalf("%d instances after an hour, peak %d", n, w.peak)
			}
		}
		// Two at the same time have two.
		w.step(2)
		w.play(time.Minute, nothing)
		if n := w.replicas(); n != 2 {
			t.Errorf("%d instances for two long runs", n)
		}
		// And keep them for as long as they run.
		w.play(8*time.Minute, nothing)
		if n := w.replicas(); n != 2 {
			t.Errorf("%d instances while two runs are under way", n)
		}
	})
}

func TestNoWorkerIsTakenAwayWhileNothingIsKnownOfTheQueues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorkshop(t, fromZero(20, 1), 5*time.Second, time.Second)
		w.play(2*time.Minute, constantly(4))
		w.silent = true
		w.play(workLost+time.Second, nothing)
		before := w.replicas()
		w.play(20*time.Minute, nothing)
		if n := w.replicas(); n != before || n < 4 {
			t.Errorf("%d instances, there were %d when the ledger was last heard", n, before)
		}
		w.silent = false
		w.play(20*time.Minute, nothing)
		if n := w.replicas(); n != 0 {
			t.Errorf("%d instances long after it is heard again", n)
		}
	})
}

func TestCountersThatStartAgainAreNoArrivals(t *testing.T) {
	m := newWorkMeter()
	report := func(at time.Duration, arrived, finished int64) {
		m.report(noon.Add(at), []Work{{
			Environment: simulatedWorkers.Environment, Queue: "default",
			Arrived: arrived, Finished: finished, Busy: time.Duration(finished) * 2 * time.Second,
		}})
	}
	seen := func(at time.Duration) QueueWork {
		o, _, _ := m.view(noon.Add(at), simulatedWorkers.Environment, []springtide.QueueName{"default"})
		return o.Queues[0]
	}
	report(0, 9_000_000, 8_000_000) // of years before the platform was started
	if q := seen(time.Second); q.Rate != 0 || q.Service != 2*time.Second {
		t.Errorf("at first: %+v", q)
	}
	report(10*time.Second, 9_000_060, 8_000_060)
	if q := seen(10 * time.Second); q.Rate != 1 {
		t.Errorf("60 arrivals in a minute: %+v", q)
	}
	report(11*time.Second, 5, 5) // another ledger
	if q := seen(11 * time.Second); q.Rate != 0 || q.Service != 2*time.Second {
		t.Errorf("after the counters started again: %+v", q)
	}
	if news, waiting := m.report(noon.Add(12*time.Second), nil); !news || waiting {
		t.Errorf("a queue that is gone: news %v, waiting %v", news, waiting)
	}
}
