package ledger

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestEachSlotBecomesOneRun(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Job: springtide.Job{Command: "tidy", Key: "not used"}, Deadline: time.Minute})
		other := w.again()
		for range 3 * 60 {
			w.step(time.Second)
			w.tick()
			_, err := other.Tick(context.Background())
			w.must(err)
			if runs := w.claim(10); len(runs) > 0 {
				w.start(runs...)
				w.finish(runs[0], jobs.Outcome{Verdict: jobs.Succeeded})
			}
		}
		for n, run := range w.wantStates(springtide.RunSucceeded, springtide.RunSucceeded, springtide.RunSucceeded) {
			if want := epoch.Add(time.Duration(n+1) * time.Minute); !run.Slot.Equal(want) || !run.StartBy.Equal(want.Add(time.Minute)) || run.Command != "tidy" || run.Key != "" {
				t.Errorf("slot %d is %+v", n, run)
			}
		}
	})
}

func TestASlotWhoseNumberIsAnothersIsNotLost(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{})
		other := w.again()
		far := w.identity.take(moment{calendar: epoch.Add(time.Hour).UnixMicro()}, 1)
		w.enqueue(springtide.Job{}) // its number is the next one
		other.identity.last = far
		w.step(time.Minute)
		_, err := other.Tick(context.Background())
		w.must(err)
		if n := len(w.slots()); n != 1 {
			t.Errorf("%d slots were recorded, want 1", n)
		}
	})
}

func TestAClockThatGoesBackRepeatsNoSlot(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapAllow})
		w.pass(2 * time.Minute)
		w.step(-90 * time.Second)
		w.pass(90 * time.Second)
		if n := len(w.slots()); n != 2 {
			t.Errorf("%d slots, want 2", n)
		}
		w.pass(time.Minute)
		if n := len(w.slots()); n != 3 {
			t.Errorf("then %d slots, want 3", n)
		}
	})
}

func TestWhatBecomesOfMissedSlots(t *testing.T) {
	const missed, available, waiting = springtide.RunMissed, springtide.RunAvailable, springtide.RunWaiting
	for name, test := range map[string]struct {
		policy springtide.Missed
		away   time.Duration
		want   []springtide.RunState
	}{
		"skip within the deadline":    {springtide.MissedSkip, 3*time.Minute + 10*time.Second, []springtide.RunState{missed, missed, available}},
		"skip beyond the deadline":    {springtide.MissedSkip, 3*time.Minute + 50*time.Second, []springtide.RunState{missed, missed, missed}},
		"latest, however late":        {springtide.MissedLatest, 3*time.Minute + 50*time.Second, []springtide.RunState{missed, missed, available}},
		"all, one after the other":    {springtide.MissedAll, 3*time.Minute + 50*time.Second, []springtide.RunState{available, waiting, waiting}},
		"one that was just not there": {springtide.MissedSkip, time.Minute + 10*time.Second, []springtide.RunState{available}},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				w.schedule(springtide.Schedule{Missed: test.policy, Deadline: 30 * time.Second})
				ticked := w.outage(test.away)
				slots := w.wantStates(test.want...)
				told := 0
				for i, run := range slots {
					if run.State == missed {
						told++
						if run.Reason == "" || run.Finished.IsZero() {
							t.Errorf("slot %d: %+v", i, run)
						}
					}
				}
				var got int
				for _, kind := range kinds(ticked.Happened) {
					if kind == "slot.missed" {
						got++
					}
				}
				if got != told {
					t.Errorf("%d of %d missed slots were told of", got, told)
				}
			})
		})
	}
}

func TestALongOutageIsCaughtUpWithInManyTransactions(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Missed: springtide.MissedLatest})
		w.outage(2*slotsAtOnce*time.Minute + 30*time.Second)
		w.tick()
		q := w.queue(springtide.DefaultQueue)
		if q.States[springtide.RunMissed] != 2*slotsAtOnce-1 || q.States[springtide.RunAvailable] != 1 {
			t.Errorf("%v", q.States)
		}
	})
}

