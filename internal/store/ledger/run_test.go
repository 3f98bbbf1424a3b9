package ledger

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestARunGoesFromAvailableToSucceeded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{Command: "make tea", Payload: json.RawMessage(`{"sugar": 2}`)})[0]
		w.want(id, springtide.RunAvailable)
		claimed := w.claimOne()
		if claimed.ID != id || claimed.State != springtide.RunClaimed || claimed.Attempt != 1 || claimed.Fence == 0 || claimed.Runner != "a" ||
			claimed.Release != 3 || claimed.Environment != quiz || claimed.Queue != springtide.DefaultQueue ||
			claimed.Command != "make tea" || string(claimed.Payload) != `{"sugar": 2}` {
			t.Errorf("claimed %+v", claimed)
		}
		w.step(time.Second)
		if started := w.start(claimed); !started[0] {
			t.Fatal("it may not start")
		}
		w.want(id, springtide.RunRunning)
		w.step(time.Second)
		if !w.finish(claimed, jobs.Outcome{Verdict: jobs.Succeeded, Result: json.RawMessage(`"hot"`), Output: "done\n"}) {
			t.Fatal("its result was refused")
		}
		run := w.want(id, springtide.RunSucceeded)
		if string(run.Result) != `"hot"` || run.Output != "done\n" || run.Started.Sub(run.Claimed) != time.Second || run.Finished.Sub(run.Started) != time.Second {
			t.Errorf("finished as %+v", run)
		}
		if runs := w.claim(1); len(runs) != 0 {
			t.Errorf("%d runs are left", len(runs))
		}
	})
}

func TestAFailureIsTriedAgainLaterAndLaterAndThenDead(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{Attempts: 3})[0]
		fence := springtide.Fence(0)
		for n, want := range []time.Duration{15 * time.Second, 30 * time.Second, 0} {
			run := w.claimOne()
			if run.ID != id || run.Fence <= fence || run.Attempt != n+1 {
				t.Fatalf("attempt %d is %+v", n+1, run)
			}
			fence = run.Fence
			w.start(run)
			if !w.finish(run, jobs.Outcome{Verdict: jobs.Failed, Reason: "no milk", ExitCode: 1}) {
				t.Fatal("refused")
			}
			after := w.run(id)
			if want == 0 {
				break
			}
			if after.State != springtide.RunScheduled || after.Failures != n+1 || after.Reason != "no milk" || after.ExitCode != 1 {
				t.Fatalf("after failure %d: %+v", n+1, after)
			}
			w.pass(want*8/10 - time.Second)
			if runs := w.claim(1); len(runs) != 0 {
				t.Fatal("it is tried too early")
			}
			w.pass(want*4/10 + 2*time.Second)
		}
		w.want(id, springtide.RunDead)
		w.wantHappened(w.pass(time.Second), "run.dead")
	})
}

func TestARepeatedCallIsAnsweredAsAtFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, verdict := range []jobs.Verdict{jobs.Succeeded, jobs.Failed, jobs.Returned} {
			w.enqueue(springtide.Job{})
			run := w.claimOne()
			for range 2 {
				if !w.start(run)[0] {
					t.Errorf("%s: the start was refused", verdict)
				}
			}
			for range 2 {
				if !w.finish(run, jobs.Outcome{Verdict: verdict}) {
					t.Errorf("%s was refused", verdict)
				}
			}
			other := jobs.Failed
			if verdict == jobs.Failed {
				other = jobs.Succeeded
			}
			if w.finish(run, jobs.Outcome{Verdict: other}) {
				t.Errorf("after %s, %s was accepted as well", verdict, other)
			}
			if verdict == jobs.Returned {
				run = w.claimOne()
				w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded})
			}
		}
	})
}

