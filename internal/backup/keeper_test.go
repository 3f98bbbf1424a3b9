package backup

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestAServiceComesBackBesideTheOneThatIsThere(t *testing.T) {
	forEachTarget(t, func(t *testing.T, target Target) {
		w := newWorld(t, func(o *Options) { o.Target = target })
		w.back("r1")
		w.write(2)
		w.finish()
		w.Ship(t.Context())
		w.write(1) // not shipped when everything is lost
		rows, restored, err := w.restore(RestoreRequest{})
		if err != nil || rows != 5 {
			t.Errorf("restored %d rows: %v", rows, err)
		}
		if want := []RowDifference{{"log", 6, 5}}; !slices.Equal(restored.Differences, want) || restored.Service.Name == fakeID.Name {
			t.Errorf("restored %+v", restored)
		}
		if rows, err := readRows(w.server); rows != 6 || err != nil {
			t.Errorf("the service in use has %d rows: %v", rows, err)
		}
	})
}

func TestAServiceGoesBackToAnyMoment(t *testing.T) {
	w := newWorld(t, nil)
	w.back("r1")
	var moments []time.Time
	for range 5 {
		moments = append(moments, w.write(1))
		w.finish()
		w.Ship(t.Context())
	}
	w.back("r2")
	moments = append(moments, w.write(1))
	for i, moment := range moments {
		w.expectRows(RestoreRequest{To: moment.Add(time.Nanosecond)}, 4+i)
	}
	w.expectRows(RestoreRequest{To: time.Now()}, 9) // the newest change was shipped for it
	w.expectRows(RestoreRequest{}, 9)
	all, _ := w.List(t.Context(), w.of)
	for want, m := range map[int]Manifest{3: all[0], 8: all[2]} {
		if m.Kind != KindWhole || m.Rows["log"] != int64(want) {
			t.Errorf("listed %+v", m)
		}
	}
	w.expectRows(RestoreRequest{Backup: all[0].ID, To: moments[1].Add(time.Nanosecond)}, 5)
	w.expectRows(RestoreRequest{Backup: all[0].ID}, 3) // as it was made
	for _, request := range []RestoreRequest{
		{To: all[0].Begun.Add(-time.Hour)}, {To: time.Now().Add(time.Hour)}, {Backup: "none"}, {Backup: all[2].ID, To: moments[0]},
	} {
		if rows, _, err := w.restore(request); err == nil || !slices.Contains([]springtide.ErrorKind{springtide.Invalid, springtide.NotFound}, springtide.KindOf(err)) {
			t.Errorf("%+v gives %d rows, %v", request, rows, err)
		}
	}
}

func TestWithoutChangesOnlyBackupsCanBeGoneBackTo(t *testing.T) {
	w := newWorld(t, nil)
	w.plans[w.of] = springtide.Backup{Daily: "04:30"}
	w.back("r1")
	at := w.write(1)
	w.back("r2")
	w.expectRows(RestoreRequest{}, 4)
	if _, _, err := w.restore(RestoreRequest{To: at}); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("restored: %v", err)
	}
	if _, err := os.Stat(filepath.Join(w.server.Folder, "changes")); err == nil {
		t.Error("changes are kept that nobody wants")
	}
}

func TestAnAttemptGoesOnWhereTheOneBeforeWasKilled(t *testing.T) {
	w := newWorld(t, nil)
	w.driver.dump = func() error { return errors.New("a table is broken") }
	outcome := w.Execute(t.Context(), w.run("r1"))
	if outcome.Verdict != jobs.Failed || !strings.Contains(outcome.Reason, "a table is broken") || outcome.Final {
		t.Errorf("the first attempt: %+v", outcome)
	}
	if w.happenedTo("backup.failed") != 1 {
		t.Errorf("it was told: %+v", w.events)
	}
	w.expectRows(RestoreRequest{}, 3) // the whole is good without its dump
	w.driver.dump = nil
	w.driver.backup = func(context.Context) error { return errors.New("it was made already") }
	w.back("r1")
	if all, err := w.List(t.Context(), w.of); err != nil || len(all) != 2 {
		t.Errorf("there is %+v, %v", all, err)
	}
}

