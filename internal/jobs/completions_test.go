package jobs_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// leaseMany enqueues and leases so many runs.
func leaseMany(t *testing.T, s *jobs.Service, count int) []jobs.Hold {
	t.Helper()
	enqueue(t, s, make([]springtide.Job, count)...)
	var holds []jobs.Hold
	for _, run := range lease(t, s, count).Runs {
		holds = append(holds, jobs.Hold{Run: run.Run, Fence: run.Fence})
	}
	return holds
}

func complete(t *testing.T, s *jobs.Service, all ...jobs.Completion) ([]bool, error) {
	t.Helper()
	answer, err := s.Complete(t.Context(), jobs.Identity{Environment: quiz}, jobs.CompleteRequest{Runs: all})
	return answer.Accepted, err
}

func TestCompletionsOfManyCallersAreWrittenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.finishing = 10 * time.Millisecond
		s := start(t, b)
		var all sync.WaitGroup
		for i, hold := range leaseMany(t, s, 100) {
			all.Go(func() {
				stale := jobs.Hold{Run: hold.Run, Fence: hold.Fence - 1}
				own := []jobs.Completion{{Hold: hold, Verdict: jobs.Succeeded}}
				want := []bool{true}
				if i%2 == 0 { // each gets his own answers, in his order
					own, want = append([]jobs.Completion{{Hold: stale, Verdict: jobs.Succeeded}}, own...), []bool{false, true}
				}
				accepted, err := complete(t, s, own...)
				if err != nil || !slices.Equal(accepted, want) {
					t.Error(accepted, err)
				}
				if run, _ := b.Run(t.Context(), quiz, hold.Run); run.State != springtide.RunSucceeded {
					t.Error("it was answered before it was written")
				}
			})
		}
		all.Wait()
		if len(b.finishes) > 3 || len(b.accepted()) != 100 {
			t.Errorf("%d outcomes were written in %v", len(b.accepted()), b.finishes)
		}
	})
}

func TestEverybodyIsToldThatTheDatabaseIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.finishing = 10 * time.Millisecond
		s := start(t, b)
		holds := leaseMany(t, s, 20)
		b.set(func() { b.away = springtide.Errorf(springtide.Unavailable, "the disk is full") })
		var all sync.WaitGroup
		for _, hold := range holds {
			all.Go(func() {
				_, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded})
				wantKind(t, err, springtide.Unavailable, "the disk is full")
			})
		}
		all.Wait()
		_, err := s.Heartbeat(t.Context(), jobs.Identity{Environment: quiz}, jobs.BeatRequest{Runner: "test", Runs: []jobs.Beat{{Hold: holds[0]}}})
		wantKind(t, err, springtide.Unavailable, "the disk is full")
		b.set(func() { b.away = nil })
		for _, hold := range holds {
			if accepted, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded}); err != nil || !accepted[0] {
				t.Error("once it was back the result was not taken", err)
			}
		}
	})
}

func TestABadOutcomeCostsOnlyItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.finishing = 10 * time.Millisecond
		s := start(t, b)
		var all sync.WaitGroup
		for i, hold := range leaseMany(t, s, 20) {
			all.Go(func() {
				if i == 10 {
					_, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Failed, Reason: "bad"})
					wantKind(t, err, springtide.Invalid)
				} else if accepted, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded}); err != nil || !accepted[0] {
					t.Error(accepted, err)
				}
			})
		}
		all.Wait()
	})
}

func TestOutputThatComesAfterTheEndKeepsNoRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newBook())
		hold := leaseMany(t, s, 1)[0]
		if count := s.Leased("r"); count != 1 {
			t.Errorf("it has %d runs", count)
		}
		if accepted, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded}); err != nil || !accepted[0] {
			t.Fatal(accepted, err)
		}
		if _, err := s.AppendOutput(t.Context(), jobs.Identity{Environment: quiz}, hold, 0, strings.NewReader("done")); err != nil {
			t.Error(err)
		}
		if count := s.Leased("r"); count != 0 {
			t.Errorf("it has %d runs still", count)
		}
	})
}
