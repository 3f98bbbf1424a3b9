package backup

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// watched is a target that does something before the object of a backup is read.
type watched struct {
	Target
	before atomic.Pointer[func()]
}

func (w *watched) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if before := w.before.Load(); before != nil && strings.HasSuffix(name, "/whole") {
		(*before)()
	}
	return w.Target.Get(ctx, name)
}

// smallDisk is one of so many bytes, and occupy leaves so many of them free.
func smallDisk(t *testing.T, size string) (folder string, occupy func(free int64)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	folder = servicetest.Folder(t)
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=711,size="+size); err != nil {
		t.Skipf("no tmpfs can be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
	return folder, func(free int64) {
		t.Helper()
		file, err := os.Create(filepath.Join(folder, "occupied"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var room unix.Statfs_t
		if err := unix.Statfs(folder, &room); err != nil {
			t.Fatal(err)
		}
		if taken := int64(room.Bavail)*room.Bsize - free; taken > 0 {
			if err := syscall.Fallocate(int(file.Fd()), 0, 0, taken); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestARestoreOntoAFullDiskSaysSoAndLeavesNothingHalfDone(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a real server")
	}
	const mebibyte = 1 << 20
	folder, occupy := smallDisk(t, "500m")
	services := newRealServicesIn(t, folder)
	target := &watched{Target: openTarget(t, "file://"+t.TempDir(), TargetOptions{})}
	w := newWorld(t, func(o *Options) {
		o.Services, o.Target, o.Scratch = services, target, filepath.Join(folder, "scratch")
	})
	services.ask(fakeID, "create table questions as select n, repeat(md5(n::text), 30) from generate_series(1, 50000) n")
	w.back("r1")
	there := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(folder, "services", "*", "*", "*"))
		if err != nil || len(found) == 0 {
			t.Fatal(found, err)
		}
		return append(found, w.inScratch(folder)...)
	}
	before := there()
	fails := func(says string, prepare func()) {
		t.Helper()
		prepare()
		_, err := w.Restore(t.Context(), RestoreRequest{From: fakeID, As: "again"})
		if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), says) {
			t.Errorf("restored onto a full disk: %v, want %q", err, says)
		}
		prepare()
		drill := w.run("r2")
		drill.Kind = springtide.RunDrill
		if outcome := w.Execute(t.Context(), drill); outcome.Verdict == jobs.Succeeded || outcome.Final || !strings.Contains(outcome.Reason, says) {
			t.Errorf("drilled on a full disk: %+v", outcome)
		}
		if proof, err := w.Proof(w.of); err != nil || proof.Problem != "" {
			t.Errorf("a full disk is taken for a bad backup: %+v, %v", proof, err)
		}
		if now := there(); !slices.Equal(now, before) {
			t.Errorf("left behind: %v, where there was %v", now, before)
		}
		if count := services.ask(fakeID, "select count(*)::text from questions"); count != "50000" {
			t.Errorf("the service in use has %s questions", count)
		}
	}
	fails("do not fit", func() { occupy(60 * mebibyte) })

	// There is room when it begins, each time.
	everything := int64(1) << 40
	meanwhile := func() { occupy(20 * mebibyte) }
	target.before.Store(&meanwhile)
	fails("is full", func() { occupy(everything) })

	target.before.Store(nil)
	occupy(everything)
	restored, err := w.Restore(t.Context(), RestoreRequest{From: fakeID, As: "again"})
	if err != nil {
		t.Fatal(err)
	}
	if count := services.ask(restored.Service, "select count(*)::text from questions"); count != "50000" {
		t.Errorf("%s questions have come back", count)
	}
}

// inScratch is what drills have left.
func (w *world) inScratch(folder string) []string {
	w.t.Helper()
	found, err := filepath.Glob(filepath.Join(folder, "scratch", "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}