func TestOneOfTwoResultsInOneCallIsAccepted(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(springtide.Job{})
		run := w.claimOne()
		w.start(run)
		accepted, err := w.Finish(t.Context(), []jobs.Outcome{
			{Hold: hold(run), Verdict: jobs.Succeeded},
			{Hold: hold(run), Verdict: jobs.Failed},
			{Hold: hold(run), Verdict: jobs.Succeeded},
			{Hold: jobs.Hold{Run: "nonsense", Fence: 1}, Verdict: jobs.Succeeded},
		})
		w.must(err)
		if !slices.Equal(accepted, []bool{true, false, true, false}) {
			t.Errorf("accepted: %v", accepted)
		}
	})
}

func TestWhatWasLostBeforeItsStartIsAvailableAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{OnLost: springtide.LostFail})[0]
		first := w.claimOne()
		w.pass(jobs.LeaseFor - time.Second)
		w.want(id, springtide.RunClaimed)
		ticked := w.pass(2 * time.Second)
		w.wantHappened(ticked, "run.lost")
		if ticked.Available != 1 {
			t.Errorf("%d became available", ticked.Available)
		}
		run := w.want(id, springtide.RunAvailable)
		if run.Failures != 0 {
			t.Errorf("it counts as %d failures", run.Failures)
		}
		if w.start(first)[0] || w.finish(first, jobs.Outcome{Verdict: jobs.Succeeded}) || w.beat(first).Held {
			t.Error("the lost attempt may go on")
		}
		second := w.claimOne()
		if second.ID != id || second.Fence <= first.Fence || second.Attempt != 2 {
			t.Errorf("then claimed %+v", second)
		}
		if w.start(first)[0] || w.finish(first, jobs.Outcome{Verdict: jobs.Succeeded}) || !w.start(second)[0] {
			t.Error("the wrong attempt may start")
		}
	})
}

func TestWhatWasLostAfterItsStartFollowsOnLost(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ids := w.enqueue(springtide.Job{OnLost: springtide.LostFail}, springtide.Job{OnLost: springtide.LostRetry})
		runs := w.claim(2)
		w.start(runs...)
		ticked := w.pass(jobs.LeaseFor + time.Second)
		w.wantHappened(ticked, "run.lost", "run.lost", "run.dead")
		w.want(ids[0], springtide.RunDead)
		if run := w.want(ids[1], springtide.RunScheduled); run.Failures != 1 || !strings.Contains(run.Reason, "lost") {
			t.Errorf("the other is %+v", run)
		}
		for _, run := range runs {
			if w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded}) {
				t.Error("the result of a lost attempt was accepted")
			}
		}
	})
}

func TestHeartbeatsKeepALeaseAndItsProgress(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{})[0]
		run := w.claimOne()
		w.start(run)
		for range 6 {
			w.pass(jobs.BeatEvery)
			if !w.beat(run).Held {
				t.Fatal("the lease is lost")
			}
		}
		_, err := w.Heartbeat(t.Context(), []jobs.Beat{{Hold: hold(run), Progress: &springtide.Progress{Percent: 40.5, Message: "half\x00 way"}}})
		w.must(err)
		w.beat(run)
		if got := w.run(id).Progress; got.Percent != 40.5 || got.Message != "half\uFFFD way" {
			t.Errorf("progress is %+v", got)
		}
	})
}

func TestNeitherAnOutageNorAJumpOfTheClockTakesALease(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(springtide.Job{})
		run := w.claimOne()
		w.start(run)
		w.outage(24 * time.Hour)
		w.outage(-48 * time.Hour)
		w.pass(10 * time.Second)
		if !w.beat(run).Held {
			t.Error("the lease is lost")
		}
	})
}

func TestWhatIsDelayedIsAvailableAsSoonAsEitherClockSaysSo(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{Delay: time.Minute})[0]
		w.pass(59 * time.Second)
		w.want(id, springtide.RunScheduled)
		w.pass(time.Second)
		w.want(id, springtide.RunAvailable)
		// After an outage the calendar says so.
		id = w.enqueue(springtide.Job{Delay: time.Hour})[0]
		w.outage(time.Hour)
		w.want(id, springtide.RunAvailable)
		// After a jump back the uptime says so.
		id = w.enqueue(springtide.Job{Delay: time.Minute})[0]
		w.step(-time.Hour)
		w.pass(61 * time.Second)
		w.want(id, springtide.RunAvailable)
		// A given time is of the calendar only.
		now := w.run(id).RunAt
		id = w.enqueue(springtide.Job{RunAt: now.Add(30 * time.Second)})[0]
		w.pass(time.Minute)
		w.want(id, springtide.RunScheduled)
		w.outage(time.Hour)
		w.want(id, springtide.RunAvailable)
	})
}

func TestAResultSaysWhenToTryAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{})[0]
		w.finish(w.claimOne(), jobs.Outcome{Verdict: jobs.Failed, RetryAfter: 2 * time.Hour})
		run := w.want(id, springtide.RunScheduled)
		if wait := run.RunAt.Sub(run.Claimed); wait != 2*time.Hour {
			t.Errorf("it waits for %s", wait)
		}
		w.outage(2 * time.Hour)
		w.finish(w.claimOne(), jobs.Outcome{Verdict: jobs.Returned, RetryAfter: time.Minute})
		if run := w.want(id, springtide.RunScheduled); run.Failures != 1 {
			t.Errorf("to be returned counts as a failure: %+v", run)
		}
		w.outage(time.Minute)
		w.finish(w.claimOne(), jobs.Outcome{Verdict: jobs.Failed, Final: true})
		w.want(id, springtide.RunDead)
	})
}

func TestWhatIsReturnedKeepsItsTurn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := w.enqueue(springtide.Job{})[0]
		w.step(time.Second)
		w.enqueue(springtide.Job{})
		w.finish(w.claim(1)[0], jobs.Outcome{Verdict: jobs.Returned})
		if run := w.claim(1)[0]; run.ID != first || run.Failures != 0 || run.Attempt != 2 {
			t.Errorf("next is %+v", run)
		}
	})
}

func TestTheEndOfLongOutputIsKeptAndAnyBytesAreText(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{})[0]
		long := strings.Repeat("é\xff\x00", springtide.OutputTail) + "the end"
		w.finish(w.claimOne(), jobs.Outcome{Verdict: jobs.Failed, Output: long, Reason: "bad \xff"})
		run := w.run(id)
		if len(run.Output) > springtide.OutputTail || !strings.HasSuffix(run.Output, "the end") || run.Reason != "bad \uFFFD" {
			t.Errorf("kept %d bytes and %q", len(run.Output), run.Reason)
		}
	})
}

func TestRunsAreFoundByTheirIDs(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ids := w.enqueue(springtide.Job{}, springtide.Job{}, springtide.Job{})
		found, err := w.Runs(t.Context(), jobs.Query{Environment: quiz, IDs: []springtide.RunID{ids[2], ids[0], "none"}})
		w.must(err)
		if len(found) != 2 || found[0].ID != ids[2] || found[1].ID != ids[0] {
			t.Errorf("found %v of %v", found, ids)
		}
	})
}

func TestAQueueThatIsPausedOrLimitedStopsWhoKnewOfNone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(make([]springtide.Job, 5)...)
		if n := len(w.claim(1)); n != 1 { // from now on it is known that there is one queue
			t.Fatalf("%d runs were claimed", n)
		}
		other := w.again()
		w.must(other.PauseQueue(t.Context(), quiz, springtide.DefaultQueue, true))
		if n := len(w.claim(1)); n != 0 {
			t.Errorf("%d runs were claimed of a paused queue", n)
		}
		w.must(other.PauseQueue(t.Context(), quiz, springtide.DefaultQueue, false))
		if n := len(w.claim(1)); n != 1 {
			t.Errorf("%d runs were claimed", n)
		}
		w.must(other.SetJobs(t.Context(), quiz, 1, springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{springtide.DefaultQueue: {Concurrency: 3}}}))
		if n := len(w.claim(5)); n != 1 {
			t.Errorf("%d runs were claimed, where there is room for one more", n)
		}
	})
}
