package ledger

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestCancelEndsWhatNobodyHasBegunAndAsksWhoHas(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ids := w.enqueue(springtide.Job{}, springtide.Job{}, springtide.Job{}, springtide.Job{Delay: time.Hour})
		runs := w.claim(2)
		w.start(runs[1])
		for range 2 {
			for i, want := range []springtide.RunState{springtide.RunCancelled, springtide.RunRunning, springtide.RunCancelled, springtide.RunCancelled} {
				run, err := w.Cancel(t.Context(), quiz, ids[i])
				w.must(err)
				if run.State != want || run.Cancelling != (i == 1) {
					t.Errorf("run %d is %+v", i, run)
				}
			}
		}
		if w.start(runs[0])[0] || w.beat(runs[0]).Held {
			t.Error("a cancelled run may start")
		}
		if standing := w.beat(runs[1]); !standing.Held || !standing.Cancel {
			t.Errorf("the one that runs is told %+v", standing)
		}
		if !w.finish(runs[1], jobs.Outcome{Verdict: jobs.Failed, Reason: "it was asked to"}) {
			t.Error("its end was refused")
		}
		w.want(ids[1], springtide.RunCancelled)
		done := w.enqueue(springtide.Job{})[0]
		run := w.claimOne()
		w.start(run)
		_, err := w.Cancel(t.Context(), quiz, done)
		w.must(err)
		w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded})
		w.want(done, springtide.RunSucceeded)
		_, err = w.Cancel(t.Context(), quiz, done)
		wantKind(t, err, springtide.Conflict)
		_, err = w.Cancel(t.Context(), springtide.EnvironmentID{App: "other", Name: "production"}, done)
		wantKind(t, err, springtide.NotFound)
		_, err = w.Cancel(t.Context(), quiz, "nonsense")
		wantKind(t, err, springtide.NotFound)
	})
}

func TestRetryHasAllAttemptsBeforeIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		id := w.enqueue(springtide.Job{Attempts: 1, Key: "k", KeyScope: springtide.KeyActive})[0]
		first := w.claimOne()
		w.finish(first, jobs.Outcome{Verdict: jobs.Failed})
		w.want(id, springtide.RunDead)
		other := w.enqueue(springtide.Job{Key: "k", KeyScope: springtide.KeyActive})[0]
		_, err := w.Retry(t.Context(), quiz, id)
		wantKind(t, err, springtide.Conflict)
		if n, err := w.Replay(t.Context(), quiz, ""); n != 0 || err != nil {
			t.Errorf("%d were replayed, %v", n, err)
		}
		_, err = w.Retry(t.Context(), quiz, other) // it is available already
		w.must(err)
		_, err = w.Cancel(t.Context(), quiz, other)
		w.must(err)
		for range 2 {
			run, err := w.Retry(t.Context(), quiz, id)
			w.must(err)
			if run.State != springtide.RunAvailable || run.Failures != 0 || run.Attempt != 1 {
				t.Errorf("retried: %+v", run)
			}
		}
		if e, _ := w.Enqueue(t.Context(), quiz, []springtide.Job{{Key: "k", KeyScope: springtide.KeyActive}}, nil); e[0].Run != id {
			t.Error("its key is free")
		}
		second := w.claimOne()
		if second.Fence <= first.Fence || w.finish(first, jobs.Outcome{Verdict: jobs.Succeeded}) {
			t.Error("the first attempt has the run")
		}
		w.finish(second, jobs.Outcome{Verdict: jobs.Succeeded})
		_, err = w.Retry(t.Context(), quiz, id)
		wantKind(t, err, springtide.Conflict)
		back := w.enqueue(springtide.Job{})[0]
		w.finish(w.claimOne(), jobs.Outcome{Verdict: jobs.Failed})
		_, err = w.Retry(t.Context(), quiz, back)
		w.must(err)
		w.claimOne()
	})
}

func TestReplayRetriesEveryDeadRunOfAQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(springtide.Job{Attempts: 1}, springtide.Job{Attempts: 1}, springtide.Job{Attempts: 1, Queue: "mail"})
		for _, run := range w.claim(10) {
			w.finish(run, jobs.Outcome{Verdict: jobs.Failed})
		}
		if got := w.queue(springtide.DefaultQueue).States[springtide.RunDead]; got != 2 {
			t.Errorf("%d are dead", got)
		}
		if n, err := w.Replay(t.Context(), quiz, springtide.DefaultQueue); n != 2 || err != nil {
			t.Errorf("%d were replayed, %v", n, err)
		}
		if n, err := w.Replay(t.Context(), quiz, ""); n != 1 || err != nil {
			t.Errorf("then %d were, %v", n, err)
		}
		if n := len(w.claim(10)); n != 3 {
			t.Errorf("%d are available", n)
		}
	})
}

func TestAPausedQueueGivesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(springtide.Job{}, springtide.Job{Queue: "mail"})
		w.must(w.PauseQueue(t.Context(), quiz, "mail", true))
		if run := w.claimOne(); run.Queue != springtide.DefaultQueue || !w.queue("mail").Paused {
			t.Errorf("claimed from %s", run.Queue)
		}
		w.must(w.PauseQueue(t.Context(), quiz, "mail", false))
		w.claimOne()
	})
}

func TestNoMoreAreUnderWayThanTheLimits(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.set(springtide.Jobs{Concurrency: 5, Queues: map[springtide.QueueName]springtide.Queue{"slow": {Concurrency: 2}}})
		for range 4 {
			w.enqueue(springtide.Job{Queue: "slow"}, springtide.Job{})
		}
		runs := w.claim(100)
		slow := 0
		for _, run := range runs {
			if run.Queue == "slow" {
				slow++
			}
		}
		if len(runs) != 5 || slow != 2 {
			t.Errorf("%d are under way, %d of them slow", len(runs), slow)
		}
		if n := len(w.claim(100)); n != 0 {
			t.Errorf("%d more", n)
		}
		w.finish(runs[0], jobs.Outcome{Verdict: jobs.Succeeded})
		if n := len(w.claim(100)); n != 1 {
			t.Errorf("after one ended, %d more", n)
		}
	})
}

func TestThePlatformGetsWhatNeedsNoWorkerOfTheApp(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		other := springtide.EnvironmentID{App: "shop", Name: springtide.Production}
		w.enqueue(springtide.Job{}, springtide.Job{Kind: springtide.RunHTTP})
		w.step(time.Second)
		_, err := w.Enqueue(t.Context(), other, []springtide.Job{{Kind: springtide.RunMail, Queue: "mail"}}, nil)
		w.must(err)
		runs, err := w.Claim(t.Context(), jobs.Claim{Most: 10, Runner: "platform", Started: true})
		w.must(err)
		if len(runs) != 2 || runs[0].Kind != springtide.RunHTTP || runs[1].Environment != other || runs[1].Queue != "mail" || runs[0].State != springtide.RunRunning || runs[0].Started.IsZero() {
			t.Errorf("the platform gets %+v", runs)
		}
		if run := w.claimOne(); run.Kind != springtide.RunCommand {
			t.Errorf("the app gets %+v", run)
		}
	})
}

func TestAQueueCountsWhatItsWorkersAreScaledBy(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.set(springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{springtide.DefaultQueue: {Concurrency: 9, Attempts: 2, Retention: time.Hour}}})
		w.enqueue(springtide.Job{}, springtide.Job{}, springtide.Job{}, springtide.Job{Kind: springtide.RunHTTP}, springtide.Job{Delay: time.Hour})
		w.step(10 * time.Second)
		runs := w.claim(2)
		w.start(runs...)
		w.step(3 * time.Second)
		w.finish(runs[0], jobs.Outcome{Verdict: jobs.Succeeded})
		q := w.queue(springtide.DefaultQueue)
		want := jobs.QueueStatus{
			Environment: quiz, Name: springtide.DefaultQueue, Settings: springtide.Queue{Concurrency: 9, Attempts: 2, Retention: time.Hour},
			States: map[springtide.RunState]int{
				springtide.RunAvailable: 2, springtide.RunRunning: 1, springtide.RunSucceeded: 1, springtide.RunScheduled: 1,
			},
			Commands: 1, Oldest: 13 * time.Second, Arrived: 3, Finished: 1, Busy: 3 * time.Second, Waited: 20 * time.Second, UnderWay: 1,
		}
		if fmt.Sprint(q) != fmt.Sprint(want) {
			t.Errorf("got  %+v\nwant %+v", q, want)
		}
		if all, err := w.Queues(t.Context(), springtide.EnvironmentID{}); err != nil || len(all) != 1 {
			t.Errorf("all: %v, %v", all, err)
		}
	})
}

