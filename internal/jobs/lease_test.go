package jobs_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// waiting begins so many leases and waits until they wait.
func waiting(t *testing.T, s *jobs.Service, count int, answered func(jobs.LeaseAnswer), queues ...springtide.QueueName) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	for range count {
		all.Go(func() { answered(lease(t, s, 1, queues...)) })
	}
	synctest.Wait()
	return &all
}

func TestAnEnqueuedRunIsLeasedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newBook())
		for n := range 300 {
			began := make(chan time.Time, 1)
			go func() {
				time.Sleep(time.Duration(n%7) * time.Millisecond) // the lease waits, or does not yet
				began <- time.Now()
				enqueue(t, s, springtide.Job{})
			}()
			if answer := lease(t, s, 1); len(answer.Runs) != 1 {
				t.Fatal(answer)
			}
			if took := time.Since(<-began); took > 0 {
				t.Errorf("it waited for %v", took)
			}
		}
	})
}

// BenchmarkLease measures from a job to its lease by who waits for one.
func BenchmarkLease(b *testing.B) {
	s := jobs.New(jobs.Options{Ledger: newBook(), Folder: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(b.Context())
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	for b.Loop() {
		go func() { _, _ = s.Enqueue(ctx, quiz, []springtide.Job{{}}, nil) }()
		answer, err := s.Lease(ctx, jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r", Most: 1, WaitSeconds: 30})
		if err != nil || len(answer.Runs) != 1 {
			b.Fatal(answer, err)
		}
	}
	cancel()
	if err := <-over; err != nil {
		b.Error(err)
	}
}

func TestOneRunDoesNotCostAThousandClaims(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		var runs atomic.Int32
		all := waiting(t, s, 1000, func(answer jobs.LeaseAnswer) { runs.Add(int32(len(answer.Runs))) })
		before := b.count(&b.claims)
		enqueue(t, s, springtide.Job{})
		b.hint() // as the ledger does as well
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		if got := runs.Load(); got != 1 {
			t.Errorf("%d runs were leased", got)
		}
		if claims := b.count(&b.claims) - before; claims > 5 {
			t.Errorf("that took %d claims", claims)
		}
		before = b.count(&b.claims)
		time.Sleep(10 * time.Second)
		if claims := b.count(&b.claims) - before; claims > 11 {
			t.Errorf("ten idle seconds took %d claims", claims)
		}
		stop()
		all.Wait()
	})
}

func TestAHintIsEnoughForManyRunsToFindTheirRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		var runs atomic.Int32
		all := waiting(t, s, 1000, func(answer jobs.LeaseAnswer) { runs.Add(int32(len(answer.Runs))) })
		before := b.count(&b.claims)
		b.add(quiz, 300, springtide.Job{Kind: springtide.RunCommand, Queue: "default"})
		b.hint()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if got := runs.Load(); got != 300 {
			t.Errorf("%d runs were leased", got)
		}
		if claims := b.count(&b.claims) - before; claims > 3*300 {
			t.Errorf("that took %d claims", claims)
		}
		stop()
		all.Wait()
	})
}

func TestARunThatNobodyHintedAtIsLeasedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		var leased time.Time
		waiting := waiting(t, s, 1, func(jobs.LeaseAnswer) { leased = time.Now() })
		time.Sleep(300 * time.Millisecond)
		began := time.Now()
		b.add(quiz, 1, springtide.Job{Kind: springtide.RunCommand})
		waiting.Wait()
		if took := leased.Sub(began); took > time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhoComesWhereOthersWaitInVainWaitsWithoutAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		b.add(quiz, 1, springtide.Job{Kind: springtide.RunCommand, Queue: "fast"}) // whose hint was lost
		slow := waiting(t, s, 100, func(jobs.LeaseAnswer) {}, "slow")
		if claims := b.count(&b.claims); claims > 2 {
			t.Errorf("a hundred who came took %d claims", claims)
		}
		if answer := lease(t, s, 1, "slow", "fast"); len(answer.Runs) != 1 {
			t.Error("who waits for other queues was not served")
		}
		now, err := s.Lease(t.Context(), jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r"})
		if claims := b.count(&b.claims); err != nil || len(now.Runs) != 0 || claims < 3 {
			t.Error("who does not wait was answered without a look", now, err)
		}
		stop()
		slow.Wait()
	})
}

func TestHintsInVainAreFollowedLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		all := waiting(t, s, 10, func(jobs.LeaseAnswer) {})
		before := b.count(&b.claims)
		for range 1000 {
			b.hint()
			time.Sleep(time.Millisecond)
		}
		if claims := b.count(&b.claims) - before; claims < 10 || claims > 20 {
			t.Errorf("a thousand hints cost %d claims", claims)
		}
		b.add(quiz, 1, springtide.Job{Kind: springtide.RunCommand})
		b.hint()
		began := time.Now()
		for run, _ := b.Run(t.Context(), quiz, "run1"); run.State == springtide.RunAvailable; run, _ = b.Run(t.Context(), quiz, "run1") {
			time.Sleep(time.Millisecond)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Error("a hint was followed after", took)
		}
		stop()
		all.Wait()
	})
}

