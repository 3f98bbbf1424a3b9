package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// helperWork tells the test binary what to do as a process that is killed: the
// work, the depot's folder, and before which change of the target it dies.
const helperWork = "TEST_BACKUP_HELPER"

type helper struct {
	Work   string `json:"work"`
	Folder string `json:"folder"`
	Step   int    `json:"step"`
}

// mortal is a target whose user is killed before, or after, one of its changes.
type mortal struct {
	Target
	left int
}

func (m *mortal) step() {
	if m.left--; m.left == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // it takes a moment
	}
}

func (m *mortal) Put(ctx context.Context, name string, from io.Reader) error {
	m.step()
	err := m.Target.Put(ctx, name, from)
	m.step()
	return err
}

func (m *mortal) Delete(ctx context.Context, name string) error {
	m.step()
	err := m.Target.Delete(ctx, name)
	m.step()
	return err
}

// Get is a step of a restore.
func (m *mortal) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if os.Getenv("TEST_BACKUP_READS") != "" {
		m.step()
	}
	return m.Target.Get(ctx, name)
}

// TestHelperProcess is no test: others run it to have it killed.
func TestHelperProcess(t *testing.T) {
	var h helper
	if json.Unmarshal([]byte(os.Getenv(helperWork)), &h) != nil {
		t.Skip("it is run by other tests")
	}
	d := depotAt(t, h.Folder)
	wrap := func(target Target) Target { return &mortal{target, h.Step} }
	switch h.Work {
	case "files":
		if outcome := d.runAs(d.keeperAt("file://"+d.at("target"), wrap), springtide.RunBackup, uploads, "one-run"); outcome.Verdict != jobs.Succeeded {
			t.Fatal(outcome.Reason)
		}
	case "platform":
		_, closeAll := d.openPlatform()
		defer closeAll()
		if _, err := d.keeperAt("file://"+d.at("target"), wrap).BackupPlatform(t.Context()); err != nil {
			t.Fatal(err)
		}
	case "restore":
		_, err := d.comeBack(d.at("new"), d.read(d.at("recovery-key")), func(r *PlatformRestore) { r.Target = wrap(r.Target) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// helperCommand is a process that does the work.
func (d *depot) helperCommand(h helper, env ...string) *exec.Cmd {
	d.t.Helper()
	h.Folder = d.folder
	text, err := json.Marshal(h)
	if err != nil {
		d.t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$", "-test.count=1")
	command.Env = append(append(os.Environ(), helperWork+"="+string(text)), env...)
	return command
}

// killedEverywhere does the work again and again, killed at one step later each
// time, until it comes to its end.
func (d *depot) killedEverywhere(work string, between func(step int), env ...string) {
	d.t.Helper()
	for step := 1; ; step++ {
		if !d.killedAt(work, step, env...) {
			d.t.Logf("%s: killed at %d steps", work, step-1)
			return
		}
		if between != nil {
			between(step)
		}
	}
}

// killedAt reports whether the work was killed, and did not come to its end.
func (d *depot) killedAt(work string, step int, env ...string) bool {
	d.t.Helper()
	output, err := d.helperCommand(helper{Work: work, Step: step}, env...).CombinedOutput()
	if err == nil {
		return false
	}
	exit, is := errors.AsType[*exec.ExitError](err)
	if !is || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		d.t.Fatalf("step %d: %v\n%s", step, err, output)
	}
	return true
}

func TestThePlatformsStateIsWholeWhereverItsBackupIsKilled(t *testing.T) {
	d := newDepot(t)
	key := d.withPlatform()
	d.setSecret()
	_, closeAll := d.openPlatform()
	closeAll()
	d.killedEverywhere("platform", nil)
	if _, err := d.comeBack(d.at("new"), key, nil); err != nil {
		t.Fatal(err)
	}
	d.checkPlatform(d.at("new"))
}

func TestAPlatformIsBroughtBackWhereverThatIsKilled(t *testing.T) {
	d := newDepot(t)
	d.withPlatform()
	d.setSecret()
	_, closeAll := d.openPlatform()
	if _, err := d.keeper().BackupPlatform(t.Context()); err != nil {
		t.Fatal(err)
	}
	closeAll()
	d.killedEverywhere("restore", func(step int) {
		if _, err := os.Lstat(d.at("new", "tide.db")); err == nil && !Restoring(d.at("new")) {
			t.Errorf("after step %d it can be started, and is not whole", step)
		}
	}, "TEST_BACKUP_READS=1")
	d.checkPlatform(d.at("new"))
}

func TestABackupOfSharedFilesIsMadeOnceWhereverItIsKilled(t *testing.T) {
	d := newDepot(t)
	// Before and after the password is put, and then the manifest.
	for _, step := range []int{1, 2, 1, 2} {
		if !d.killedAt("files", step) {
			t.Error("it came to its end")
		}
	}
	if d.killedAt("files", 0) {
		t.Error("it was killed")
	}
	k := d.keeper()
	if all := d.backups(k); len(all) != 1 {
		t.Errorf("there are %d backups", len(all))
	}
	d.checkRestores(k)
}

// checkRestores looks whether the newest backup has what is in use.
func (d *depot) checkRestores(k *Keeper) {
	d.t.Helper()
	all := d.backups(k)
	restored, err := k.files.restore(d.t.Context(), all[len(all)-1], quiet)
	if err != nil {
		d.t.Fatal(err)
	}
	if is := restored.Difference; is.Changed+is.New+is.Missing > 0 {
		d.t.Errorf("it is not what is in use: %+v", is)
	}
	if err := k.files.discard(uploads, restored.Backup); err != nil {
		d.t.Fatal(err)
	}
}

func TestResticGoesOnWhereItWasKilled(t *testing.T) {
	// The dead restic stays this process's child, and nobody waits for it: there
	// are machines whose first process takes its time.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	d := newDepot(t)
	k := d.keeper()
	d.backup(k)
	const files, size = 12, 4 << 20
	for i := range files {
		d.write(fmt.Sprintf("uploads/large-%d", i), size)
	}
	packs := d.at("target", "springtide", "quiz", "production", "files", "repository", "data")
	before := packBytes(t, packs)
	command := d.helperCommand(helper{Work: "files"})
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	// It is as nice as can be: on a busy machine it takes its time.
	for deadline := time.Now().Add(5 * time.Minute); packBytes(t, packs)-before < files*size/3; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = command.Process.Kill()
			_ = command.Wait()
			t.Fatalf("restic sends nothing:\n%s", &output)
		}
	}
	_ = command.Process.Kill()
	_ = command.Wait() // it was killed
	waitGone(t, d.folder)
	m := d.backup(d.keeper())
	added, err := strconv.ParseInt(m.Details[detailAdded], 10, 64)
	if err != nil || added > files*size*9/10 {
		t.Errorf("%d of %d bytes were sent again, %v", added, files*size, err)
	}
	t.Logf("%d MiB of %d MiB were sent after the kill", added>>20, files*size>>20)
	d.checkRestores(d.keeper())
}

// packBytes is how large the packs in a folder are that are there as a whole: a
// pack that restic was killed at has another name, and is of no use.
func packBytes(t *testing.T, folder string) (bytes int64) {
	t.Helper()
	packs, err := filepath.Glob(filepath.Join(folder, "*", strings.Repeat("[0-9a-f]", 64)))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range packs {
		if info, err := os.Stat(path); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// waitGone waits until no restic works for the folder: it dies with its parent.
func waitGone(t *testing.T, folder string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		names, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		alive := false
		for _, name := range names {
			line, err := os.ReadFile(name)
			alive = alive || err == nil && strings.Contains(string(line), "restic") && strings.Contains(string(line), folder)
		}
		switch {
		case !alive:
			return
		case time.Now().After(deadline):
			t.Fatal("restic has outlived the platform")
		}
	}
}
