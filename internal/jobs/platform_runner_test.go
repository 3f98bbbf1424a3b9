package jobs_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

type executorFunc func(ctx context.Context, run springtide.Run) jobs.Outcome

func (f executorFunc) Execute(ctx context.Context, run springtide.Run) jobs.Outcome {
	return f(ctx, run)
}

// until carries a run out until its context ends.
func until(ctx context.Context, _ springtide.Run) jobs.Outcome {
	<-ctx.Done()
	return jobs.Outcome{Verdict: jobs.Failed, Reason: "it was cut short"}
}

// calls makes an executor of calls the only one.
func calls(execute executorFunc) func(*jobs.Options) {
	return func(o *jobs.Options) {
		o.Executors = map[springtide.RunKind]jobs.Executor{springtide.RunHTTP: execute}
	}
}

func call(timeout time.Duration) springtide.Job {
	return springtide.Job{Kind: springtide.RunHTTP, Timeout: timeout}
}

// outcome waits for the only outcome and gives it.
func outcome(t *testing.T, b *book) jobs.Outcome {
	t.Helper()
	for range 1000 {
		synctest.Wait()
		if all := b.accepted(); len(all) > 0 {
			return all[0]
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("there is no outcome")
	return jobs.Outcome{}
}

func TestThePlatformCarriesOutItsOwnRunsAtOnceAndManyTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.finishing = 5 * time.Millisecond
		var most, now atomic.Int32
		s := start(t, b, calls(func(_ context.Context, run springtide.Run) jobs.Outcome {
			if run.State != springtide.RunRunning {
				t.Error("it was not started")
			}
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			time.Sleep(time.Second)
			return jobs.Outcome{Verdict: jobs.Succeeded, Result: []byte("1")}
		}))
		began := time.Now()
		synctest.Wait()
		for range 640 {
			enqueue(t, s, call(0))
		}
		enqueue(t, s, springtide.Job{}) // not the platform's
		for len(b.accepted()) < 640 {
			time.Sleep(50 * time.Millisecond)
		}
		if took := time.Since(began); took > 11*time.Second || most.Load() != 64 {
			t.Errorf("it took %v, %d at a time", took, most.Load())
		}
		if len(b.finishes) > 640/4 {
			t.Errorf("640 outcomes were written in %d transactions", len(b.finishes))
		}
	})
}

func TestARunOfThePlatformEndsAtItsTimeLimit(t *testing.T) {
	for _, limit := range []time.Duration{0, 5 * time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook()
			s := start(t, b, calls(until))
			began := time.Now()
			enqueue(t, s, call(limit))
			run, err := s.WaitRun(t.Context(), quiz, "run1")
			if limit == 0 {
				limit = time.Minute
			}
			if err != nil || run.Reason != "timed out after "+limit.String() || time.Since(began) != limit {
				t.Error(run.Reason, err, time.Since(began))
			}
			if got := b.count(&b.beats); got > int(limit/jobs.BeatEvery) || got < int(limit/jobs.BeatEvery)-1 {
				t.Errorf("there were %d heartbeats", got)
			}
		})
	}
}

func TestACancelledRunOfThePlatformEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b, calls(until))
		enqueue(t, s, call(0))
		synctest.Wait()
		began := time.Now()
		if _, err := s.Cancel(t.Context(), quiz, "run1"); err != nil {
			t.Fatal(err)
		}
		if o := outcome(t, b); o.Reason != "cancelled" || !o.Final || time.Since(began) > 0 {
			t.Error(o, time.Since(began))
		}
	})
}

func TestARunOfThePlatformWhoseLeaseWasLostEndsAtTheNextHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		var ended atomic.Bool
		s := start(t, b, calls(func(ctx context.Context, run springtide.Run) jobs.Outcome {
			defer ended.Store(true)
			return until(ctx, run)
		}))
		enqueue(t, s, call(0))
		synctest.Wait()
		b.set(func() { delete(b.held, "run1") })
		time.Sleep(jobs.BeatEvery + time.Millisecond)
		if !ended.Load() || len(b.accepted()) != 0 {
			t.Error("it goes on", b.accepted())
		}
	})
}

func TestRunsOfThePlatformEndBeforeASilentLedgerGivesThemToAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		ended := make(chan time.Time, 1)
		s := start(t, b, calls(func(ctx context.Context, run springtide.Run) jobs.Outcome {
			defer func() { ended <- time.Now() }()
			return until(ctx, run)
		}))
		began := time.Now()
		enqueue(t, s, call(time.Hour))
		synctest.Wait()
		time.Sleep(15 * time.Second) // one heartbeat was answered, at 10 s
		b.set(func() { b.away = springtide.Errorf(springtide.Unavailable, "gone") })
		if after := (<-ended).Sub(began); after < 20*time.Second || after > jobs.BeatEvery+jobs.SilentFor {
			t.Error("it ended after", after)
		}
		b.set(func() { b.away = nil })
		if o := outcome(t, b); o.Verdict != jobs.Returned {
			t.Error(o)
		}
	})
}

func TestTheResultOfACallOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b, calls(func(context.Context, springtide.Run) jobs.Outcome {
			time.Sleep(5 * time.Second)
			b.set(func() { b.away = springtide.Errorf(springtide.Unavailable, "gone") })
			return jobs.Outcome{Verdict: jobs.Succeeded}
		}))
		enqueue(t, s, call(0))
		time.Sleep(15 * time.Second)
		b.set(func() { b.away = nil })
		if o := outcome(t, b); o.Verdict != jobs.Succeeded {
			t.Error(o)
		}
	})
}

func TestWhatThePlatformHasNotFinishedAtItsEndIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b, calls(func(ctx context.Context, run springtide.Run) jobs.Outcome {
			if run.ID == "run1" {
				return until(ctx, run)
			}
			time.Sleep(2 * time.Second)
			return jobs.Outcome{Verdict: jobs.Succeeded}
		}))
		enqueue(t, s, call(0), call(0))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took != 5*time.Second {
			t.Error("the end took", took)
		}
		verdicts := map[springtide.RunID]jobs.Verdict{}
		for _, o := range b.accepted() {
			verdicts[o.Run] = o.Verdict
		}
		if verdicts["run1"] != jobs.Returned || verdicts["run2"] != jobs.Succeeded {
			t.Error(verdicts)
		}
	})
}

func TestAFaultInACallCostsOnlyItsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b, calls(func(_ context.Context, run springtide.Run) jobs.Outcome {
			var nothing *springtide.Run
			return jobs.Outcome{Verdict: jobs.Succeeded, Reason: string(nothing.ID)}
		}))
		enqueue(t, s, call(0))
		if o := outcome(t, b); o.Verdict != jobs.Failed || o.Reason == "" {
			t.Error(o)
		}
	})
}

func TestAnOutcomeThatTheLedgerRefusesBecomesAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b, calls(func(context.Context, springtide.Run) jobs.Outcome {
			return jobs.Outcome{Verdict: jobs.Succeeded, Reason: "bad"}
		}))
		enqueue(t, s, call(0))
		if o := outcome(t, b); o.Verdict != jobs.Failed || o.Reason != "a bad outcome" {
			t.Error(o)
		}
	})
}