func TestTwoAttemptsOfARunDoNotDisturbEachOther(t *testing.T) {
	w := newWorld(t, nil)
	both := make(chan struct{}, 2)
	meet := func(context.Context) error {
		both <- struct{}{}
		for len(both) < 2 {
			time.Sleep(time.Millisecond)
		}
		return nil
	}
	w.driver.backup = meet
	done := make(chan jobs.Outcome)
	for i := range 2 {
		run := w.run("r1")
		run.Fence += springtide.Fence(i)
		go func() { done <- w.Execute(t.Context(), run) }()
	}
	for range 2 {
		if outcome := <-done; outcome.Verdict != jobs.Succeeded {
			t.Errorf("%+v", outcome)
		}
	}
	checked, err := w.Verify(t.Context(), w.of)
	if err != nil || len(checked.Problems) > 0 || checked.Backups < 3 {
		t.Errorf("verified %+v, %v", checked, err)
	}
	w.expectRows(RestoreRequest{}, 3)
}

func TestAnAttemptThatIsEndedLeavesNoBackup(t *testing.T) {
	w := newWorld(t, nil)
	ctx, end := context.WithCancelCause(t.Context())
	w.driver.backup = func(ctx context.Context) error {
		end(errors.New("its lease was lost"))
		<-ctx.Done()
		return ctx.Err()
	}
	if outcome := w.Execute(ctx, w.run("r1")); outcome.Verdict == jobs.Succeeded || outcome.Reason != "its lease was lost" {
		t.Errorf("%+v", outcome)
	}
	if all, err := w.List(t.Context(), w.of); err != nil || len(all) > 0 {
		t.Errorf("there is %+v, %v", all, err)
	}
	if w.happenedTo("backup.failed") != 0 {
		t.Error("who was ended has not failed")
	}
}

func TestChangesWaitWhileTheTargetIsAway(t *testing.T) {
	away := &lyingTarget{}
	w := newWorld(t, func(o *Options) { away.Target = o.Target; o.Target = away })
	w.back("r1")
	away.set(func(l *lyingTarget) { l.away = true })
	w.write(2)
	w.finish()
	w.Ship(t.Context())
	if s := w.Standings()[0]; s.Waiting == 0 {
		t.Errorf("it stands %+v", s)
	}
	if outcome := w.Execute(t.Context(), w.run("r2")); outcome.Verdict == jobs.Succeeded || outcome.Final {
		t.Errorf("a backup meanwhile: %+v", outcome)
	}
	away.set(func(l *lyingTarget) { l.away = false })
	w.Ship(t.Context())
	if s := w.Standings()[0]; s.Waiting != 0 || s.Restorable.Before(time.Now().Add(-time.Minute)) {
		t.Errorf("it stands %+v", s)
	}
	w.expectRows(RestoreRequest{}, 5)
	if left, _ := os.ReadDir(filepath.Join(w.server.Folder, "changes")); len(left) > 0 {
		t.Errorf("left here: %v", left)
	}
}

func TestChangesThatWaitTooLongAreGivenUpForTheNextBackup(t *testing.T) {
	away := &lyingTarget{}
	w := newWorld(t, func(o *Options) { away.Target = o.Target; o.Target = away; o.Waiting = 100 })
	w.back("r1")
	w.Ship(t.Context())
	if w.wanted != 0 {
		t.Error("a backup was asked for though there is one")
	}
	away.set(func(l *lyingTarget) { l.away = true })
	w.write(10)
	w.finish()
	w.Ship(t.Context())
	if w.happenedTo("backup.changes_lost") != 1 {
		t.Errorf("it was told: %+v", w.events)
	}
	away.set(func(l *lyingTarget) { l.away = false })
	w.write(1)
	w.finish()
	w.Ship(t.Context())
	if w.wanted != 1 {
		t.Errorf("a backup was asked for %d times", w.wanted)
	}
	w.expectRows(RestoreRequest{}, 3) // not with a gap
	w.back("r2")
	w.write(1)
	w.finish()
	w.Ship(t.Context())
	w.expectRows(RestoreRequest{}, 15)
}

