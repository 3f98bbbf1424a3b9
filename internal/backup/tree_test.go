package backup

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

func TestNothingIsWrittenWhereTheDiskIsNotMounted(t *testing.T) {
	folder, records := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	open := func() Target { return openTarget(t, "file://"+folder, TargetOptions{Records: records}) }
	target := open()
	put(t, target, "a", "one")

	away := folder + ".away"
	if err := os.Rename(folder, away); err != nil {
		t.Fatal(err)
	}
	for _, marker := range []string{"no folder", "", "another's"} {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		if marker != "no folder" {
			_ = os.Mkdir(folder, 0o700)
		}
		if marker == "another's" {
			_ = os.WriteFile(filepath.Join(folder, markerName), []byte(marker), 0o600)
		}
		for _, target := range []Target{target, open()} {
			if err := target.Put(t.Context(), "a", strings.NewReader("two")); springtide.KindOf(err) != springtide.Unavailable {
				t.Errorf("put: %v", err)
			}
			if _, err := target.List(t.Context(), ""); springtide.KindOf(err) != springtide.Unavailable {
				t.Errorf("list: %v", err)
			}
		}
		if _, err := os.Stat(filepath.Join(folder, "a")); err == nil {
			t.Error("it was written all the same")
		}
	}
	if err := errors.Join(os.RemoveAll(folder), os.Rename(away, folder)); err != nil {
		t.Fatal(err)
	}
	for _, target := range []Target{target, open()} {
		if got := get(t, target, "a"); got != "one" {
			t.Errorf("got %q", got)
		}
	}
}

func TestAFullDiskIsSaidAndLeavesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a small disk can only be mounted by root")
	}
	folder := t.TempDir()
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no disk can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(folder, unix.MNT_DETACH) })
	target := openTarget(t, "file://"+folder, TargetOptions{})
	put(t, target, "a", "kept")
	err := target.Put(t.Context(), "a", io.LimitReader(rand.Reader, 2<<20))
	if springtide.KindOf(err) != springtide.Unavailable || !strings.Contains(err.Error(), "make room") {
		t.Errorf("put: %v", err)
	}
	if got := get(t, target, "a"); got != "kept" {
		t.Errorf("got %q", got)
	}
	if left, _ := os.ReadDir(folder); len(left) != 2 { // the object and the marker
		t.Errorf("left behind: %v", left)
	}
	if err := unix.Unmount(folder, 0); err != nil {
		t.Fatal(err)
	}
	if err := target.Put(t.Context(), "b", strings.NewReader("x")); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("put once it is unmounted: %v", err)
	}
}

func TestWhatAKilledPutLeftIsTidiedAway(t *testing.T) {
	folder := t.TempDir()
	target := openTarget(t, "file://"+folder, TargetOptions{})
	put(t, target, "a/one", "kept")
	left := filepath.Join(folder, "a", ".two.abcdefgh")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := target.(Tidier).Tidy(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Error("what may be under way was removed")
	}
	if got := names(t, target, ""); len(got) != 1 {
		t.Errorf("listed %q", got)
	}
	if err := target.(Tidier).Tidy(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("it is still there")
	}
	if got := get(t, target, "a/one"); got != "kept" {
		t.Errorf("got %q", got)
	}
}
