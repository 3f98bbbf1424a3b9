package backup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestAnEmptiedFolderIsNoStateToGoBackTo(t *testing.T) {
	d := newDepot(t)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		d.write("uploads/"+name, 10)
	}
	k := d.keeper()
	good := d.backup(k)
	empty := func(folder string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(d.data(folder)), os.Mkdir(d.data(folder), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	empty("media")
	outcome := d.run(k, springtide.RunBackup, uploads)
	if outcome.Verdict == jobs.Succeeded || !strings.Contains(outcome.Reason, "media had 1 files") || !d.happened("backup.emptied") {
		t.Errorf("%+v", outcome)
	}
	if all := d.backups(k); len(all) != 1 || all[0].ID != good.ID {
		t.Errorf("there are %d backups", len(all))
	}
	if err := k.files.accept(uploads); err != nil {
		t.Fatal(err)
	}
	d.backup(k)
	if !d.happened("backup.shrunk") {
		t.Error("nobody was told")
	}
	empty("uploads") // what was accepted was accepted once
	if outcome := d.run(k, springtide.RunBackup, uploads); outcome.Verdict == jobs.Succeeded {
		t.Error("the next empty folder is taken for good")
	}
}

func TestWhatShrinksByMoreThanHalfIsNoticed(t *testing.T) {
	before := Manifest{Rows: map[string]int64{"uploads": 100, "media": 3, "none": 0}, Details: map[string]string{detailBytes: "1000"}}
	for _, c := range []struct {
		uploads, media, bytes int64
		emptied, shrunk       int
	}{
		{100, 3, 1000, 0, 0},
		{50, 3, 500, 0, 0},
		{49, 3, 1000, 0, 1},
		{100, 3, 499, 0, 1},
		{100, 0, 1000, 1, 0},
		{0, 0, 0, 2, 1},
		{1000, 30, 10000, 0, 0},
	} {
		emptied, shrunk := lessThan(before, counted{map[string]int64{"uploads": c.uploads, "media": c.media}, c.bytes})
		if len(emptied) != c.emptied || len(shrunk) != c.shrunk {
			t.Errorf("%+v: emptied %q, shrunk %q", c, emptied, shrunk)
		}
	}
}

func TestATargetThatIsFullReadOnlyOrGoneIsOneClearErrorAndLosesNothing(t *testing.T) {
	d := newDepot(t)
	disk := d.at("target")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	mount := func(flags uintptr, size string) {
		t.Helper()
		if err := unix.Mount("tmpfs", disk, "tmpfs", flags, "size="+size); err != nil {
			t.Skipf("no disk can be mounted: %v", err)
		}
	}
	mount(0, "8m")
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) }) // it may be gone
	k := d.keeper()
	good := d.backup(k)
	refused := func(what, word string) {
		t.Helper()
		d.events = nil
		outcome := d.run(k, springtide.RunBackup, uploads)
		if outcome.Verdict != jobs.Failed || outcome.Final || !strings.Contains(outcome.Reason, word) || !d.happened("backup.failed") {
			t.Errorf("%s: %+v", what, outcome)
		}
	}
	d.write("uploads/large", 12<<20)
	refused("a full target", "is full")
	mount(unix.MS_REMOUNT|unix.MS_RDONLY, "8m")
	refused("a read-only target", "read-only")
	mount(unix.MS_REMOUNT, "64m")
	if all := d.backups(k); len(all) != 1 || all[0].ID != good.ID {
		t.Errorf("there are %d backups", len(all))
	}
	if restored, err := k.files.restore(t.Context(), good, quiet); err != nil || restored.Difference.Same != 3 {
		t.Errorf("the good one: %+v, %v", restored, err)
	}
	d.backup(k) // with room it goes on as if nothing had been
	d.checkRestores(k)
	if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	refused("a target that is gone", "mount its disk")
	if left, err := os.ReadDir(disk); len(left) > 0 || err != nil {
		t.Errorf("where the target was there is %v, %v", left, err)
	}
}

func TestARepositoryThatIsLostIsNotMadeAnew(t *testing.T) {
	d := newDepot(t)
	d.backup(d.keeper())
	if err := os.RemoveAll(d.at("target", "springtide", "quiz", "production", "files", "repository")); err != nil {
		t.Fatal(err)
	}
	outcome := d.run(d.keeper(), springtide.RunBackup, uploads)
	if outcome.Verdict == jobs.Succeeded || !strings.Contains(outcome.Reason, "has lost the repository") {
		t.Errorf("%+v", outcome)
	}
}

func TestAnotherPasswordOnTheTargetIsNotTrusted(t *testing.T) {
	d := newDepot(t)
	d.backup(d.keeper())
	d.put(d.at("own", "quiz", "production", "password"), "ours is another")
	outcome := d.run(d.keeper(), springtide.RunBackup, uploads)
	if outcome.Verdict == jobs.Succeeded || !outcome.Final {
		t.Errorf("%+v", outcome)
	}
}