func TestBackupsAreKeptFromTheNewestOn(t *testing.T) {
	day, now := 24*time.Hour, time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)
	of := func(kind Kind, ages ...int) (all []Manifest) {
		for _, age := range ages {
			all = append(all, Manifest{Kind: kind, Finished: now.Add(-time.Duration(age) * day)})
		}
		return all
	}
	for _, one := range []struct {
		all  []Manifest
		want int
	}{
		{nil, 0},
		{of(KindWhole, 400), 0}, // backups stopped long ago: the last good one stays
		{of(KindWhole, 401, 400, 395), 0},
		{of(KindWhole, 12, 11, 10, 9, 1, 0), 2},
		{append(of(KindWhole, 30), of(KindDump, 12, 0)...), 1}, // each kind by its own newest
	} {
		if old := expired(one.all, 10*day); len(old) != one.want {
			t.Errorf("of %+v %d go", one.all, len(old))
		}
	}
}

func TestWhatABackupNeedsStaysAsLongAsIt(t *testing.T) {
	w := newWorld(t, nil)
	for _, run := range []springtide.RunID{"r1", "r2", "r3"} {
		w.back(run)
		w.write(1)
		w.finish()
		w.Ship(t.Context())
	}
	segments := func() int { return len(names(t, w.target, w.vault.folder(w.of)+"/changes/")) }
	if segments() != 3 {
		t.Fatalf("there are %d segments", segments())
	}
	left := w.vault.objectName(w.of, newID(time.Now().Add(-72*time.Hour)), "whole") // by an attempt that was killed
	put(t, w.target, left, "half")
	put(t, w.target, w.vault.changesFolder(w.of, "other")+segment{1, time.Now(), "1", ""}.String(), "of a server that is gone")
	w.plans[w.of] = springtide.Backup{Keep: time.Nanosecond, PointInTime: true}
	w.back("r4")
	all, err := w.List(t.Context(), w.of)
	if err != nil || len(all) != 2 || all[0].Run != "r4" {
		t.Errorf("there is %+v, %v", all, err)
	}
	if slices.Contains(names(t, w.target, ""), left) || segments() != 0 {
		t.Errorf("left behind: %q", names(t, w.target, ""))
	}
	w.write(1)
	w.finish()
	w.Ship(t.Context())
	w.expectRows(RestoreRequest{}, 7)
}

func TestALateBackupIsToldOnceADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.Watch(t.Context())
		time.Sleep(20 * time.Hour)
		w.Watch(t.Context())
		if w.happenedTo("backup.late") != 0 || w.Standings()[0].Late {
			t.Error("it is late before its time")
		}
		for range 10 {
			time.Sleep(time.Hour)
			w.Watch(t.Context())
		}
		if w.happenedTo("backup.late") != 1 || !w.Standings()[0].Late {
			t.Errorf("it was told: %+v", w.events)
		}
		time.Sleep(24 * time.Hour)
		w.Watch(t.Context())
		if w.happenedTo("backup.late") != 2 {
			t.Errorf("it was told: %+v", w.events)
		}
		w.made(Manifest{Subject: w.of, Kind: KindWhole, Begun: time.Now(), Finished: time.Now()})
		w.Watch(t.Context())
		if w.Standings()[0].Late {
			t.Error("it is late with a new backup")
		}
	})
}

func TestADailyScheduleRunsAtItsTime(t *testing.T) {
	schedule, err := Schedule(springtide.Backup{Daily: "04:05"}, SubjectOf(fakeID))
	if err != nil || schedule.Cron != "5 4 * * *" || schedule.Missed != springtide.MissedLatest || string(schedule.Job.Payload) != `{"of":"db"}` {
		t.Errorf("%+v, %v", schedule, err)
	}
	for _, daily := range []string{"", "25:00", "4:3:2", "noon"} {
		if _, err := Schedule(springtide.Backup{Daily: daily}, SubjectOf(fakeID)); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%q: %v", daily, err)
		}
	}
}
