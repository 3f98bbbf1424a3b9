package jobs_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/ledger"
	"github.com/springtide/springtide/test/postgres"
)

// over runs a service over a real ledger until the test ends; the location is
// that of an SQLite database if it is empty.
func over(t *testing.T, location string, change ...func(*jobs.Options)) *jobs.Service {
	t.Helper()
	if location == "" {
		location = filepath.Join(t.TempDir(), "jobs.db")
	}
	book, err := ledger.Open(t.Context(), location, ledger.Options{})
	if err != nil {
		t.Fatal(err)
	}
	options := jobs.Options{Ledger: book, Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)}
	for _, apply := range change {
		apply(&options)
	}
	s := jobs.New(options)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := book.Close(); err != nil {
			t.Error(err)
		}
	})
	err = s.SetJobs(t.Context(), quiz, 1, springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{"default": {Attempts: 3, Retention: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOverSQLiteEachJobIsCarriedOutOnceByManyRunners(t *testing.T) {
	const count, runners = 2000, 30
	s := over(t, "")
	var mu sync.Mutex
	done := map[springtide.RunID]int{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	began := time.Now()
	for range runners {
		all.Go(func() {
			who := jobs.Identity{Environment: quiz, Release: 1}
			for ctx.Err() == nil {
				answer, err := s.Lease(ctx, who, jobs.LeaseRequest{Runner: "r", Most: 8, WaitSeconds: 30, Started: true})
				if err != nil || len(answer.Runs) == 0 {
					continue
				}
				var request jobs.CompleteRequest
				for _, run := range answer.Runs {
					request.Runs = append(request.Runs, jobs.Completion{Hold: jobs.Hold{Run: run.Run, Fence: run.Fence}, Verdict: jobs.Succeeded})
				}
				accepted, err := s.Complete(t.Context(), who, request)
				if err != nil || slices.Contains(accepted.Accepted, false) {
					t.Error(accepted, err)
				}
				mu.Lock()
				for _, run := range answer.Runs {
					if done[run.Run]++; len(done) == count {
						cancel()
					}
				}
				mu.Unlock()
			}
		})
	}
	for range 10 {
		all.Go(func() {
			for range count / 100 {
				enqueue(t, s, make([]springtide.Job, 10)...)
			}
		})
	}
	all.Wait()
	t.Logf("%d jobs in %v", count, time.Since(began))
	for run, times := range done {
		if times != 1 {
			t.Errorf("%s was carried out %d times", run, times)
		}
	}
}

func TestOverSQLiteARunIsLeasedAtOnce(t *testing.T) {
	s := over(t, "")
	if took, write := untilLeased(t, s, s, 200); took > 200*time.Millisecond+4*write {
		t.Errorf("p50 is %v: nobody is woken", took)
	}
}

// untilLeased gives how long it takes from a job at one server to its lease at
// another, and how long a write takes meanwhile, which depends on the machine and
// its disk: the medians of so many.
func untilLeased(t *testing.T, at, from *jobs.Service, count int) (took, write time.Duration) {
	t.Helper()
	var times, writes []time.Duration
	for range count {
		began, written := make(chan time.Time, 1), make(chan time.Time, 1)
		go func() {
			time.Sleep(time.Millisecond) // the lease waits; if it does not yet, that is as well
			began <- time.Now()
			enqueue(t, at, springtide.Job{})
			written <- time.Now()
		}()
		if answer := lease(t, from, 1); len(answer.Runs) != 1 {
			t.Fatal(answer)
		}
		leased, begin := time.Now(), <-began
		times, writes = append(times, leased.Sub(begin)), append(writes, (<-written).Sub(begin))
	}
	slices.Sort(times)
	slices.Sort(writes)
	t.Logf("from enqueue to lease: p50 %v, p99 %v; a write: p50 %v", times[count/2], times[count*99/100], writes[count/2])
	return times[count/2], writes[count/2]
}

func TestOverSQLiteThePlatformsRunsAndSlotsAndDelaysAreOnTime(t *testing.T) {
	var calls atomic.Int32
	s := over(t, "", func(o *jobs.Options) {
		o.Executors = map[springtide.RunKind]jobs.Executor{springtide.RunHTTP: executorFunc(func(_ context.Context, run springtide.Run) jobs.Outcome {
			if calls.Add(1) == 1 {
				return jobs.Outcome{Verdict: jobs.Failed, Reason: "try again", RetryAfter: 100 * time.Millisecond}
			}
			return jobs.Outcome{Verdict: jobs.Succeeded, Result: []byte(`"` + string(run.ID) + `"`)}
		})}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	began := time.Now()
	id := enqueue(t, s, springtide.Job{Kind: springtide.RunHTTP, Payload: []byte("1"), Delay: 100 * time.Millisecond})[0]
	run, err := s.WaitRun(ctx, quiz, id)
	if err != nil || run.State != springtide.RunSucceeded || run.Attempt != 2 || string(run.Result) != `"`+string(id)+`"` {
		t.Error(run, err)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 12*time.Second { // the usual pause is of fifteen seconds
		t.Error("delay and retry took", took)
	}
	err = s.SetJobs(ctx, quiz, 2, springtide.Jobs{Schedules: map[springtide.ScheduleName]springtide.Schedule{"tick": {
		Cron: "every 1s", Job: springtide.Job{Queue: "default", Kind: springtide.RunCommand}, Overlap: springtide.OverlapAllow, Missed: springtide.MissedSkip, Deadline: time.Minute,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		answer := lease(t, s, 1)
		if len(answer.Runs) != 1 || time.Since(answer.Runs[0].Slot) > 10*time.Second {
			t.Errorf("%v: %v late", answer, time.Since(answer.Runs[0].Slot))
		}
	}
}

func TestOverPostgreSQLARunIsLeasedAtOnceAtAnotherServerAndOutagesPass(t *testing.T) {
	server := postgres.Start(t)
	a, b := over(t, server.URL("jobs")), over(t, server.URL("jobs"))
	if took, write := untilLeased(t, a, b, 100); took > 200*time.Millisecond+4*write {
		t.Errorf("p50 is %v: servers wake nobody at each other", took)
	}
	id := enqueue(t, a, springtide.Job{})[0]
	leased := lease(t, b, 1).Runs[0]
	waited := make(chan springtide.Run)
	go func() {
		run, err := a.WaitRun(t.Context(), quiz, id)
		for err != nil && t.Context().Err() == nil { // it had not begun to wait before the outage
			run, err = a.WaitRun(t.Context(), quiz, id)
		}
		waited <- run
	}()
	server.Restart(postgres.Immediate)
	done := jobs.CompleteRequest{Runs: []jobs.Completion{{Hold: jobs.Hold{Run: leased.Run, Fence: leased.Fence}, Verdict: jobs.Succeeded}}}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		answer, err := b.Complete(t.Context(), jobs.Identity{Environment: quiz}, done)
		if err == nil && answer.Accepted[0] {
			break
		}
		if springtide.KindOf(err) != springtide.Unavailable || time.Now().After(deadline) {
			t.Fatal(answer, err)
		}
	}
	if run := <-waited; run.State != springtide.RunSucceeded {
		t.Error(run.State)
	}
}