func TestWhatBecomesOfASlotThatOverlaps(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapSkip})
		w.pass(time.Minute)
		first := w.claimOne()
		w.start(first)
		keep := func(long time.Duration) (all jobs.Ticked) {
			for ; long > 0; long -= jobs.BeatEvery {
				all.Happened = append(all.Happened, w.pass(jobs.BeatEvery).Happened...)
				w.beat(first)
			}
			return all
		}
		w.wantHappened(keep(time.Minute), "slot.skipped")
		w.wantStates(springtide.RunRunning, springtide.RunSkipped)

		w.schedule(springtide.Schedule{Overlap: springtide.OverlapQueue})
		keep(2 * time.Minute)
		w.wantStates(springtide.RunRunning, springtide.RunSkipped, springtide.RunWaiting, springtide.RunWaiting)
		w.finish(first, jobs.Outcome{Verdict: jobs.Succeeded})
		w.wantStates(springtide.RunSucceeded, springtide.RunSkipped, springtide.RunAvailable, springtide.RunWaiting)

		first = w.claimOne()
		w.start(first)
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapReplace})
		keep(time.Minute)
		w.wantStates(springtide.RunSucceeded, springtide.RunSkipped, springtide.RunRunning, springtide.RunCancelled, springtide.RunWaiting)
		if !w.beat(first).Cancel {
			t.Error("the one that runs is not asked to end")
		}
		w.finish(first, jobs.Outcome{Verdict: jobs.Failed})
		w.wantStates(springtide.RunSucceeded, springtide.RunSkipped, springtide.RunCancelled, springtide.RunCancelled, springtide.RunAvailable)

		w.schedule(springtide.Schedule{Overlap: springtide.OverlapAllow})
		w.pass(time.Minute)
		if got := states(w.slots())[4:]; !slices.Equal(got, []springtide.RunState{springtide.RunAvailable, springtide.RunAvailable}) {
			t.Errorf("in the end %v", got)
		}
	})
}

func TestManySlotsAtOnceReplaceEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapReplace})
		w.step(time.Second)
		// Nobody was away: the slots were seen, but late.
		w.must(w.write(t.Context(), func(tx *transaction) error {
			_, err := tx.exec("UPDATE clock SET away = 0, last_seen = last_seen + 180000000, calendar = calendar + 180000000")
			return err
		}))
		w.tick()
		w.wantStates(springtide.RunCancelled, springtide.RunCancelled, springtide.RunAvailable)
	})
}

func TestASlotThatDoesNotStartByItsDeadlineIsLateOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Deadline: 20 * time.Second, Missed: springtide.MissedLatest, Overlap: springtide.OverlapAllow})
		w.wantHappened(w.pass(time.Minute + 20*time.Second))
		w.wantHappened(w.pass(5*time.Second), "slot.late")
		if slot := w.slots()[0]; !slot.Late || slot.State != springtide.RunAvailable {
			t.Errorf("it is %+v", slot)
		}
		w.wantHappened(w.pass(30 * time.Second))

		w.schedule(springtide.Schedule{Deadline: 20 * time.Second, Missed: springtide.MissedSkip, Overlap: springtide.OverlapAllow})
		w.wantHappened(w.pass(30*time.Second), "slot.missed")
		if slot := w.slots()[1]; !slot.Late || slot.State != springtide.RunMissed || slot.Reason == "" {
			t.Errorf("the next is %+v", slot)
		}
		// What starts in time and fails is tried again, whenever that is.
		w.pass(40 * time.Second)
		runs := w.claim(10)
		w.start(runs...)
		w.finish(runs[len(runs)-1], jobs.Outcome{Verdict: jobs.Failed, RetryAfter: time.Hour})
		w.pass(40 * time.Second)
		if slot := w.slots()[2]; slot.State != springtide.RunScheduled || slot.Late {
			t.Errorf("the third is %+v", slot)
		}
	})
}

func TestStoppedAndPausedSlotsAreVisiblySkipped(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapAllow})
		w.step(time.Minute + 10*time.Second) // nobody ticked: this slot is recorded before the stop
		w.must(w.SetStopped(t.Context(), quiz, true))
		w.pass(time.Minute)
		w.must(w.SetStopped(t.Context(), quiz, false))
		w.must(w.PauseSchedule(t.Context(), quiz, "tidy", true))
		w.must(w.PauseSchedule(t.Context(), quiz, "tidy", true))
		w.pass(time.Minute)
		w.must(w.PauseSchedule(t.Context(), quiz, "tidy", false))
		w.pass(time.Minute)
		slots := w.wantStates(springtide.RunAvailable, springtide.RunSkipped, springtide.RunSkipped, springtide.RunAvailable)
		if !strings.Contains(slots[1].Reason, "stopped") || !strings.Contains(slots[2].Reason, "paused") {
			t.Errorf("because %q and %q", slots[1].Reason, slots[2].Reason)
		}
		wantKind(t, w.PauseSchedule(t.Context(), quiz, "other", true), springtide.NotFound)
		wantKind(t, w.PauseQueue(t.Context(), quiz, "other", true), springtide.NotFound)
	})
}