func TestWhatIsOverIsForgottenAfterItsRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.set(springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{springtide.DefaultQueue: {Attempts: 1, Retention: 20 * time.Second}}})
		ids := w.enqueue(springtide.Job{}, springtide.Job{})
		runs := w.claim(2)
		w.finish(runs[0], jobs.Outcome{Verdict: jobs.Succeeded})
		w.finish(runs[1], jobs.Outcome{Verdict: jobs.Failed})
		w.pass(19 * time.Second)
		w.want(ids[0], springtide.RunSucceeded)
		w.pass(2 * time.Second)
		_, err := w.Run(t.Context(), quiz, ids[0])
		wantKind(t, err, springtide.NotFound)
		w.want(ids[1], springtide.RunDead)
		if q := w.queue(springtide.DefaultQueue); q.States[springtide.RunSucceeded] != 0 || q.States[springtide.RunDead] != 1 {
			t.Errorf("states: %v", q.States)
		}
	})
}

func TestAForgottenEnvironmentLeavesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{})
		w.pass(time.Minute)
		id := w.enqueue(springtide.Job{})[0]
		run := w.claim(1)[0]
		_, err := w.TakeLock(t.Context(), quiz, "l", "o", time.Minute)
		w.must(err)
		for range 2 {
			w.must(w.ForgetEnvironment(t.Context(), quiz))
		}
		_, err = w.Run(t.Context(), quiz, id)
		wantKind(t, err, springtide.NotFound)
		if w.start(run)[0] || w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded}) || len(w.claim(9)) != 0 {
			t.Error("its runs are there still")
		}
		queues, _ := w.Queues(t.Context(), quiz)
		schedules, _ := w.Schedules(t.Context(), quiz)
		locks, _ := w.Locks(t.Context(), quiz)
		if len(queues)+len(schedules)+len(locks) != 0 {
			t.Errorf("left: %v %v %v", queues, schedules, locks)
		}
		w.enqueue(springtide.Job{}) // one of the same name begins anew
		w.pass(2 * time.Minute)
		w.claimOne()
		left, err := one(w.view(context.Background()), nil, value[int], "SELECT count(*) FROM environments")
		if err != nil || left != 1 {
			t.Errorf("%d environments are remembered, %v", left, err)
		}
	})
}

func TestListingsGoOnWhereTheyEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ids := w.enqueue(make([]springtide.Job, 5)...)
		w.finish(w.claim(1)[0], jobs.Outcome{Verdict: jobs.Succeeded, Result: []byte("1")})
		page, err := w.Runs(t.Context(), jobs.Query{Environment: quiz, Most: 2})
		w.must(err)
		next, err := w.Runs(t.Context(), jobs.Query{Environment: quiz, Before: page[1].ID, Queue: springtide.DefaultQueue})
		w.must(err)
		if len(page) != 2 || page[0].ID != ids[4] || len(next) != 3 || next[2].ID != ids[0] || next[2].Result != nil {
			t.Errorf("%v, then %v", page, next)
		}
		some, err := w.Runs(t.Context(), jobs.Query{States: []springtide.RunState{springtide.RunSucceeded, springtide.RunDead}})
		w.must(err)
		if len(some) != 1 || some[0].ID != ids[0] {
			t.Errorf("succeeded: %v", some)
		}
	})
}

