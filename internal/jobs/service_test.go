package jobs_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// picky is an executor that takes no payload but 1.
type picky struct{ executorFunc }

func (picky) Validate(payload json.RawMessage) error {
	if string(payload) != "1" {
		return springtide.Errorf(springtide.Invalid, "the payload is not 1")
	}
	return nil
}

func TestAJobThatNobodyWouldCarryOutIsRefused(t *testing.T) {
	b := newBook()
	s := start(t, b, func(o *jobs.Options) {
		o.Served = func(id springtide.EnvironmentID) (map[springtide.QueueName]time.Duration, bool) {
			return map[springtide.EnvironmentID]map[springtide.QueueName]time.Duration{quiz: {"slow": time.Hour, "default": 0}}[id], true
		}
		o.Executors = map[springtide.RunKind]jobs.Executor{springtide.RunHTTP: picky{until}}
	})
	enqueue(t, s, springtide.Job{}, springtide.Job{Queue: "slow"}, springtide.Job{Queue: "any", Kind: springtide.RunHTTP, Payload: []byte("1")})
	if run := b.runs["run1"]; run.Queue != "default" || run.Kind != springtide.RunCommand {
		t.Error(run)
	}
	_, err := s.Enqueue(t.Context(), quiz, []springtide.Job{{}, {Queue: "fast"}}, nil)
	wantKind(t, err, springtide.Invalid, `"fast"`, "default, slow")
	_, err = s.Enqueue(t.Context(), quiz, []springtide.Job{{Queue: "slow", Timeout: 2 * time.Hour}}, nil)
	wantKind(t, err, springtide.Invalid, "2h0m0s", "1h0m0s")
	_, err = s.Enqueue(t.Context(), quiz, []springtide.Job{{}}, &jobs.Batch{Done: &springtide.Job{Queue: "fast"}})
	wantKind(t, err, springtide.Invalid, `"fast"`)
	_, err = s.Enqueue(t.Context(), blog, []springtide.Job{{}}, nil)
	wantKind(t, err, springtide.Invalid, "no worker")
	_, err = s.Enqueue(t.Context(), quiz, []springtide.Job{{Kind: springtide.RunHTTP}}, nil)
	wantKind(t, err, springtide.Invalid, "not 1")
	_, err = s.Enqueue(t.Context(), quiz, []springtide.Job{{Kind: "fax"}}, nil)
	wantKind(t, err, springtide.Invalid, `"fax"`, "command, http")
}

func TestWhoWaitsForARunIsToldWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		hold := leaseMany(t, s, 1)[0]
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		run, err := s.WaitRun(ctx, quiz, hold.Run)
		if err != nil || run.State != springtide.RunClaimed {
			t.Error("whose wait ended is not given the run as it is", run.State, err)
		}
		go func() {
			time.Sleep(100 * time.Millisecond)
			_, _ = complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded})
		}()
		began := time.Now()
		run, err = s.WaitRun(t.Context(), quiz, hold.Run)
		if err != nil || run.State != springtide.RunSucceeded || time.Since(began) != 100*time.Millisecond {
			t.Error(run.State, err, time.Since(began))
		}
		_, err = s.WaitRun(t.Context(), blog, hold.Run)
		wantKind(t, err, springtide.NotFound)
	})
}

func TestALockGoesToThoseWhoWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		take := func(owner string, wait time.Duration) (jobs.Lock, error) {
			return s.TakeLock(t.Context(), quiz, "stock", owner, time.Minute, wait)
		}
		lock, err := take("a", 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = take("z", 0)
		wantKind(t, err, springtide.Conflict)
		began := time.Now()
		_, err = take("z", 10*time.Second)
		wantKind(t, err, springtide.Conflict, "a has the lock")
		if time.Since(began) != 10*time.Second {
			t.Error("it waited", time.Since(began))
		}
		if again, err := take("a", 0); err != nil || again.Owner != "a" {
			t.Error(err)
		}
		var order []string
		var all sync.WaitGroup
		for _, owner := range []string{"b", "c", "d"} {
			all.Go(func() {
				lock, err := take(owner, time.Minute)
				if err != nil {
					t.Error(err)
				}
				order = append(order, owner)
				if err := s.ReleaseLock(t.Context(), quiz, "stock", lock.Fence); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		began = time.Now()
		if err := s.ReleaseLock(t.Context(), quiz, "stock", lock.Fence); err != nil {
			t.Error(err)
		}
		all.Wait()
		if !slices.Equal(order, []string{"b", "c", "d"}) || time.Since(began) > 0 {
			t.Error(order, time.Since(began))
		}
	})
}

func TestALockThatAnotherServerGaveBackIsFoundSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		b.locks["stock"] = "elsewhere"
		began := time.Now()
		time.AfterFunc(time.Second, func() { b.set(func() { delete(b.locks, "stock") }) })
		if _, err := s.TakeLock(t.Context(), quiz, "stock", "a", time.Minute, time.Minute); err != nil || time.Since(began) > 1250*time.Millisecond {
			t.Error(err, time.Since(began))
		}
	})
}

func TestHowTheQueuesStandIsKnownSoonAndCostsLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		var changes atomic.Int32
		s := start(t, b, func(o *jobs.Options) { o.Changed = func() { changes.Add(1) } })
		time.Sleep(time.Minute + 2*time.Second)
		if b.count(&b.looks) > 13 || changes.Load() != 0 {
			t.Errorf("an idle minute took %d looks, %d changes", b.looks, changes.Load())
		}
		b.set(func() {
			b.statuses = []jobs.QueueStatus{{Environment: quiz, Name: "default", States: map[springtide.RunState]int{springtide.RunAvailable: 1}}}
			b.looks = 0
		})
		enqueue(t, s, springtide.Job{})
		synctest.Wait()
		if got := s.Statuses(); len(got) != 1 || changes.Load() != 1 {
			t.Error(got, changes.Load())
		}
		for range 1000 {
			enqueue(t, s, springtide.Job{})
			time.Sleep(time.Millisecond)
		}
		if b.count(&b.looks) > 6 {
			t.Errorf("a busy second took %d looks", b.looks)
		}
	})
}

// timetable is a ledger that has schedules.
type timetable struct {
	jobs.Ledger
	schedules []jobs.ScheduleStatus
}

func (t timetable) Schedules(context.Context, springtide.EnvironmentID) ([]jobs.ScheduleStatus, error) {
	return t.schedules, nil
}

func TestComingSlotsAreThoseOfAllSchedulesInOrder(t *testing.T) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := jobs.New(jobs.Options{
		Ledger: timetable{schedules: []jobs.ScheduleStatus{
			{Name: "hourly", Next: noon, Schedule: springtide.Schedule{Cron: "1h", Timezone: "Europe/Berlin"}},
			{Name: "never"},
			{Name: "often", Next: noon.Add(time.Minute), Schedule: springtide.Schedule{Cron: "25m"}},
			{Name: "paused", Next: noon, Paused: true},
		}},
		Next: func(schedule springtide.Schedule, after time.Time) (time.Time, error) {
			every, err := time.ParseDuration(schedule.Cron)
			return after.Add(every), err
		},
	})
	coming, err := s.Coming(t.Context(), quiz, 5)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, slot := range coming {
		got = append(got, string(slot.Schedule)+" "+slot.Slot.Format("15:04")+" "+slot.Zone)
	}
	want := []string{"hourly 12:00 Europe/Berlin", "often 12:01 UTC", "often 12:26 UTC", "often 12:51 UTC", "hourly 13:00 Europe/Berlin"}
	if !slices.Equal(got, want) {
		t.Error(got)
	}
}