func TestNoClockHasTheLastGoodBackupRemoved(t *testing.T) {
	now, day := time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC), 24*time.Hour
	backups := func(ages ...time.Duration) (all []Manifest) {
		for _, age := range ages {
			all = append(all, Manifest{ID: newID(now.Add(-age)), Finished: now.Add(-age)})
		}
		return all
	}
	for what, c := range map[string]struct {
		ages []time.Duration
		now  time.Time
		gone int
	}{
		"as it should be":                  {[]time.Duration{14 * day, 12 * day, 9 * day, 2 * day, day, 0}, now, 2},
		"none was made for a year":         {[]time.Duration{14 * day, 12 * day, 9 * day, 2 * day, day, 0}, now.Add(365 * day), 2},
		"the last is of a clock ahead":     {[]time.Duration{3 * day, 2 * day, day, 0, -3650 * day}, now, 0},
		"and the clock is still ahead":     {[]time.Duration{3 * day, 2 * day, day, 0, -3650 * day}, now.Add(3650 * day), 2},
		"the clock has gone back":          {[]time.Duration{3 * day, 2 * day, day, 0, 3650 * day}, now.Add(-3650 * day), 0},
		"few, and all but one of long ago": {[]time.Duration{400 * day, 300 * day, 0}, now, 0},
	} {
		all := backups(c.ages...)
		gone := outdated(all, 10*day, c.now)
		if len(gone) != c.gone || slices.ContainsFunc(gone, func(m Manifest) bool { return m.Finished.Equal(now) }) {
			t.Errorf("%s: %d go", what, len(gone))
		}
	}
}

func TestASnapshotThatHasAManifestIsNeverForgotten(t *testing.T) {
	now := time.Now()
	old, fresh := newID(now.Add(-100*time.Hour)), newID(now)
	all := []resticSnapshot{
		{ID: "kept", Tags: []string{"app:quiz", "backup:" + old}},
		{ID: "left", Tags: []string{"backup:" + newID(now.Add(-99*time.Hour))}},
		{ID: "young", Tags: []string{"backup:" + fresh}},
		{ID: "foreign", Tags: []string{"mine"}},
	}
	if gone := forgettable(all, []string{old}, now); !slices.Equal(gone, []string{"left"}) {
		t.Errorf("%q go", gone)
	}
}

func TestAllIsReadAgainWithinTheDaysAlsoIfSomeAreLeftOut(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)
	var reading Reading
	read := map[int]time.Time{}
	for day := range 60 {
		if day%5 == 3 || day%7 == 2 {
			continue // the machine was off
		}
		at := now.AddDate(0, 0, day)
		for range reading.due(7, at) {
			read[max(reading.Next, 1)] = at
			reading = reading.read(7, at)
		}
		for part := 1; day > 7 && part <= 7; part++ {
			if age := at.Sub(read[part]); age > 7*24*time.Hour {
				t.Errorf("on day %d part %d was read %s ago", day, part, age)
			}
		}
	}
	if reading.Whole.IsZero() {
		t.Error("it never came round")
	}
}

func TestWhatDoesNotFitIsRefusedBeforeItIsBegun(t *testing.T) {
	if err := fits(t.TempDir(), 1<<60); springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "do not fit") {
		t.Error(err)
	}
}

func TestAProofThatIsOldIsToldOnceADay(t *testing.T) {
	d := newDepot(t)
	k := d.keeper()
	k.note(uploads, func(s *Standing) { s.since = time.Now().Add(-proofAge - time.Minute) })
	for range 3 {
		k.WatchProofs(t.Context())
	}
	if len(d.events) != 1 || d.events[0].Kind != "drill.old" {
		t.Errorf("told %+v", d.events)
	}
	proven := time.Now()
	if err := k.keepProof(uploads, Proof{Proven: proven, Took: 41 * time.Second, Lost: 58 * time.Second}); err != nil {
		t.Fatal(err)
	}
	k.note(uploads, func(s *Standing) { s.toldOfProof = time.Time{} })
	k.WatchProofs(t.Context())
	if len(d.events) != 1 {
		t.Errorf("told %+v", d.events)
	}
	if said := k.Statuses()[0].Proof.String(); said != "proven restorable: "+proven.UTC().Format(time.DateOnly)+", took 41s, lost at most 58s" {
		t.Error(said)
	}
}

func TestSharedFilesAreKeptOnOtherHosts(t *testing.T) {
	for what, open := range map[string]func(t *testing.T) (string, TargetOptions){
		"sftp": func(t *testing.T) (string, TargetOptions) {
			server := startSSH(t)
			return server.url(), server.options()
		},
	} {
		t.Run(what, func(t *testing.T) {
			d := newDepot(t)
			url, access := open(t)
			d.access = access
			k := d.keeperAt(url, nil)
			d.backup(k)
			d.checkRestores(k)
			if outcome := d.run(k, springtide.RunDrill, uploads); outcome.Verdict != jobs.Succeeded {
				t.Error(outcome.Reason)
			}
		})
	}
}

func FuzzAnEscapedPathMatchesOnlyItself(f *testing.F) {
	f.Add("/uploads/a*b", "/uploads/axb")
	f.Add(`/up\loads/[a]?`, `/up\loads/ab`)
	f.Fuzz(func(t *testing.T, path, other string) {
		pattern := escapePattern(path)
		if matched, err := filepath.Match(pattern, path); err != nil || !matched {
			t.Errorf("%q does not match %q: %v", pattern, path, err)
		}
		if matched, _ := filepath.Match(pattern, other); matched && other != path {
			t.Errorf("%q matches %q", pattern, other)
		}
	})
}