func TestALockIsLentToOneAtATimeWithAFenceThatRises(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx := t.Context()
		first, err := w.TakeLock(ctx, quiz, "cash", "ann", 10*time.Second)
		w.must(err)
		again, err := w.TakeLock(ctx, quiz, "cash", "ann", 20*time.Second)
		w.must(err)
		if again.Fence != first.Fence || again.Left != 20*time.Second {
			t.Errorf("%+v, then %+v", first, again)
		}
		_, err = w.TakeLock(ctx, quiz, "cash", "bob", 10*time.Second)
		wantKind(t, err, springtide.Conflict)
		w.outage(time.Hour) // nobody could renew it
		_, err = w.RenewLock(ctx, quiz, "cash", first.Fence, 10*time.Second)
		w.must(err)
		w.pass(11 * time.Second)
		_, err = w.RenewLock(ctx, quiz, "cash", first.Fence, 10*time.Second)
		wantKind(t, err, springtide.Conflict)
		second, err := w.TakeLock(ctx, quiz, "cash", "bob", 10*time.Second)
		w.must(err)
		w.must(w.ReleaseLock(ctx, quiz, "cash", first.Fence)) // he has it no more
		if held, err := w.Locks(ctx, quiz); err != nil || len(held) != 1 || held[0].Owner != "bob" || second.Fence <= first.Fence {
			t.Errorf("%+v, %v", held, err)
		}
		w.must(w.ReleaseLock(ctx, quiz, "cash", second.Fence))
		third, err := w.TakeLock(ctx, quiz, "cash", "ann", 10*time.Second)
		w.must(err)
		w.enqueue(springtide.Job{})
		if run := w.claimOne(); third.Fence <= second.Fence || run.Fence <= third.Fence {
			t.Errorf("fences %d, %d, then of a run %d", second.Fence, third.Fence, run.Fence)
		}
		for _, wrong := range []struct {
			name, owner string
			ttl         time.Duration
		}{{"", "o", time.Second}, {"n", "", time.Second}, {"n", "o", 0}} {
			_, err := w.TakeLock(ctx, quiz, wrong.name, wrong.owner, wrong.ttl)
			wantKind(t, err, springtide.Invalid)
		}
	})
}

func TestWakeupsTellThatThereIsSomethingToDo(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		here, there := w.Wakeups(ctx), w.again().Wakeups(ctx)
		listeners := map[string]<-chan struct{}{"here": here}
		if w.announce != nil {
			listeners["there"] = there
		}
		w.enqueue(springtide.Job{})
		for name, listener := range listeners {
			select {
			case <-listener:
			case <-time.After(30 * time.Second):
				t.Errorf("nobody was woken %s", name)
			}
		}
		cancel()
		for _, listener := range listeners {
			for range listener { // it ends with the context
			}
		}
	})
}

func TestAnEndWakesOnlyWhereThereIsRoomForAnotherThen(t *testing.T) {
	w := sqliteWorld(t) // where nothing wakes but a change
	woken := w.Wakeups(t.Context())
	for name, test := range map[string]struct {
		said springtide.Jobs
		want bool
	}{
		"no limit":               {springtide.Jobs{}, false},
		"a limited queue":        {springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{springtide.DefaultQueue: {Concurrency: 1, Attempts: 1}}}, true},
		"a limited environment":  {springtide.Jobs{Concurrency: 1}, true},
		"a limit for other runs": {springtide.Jobs{Queues: map[springtide.QueueName]springtide.Queue{"other": {Concurrency: 1, Attempts: 1}}}, false},
	} {
		w.set(test.said)
		w.enqueue(springtide.Job{})
		run := w.claimOne()
		for len(woken) > 0 {
			<-woken
		}
		w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded})
		if got := len(woken) > 0; got != test.want {
			t.Errorf("%s: woken is %v", name, got)
		}
	}
}

func TestATickTellsInHowLongTheNextIsDue(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if next := w.tick().Next; next != 0 {
			t.Errorf("nothing is due in %s", next)
		}
		w.schedule(springtide.Schedule{})
		if next := w.tick().Next; next != time.Minute {
			t.Errorf("the slot is due in %s", next)
		}
		w.enqueue(springtide.Job{Delay: 5 * time.Second})
		if next := w.tick().Next; next != 5*time.Second {
			t.Errorf("the delay is over in %s", next)
		}
		ticked := w.pass(5 * time.Second)
		if ticked.Available != 1 {
			t.Errorf("%d became available", ticked.Available)
		}
		w.start(w.claimOne())
		if next := w.tick().Next; next != 30*time.Second {
			t.Errorf("the lease is due in %s", next)
		}
	})
}
