package build

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// smallDisk mounts a file system with so many MiB.
func smallDisk(t *testing.T, size string) *Builder {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	folder := t.TempDir()
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size="+size+"m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return New(Options{Data: folder, Grace: time.Nanosecond})
}

func checkFull(t *testing.T, b *Builder, failure *springtide.Error) {
	t.Helper()
	if failure.Kind != springtide.Unavailable || !strings.HasPrefix(failure.Message, "no space left in "+b.options.Data+": ") {
		t.Errorf("got %s: %s", failure.Kind, failure)
	}
	checkClean(t, b)
}

func TestABuildIsNotBegunWithoutSpaceForIt(t *testing.T) {
	b := smallDisk(t, "60")
	checkFull(t, b, failedBuild(t.Context(), t, b, app("true"), sourceOf(t, files{"x": "y"})))
	large := smallDisk(t, "100")
	source := sourceOf(t, files{"x": strings.Repeat("x", 20<<20)})
	checkFull(t, large, failedBuild(t.Context(), t, large, app("true"), source))
}

func TestAFullDiskIsToldSoAndLeavesNothing(t *testing.T) {
	b := smallDisk(t, "80")
	first := mustBuild(t, b, app(""), sourceOf(t, files{"x": "y"}))
	t.Run("when the command fills it", func(t *testing.T) {
		failure := failedBuild(t.Context(), t, b, app("head -c 200000000 /dev/zero > large"), sourceOf(t, files{"x": "y"}))
		checkFull(t, b, failure)
		if len(failure.Lines) == 0 {
			t.Error("the command's own message is missing")
		}
	})
	t.Run("when the artifact does not fit", func(t *testing.T) {
		checkFull(t, b, failedBuild(t.Context(), t, b, app("head -c 50000000 /dev/zero > large"), sourceOf(t, files{"x": "y"})))
	})
	t.Run("when a source arrives", func(t *testing.T) {
		folder := b.options.Data + "/upload"
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(folder)
		source := sourceOf(t, files{"x": strings.Repeat("x", 90<<20)})
		failure := packTo(t, source, folder)
		checkFull(t, &Builder{options: Options{Data: folder}}, failure)
	})
	if index := checkLayout(t, b); len(index.Manifests) != 1 {
		t.Errorf("there are %d artifacts, want 1", len(index.Manifests))
	}
	if again := mustBuild(t, b, app(""), sourceOf(t, files{"x": "y"})); again.Digest != first.Digest || !again.Reused {
		t.Errorf("got %+v", again)
	}
}

func TestAFullDiskCanBeCollected(t *testing.T) {
	b := smallDisk(t, "80")
	mustBuild(t, b, app("head -c 3000000 /dev/urandom > data"), sourceOf(t, files{"x": "y"}))
	ballast, err := os.Create(b.options.Data + "/ballast")
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = ballast.Write(block)
	}
	ballast.Close()
	var removed int
	for range 2 { // The first may only make room for the second.
		n, _, _ := b.Collect(t.Context(), nil)
		removed += n
	}
	if left, err := free(b.options.Data); removed != 1 || err != nil || left < 6_000_000 {
		t.Errorf("%d artifacts were removed, %d bytes are free (%v)", removed, left, err)
	}
	checkLayout(t, b)
}