func TestOnlyRunnersOfItsQueueAreWokenForARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		var wrong, right atomic.Int32
		others := waiting(t, s, 50, func(answer jobs.LeaseAnswer) { wrong.Add(int32(len(answer.Runs))) }, "slow")
		all := waiting(t, s, 2, func(answer jobs.LeaseAnswer) { right.Add(int32(len(answer.Runs))) }, "slow", "fast")
		before := b.count(&b.claims)
		enqueue(t, s, springtide.Job{Queue: "fast"}, springtide.Job{Queue: "fast"})
		all.Wait()
		if claims := b.count(&b.claims) - before; claims != 2 || right.Load() != 2 {
			t.Errorf("%d runs were leased in %d claims", right.Load(), claims)
		}
		stop()
		others.Wait()
		if wrong.Load() != 0 {
			t.Error("runs went to the wrong runner")
		}
	})
}

func TestARunThatComesWhileTheOnlyRunnerIsClaimingIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		b.looked = sync.OnceFunc(func() { enqueue(t, s, springtide.Job{}) })
		began := time.Now()
		if answer := lease(t, s, 1); len(answer.Runs) != 1 || time.Since(began) > 0 {
			t.Error(answer, time.Since(began))
		}
	})
}

func TestADrainingRunnerIsToldAtOnceAndAnAwaitedOneWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		var admission atomic.Pointer[jobs.Admission]
		admission.Store(&jobs.Admission{})
		s := start(t, b, func(o *jobs.Options) { o.Admit = func(jobs.Identity) jobs.Admission { return *admission.Load() } })
		enqueue(t, s, springtide.Job{})
		var answers []jobs.LeaseAnswer
		began := time.Now()
		all := waiting(t, s, 1, func(answer jobs.LeaseAnswer) { answers = append(answers, answer) })
		if len(answers) != 0 || b.count(&b.claims) != 0 {
			t.Fatal("who is not admitted yet was given an answer", answers)
		}
		admission.Store(&jobs.Admission{Lease: true})
		s.Readmit()
		all.Wait()
		if len(answers[0].Runs) != 1 {
			t.Error("who was admitted was given no run")
		}
		all = waiting(t, s, 3, func(answer jobs.LeaseAnswer) {
			if !answer.Drain || len(answer.Runs) != 0 {
				t.Error(answer)
			}
		})
		admission.Store(&jobs.Admission{Drain: true, Interrupt: true})
		s.Readmit()
		all.Wait()
		if time.Since(began) > 100*time.Millisecond {
			t.Error("that took", time.Since(began))
		}
		beat, err := s.Heartbeat(t.Context(), jobs.Identity{Environment: quiz}, jobs.BeatRequest{Runner: "r"})
		if err != nil || !beat.Drain || !beat.Interrupt {
			t.Error(beat, err)
		}
	})
}

func TestLeasesEndWithTheServiceAndWithTheirCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s, stop := startStoppable(t, b)
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, ctx := range []context.Context{ctx, t.Context()} {
			all.Go(func() {
				answer, err := s.Lease(ctx, jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r", WaitSeconds: 30})
				if err != nil || len(answer.Runs) != 0 || answer.Drain {
					t.Error(answer, err)
				}
			})
		}
		synctest.Wait()
		cancel()
		stop()
		all.Wait()
		if took := time.Since(began); took > 0 {
			t.Error("that took", took)
		}
		_, err := s.Lease(t.Context(), jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r"})
		wantKind(t, err, springtide.Unavailable)
	})
}

func TestWhatIsClaimedForACallerWhoLeftIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		ctx, cancel := context.WithCancel(t.Context())
		b.claiming = cancel
		ids := enqueue(t, s, springtide.Job{})
		answer, err := s.Lease(ctx, jobs.Identity{Environment: quiz}, jobs.LeaseRequest{Runner: "r"})
		if err != nil || len(answer.Runs) != 0 {
			t.Error(answer, err)
		}
		run, _ := b.Run(t.Context(), quiz, ids[0])
		if run.State != springtide.RunAvailable || run.Attempt != 1 {
			t.Errorf("the run is %s", run.State)
		}
	})
}

func TestNobodyTouchesTheRunsOfAnotherEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		enqueue(t, s, springtide.Job{})
		leased := lease(t, s, 1).Runs[0]
		hold := jobs.Hold{Run: leased.Run, Fence: leased.Fence}
		// The second service did not lease it, as after a restart.
		for _, s := range []*jobs.Service{s, start(t, b)} {
			thief := jobs.Identity{Environment: blog}
			started, err := s.Start(t.Context(), thief, []jobs.Hold{hold})
			if err != nil || started[0] {
				t.Error("it was started", err)
			}
			beat, err := s.Heartbeat(t.Context(), thief, jobs.BeatRequest{Runs: []jobs.Beat{{Hold: hold}}})
			if err != nil || beat.Runs[0].Held {
				t.Error("its lease was renewed", err)
			}
			done, err := s.Complete(t.Context(), thief, jobs.CompleteRequest{Runs: []jobs.Completion{{Hold: hold, Verdict: jobs.Succeeded}}})
			if err != nil || done.Accepted[0] {
				t.Error("it was completed", err)
			}
			_, err = s.AppendOutput(t.Context(), thief, hold, 0, nil)
			wantKind(t, err, springtide.Conflict)
			started, err = s.Start(t.Context(), jobs.Identity{Environment: quiz}, []jobs.Hold{{Run: "x"}, hold, {Run: hold.Run, Fence: 99}})
			if err != nil || !slices.Equal(started, []bool{false, true, false}) {
				t.Error("its own runner could not start it", started, err)
			}
		}
		_, err := s.Lease(t.Context(), jobs.Identity{}, jobs.LeaseRequest{Runner: "r"})
		wantKind(t, err, springtide.Invalid) // it would be given the platform's runs
	})
}