func TestDeploysLoseNoSlotAndRepeatNone(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		minutely := springtide.Schedule{Overlap: springtide.OverlapAllow}
		w.schedule(minutely)
		for n := range 10 {
			w.step(37 * time.Second)
			switch n % 3 {
			case 0:
				w.schedule(minutely)
			case 1:
				w.set(springtide.Jobs{}) // it is gone, and what was due before is recorded
			case 2:
				w.schedule(springtide.Schedule{Cron: "*/1 * * * *", Overlap: springtide.OverlapAllow})
			}
			w.tick()
		}
		seen := map[time.Time]bool{}
		for _, run := range w.slots() {
			if seen[run.Slot] {
				t.Errorf("slot %s is there twice", run.Slot)
			}
			seen[run.Slot] = true
		}
		if len(seen) < 4 {
			t.Errorf("only %d slots", len(seen))
		}
		schedules, err := w.Schedules(t.Context(), quiz)
		w.must(err)
		if len(schedules) != 1 || schedules[0].Next.IsZero() || schedules[0].LastRun == "" || schedules[0].LastState == "" || schedules[0].Last.IsZero() {
			t.Errorf("schedules: %+v", schedules)
		}
	})
}

func TestAScheduleWhoseTimesStayKeepsItsNextSlot(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Cron: "0 * * * *", Overlap: springtide.OverlapAllow})
		w.step(time.Hour) // the slot is due, and nobody has ticked since
		w.schedule(springtide.Schedule{Cron: "0 * * * *", Overlap: springtide.OverlapAllow, Deadline: time.Minute})
		if n := len(w.slots()); n != 1 {
			t.Errorf("%d slots, want the one of the old release", n)
		}
	})
}

func TestJitterPutsOffTheSameSlotAlwaysAlike(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Cron: "0 * * * *", Jitter: 30 * time.Minute, Deadline: time.Minute, Overlap: springtide.OverlapAllow})
		w.outage(time.Hour)
		slot := w.slots()[0]
		if by := slot.RunAt.Sub(slot.Slot); by <= 0 || by >= 30*time.Minute || slot.State != springtide.RunScheduled || !slot.StartBy.Equal(slot.RunAt.Add(time.Minute)) {
			t.Errorf("put off by %s: %+v", by, slot)
		}
		w.outage(30 * time.Minute)
		w.want(slot.ID, springtide.RunAvailable)
		s := schedule{scheduleKey: scheduleKey{1, "tidy"}, id: quiz, spec: springtide.Schedule{Jitter: 30 * time.Minute}}
		if jitter(s, micros(slot.Slot)) != slot.RunAt.Sub(slot.Slot).Microseconds() {
			t.Error("another time it is put off by something else")
		}
	})
}

func TestATriggeredRunIsBesidesTheSlots(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Cron: "0 0 1 1 *", Job: springtide.Job{Command: "tidy"}})
		id, err := w.Trigger(t.Context(), quiz, "tidy")
		w.must(err)
		if run := w.claimOne(); run.ID != id || !run.Slot.IsZero() || run.Schedule != "tidy" || run.Command != "tidy" {
			t.Errorf("triggered %+v", run)
		}
		_, err = w.Trigger(t.Context(), quiz, "other")
		wantKind(t, err, springtide.NotFound)
	})
}

func TestAScheduleThatMakesNoSenseIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for _, spec := range []springtide.Schedule{
			{Cron: "hello"},
			{Cron: "* * * * *", Timezone: "Atlantis/Capital"},
			{Cron: "* * * * *", Job: springtide.Job{Kind: "dance"}},
		} {
			err := w.SetJobs(t.Context(), quiz, 1, springtide.Jobs{Schedules: map[springtide.ScheduleName]springtide.Schedule{"tidy": spec}})
			if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "tidy") {
				t.Errorf("%+v: %v", spec, err)
			}
		}
	})
}

func TestASlotIsTheSameWhoeverRecordsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.schedule(springtide.Schedule{Overlap: springtide.OverlapAllow})
		w.pass(time.Minute)
		// As if the schedule's row had been brought back from a backup.
		w.must(w.write(t.Context(), func(tx *transaction) error {
			_, err := tx.exec("UPDATE schedules SET next_slot = last_slot, last_slot = 0")
			return err
		}))
		w.pass(time.Second)
		w.wantStates(springtide.RunAvailable)
	})
}
