package runner

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// startApart starts a runner as a process of its own.
func startApart(t *testing.T, f *fake) *exec.Cmd {
	t.Helper()
	return startCommand(t, f, os.Args[0])
}

func startCommand(t *testing.T, f *fake, words ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), runnerVariable+"="+initProgram, "TIDE_API="+f.URL+"/env", "TIDE_TOKEN="+testToken,
		"TIDE_SLOTS=4", "TIDE_QUEUES=default", "TIDE_RUNNER_GRACE=500ms", "TMPDIR="+t.TempDir(), "GORACE=atexit_sleep_ms=0")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it may have been waited for
	})
	return cmd
}

// clingy leaves processes in every way there is: in the background, in sessions
// of their own, orphaned, without an environment.
const clingy = `trap '' TERM INT HUP; test $ATTEMPT -gt 1 && exit 0; echo up
	sleep 98761.1 &
	setsid sleep 98761.2 &
	(setsid env -i sh -c 'trap "" TERM; (setsid sleep 98761.3 &) ; sleep 98761.4 & wait' &)
	(setsid sh -c 'while :; do (setsid sleep 0.05 &); sleep 0.01; done' &)
	while :; do sleep 0.05; done`

// left are what clingy's processes bear.
func left(run *fakeRun) []string {
	return []string{mark(run), "98761.1", "98761.2", "98761.3", "98761.4"}
}

// awaitClingy waits until all of them are there.
func awaitClingy(t *testing.T, f *fake, run *fakeRun) {
	t.Helper()
	f.await("its begin", func() bool { return len(run.output) > 0 })
	for _, one := range left(run) {
		poll(t, one, func() bool { return len(alive(one)) > 0 })
	}
}

func TestAKilledRunnerLeavesNothingOfItsRuns(t *testing.T) {
	f := newFake(t)
	f.lease = time.Minute // its end is not what ends them
	run := f.enqueue(clingy)
	cmd := startApart(t, f)
	awaitClingy(t, f, run)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitNone(t, promptly, left(run)...)
	// What it still said of itself may come now, and prolong the lease once more.
	f.change(func() { f.lease, run.until = 10*time.Second, time.Now() })
	startApart(t, f)
	if ended := f.end(run); ended.Verdict != jobs.Succeeded || run.Attempt < 2 {
		t.Errorf("%+v", ended)
	}
}

func TestAStoppedRunnerLeavesNothingOfItsRunsWhenTheirLeasesEnd(t *testing.T) {
	f := newFake(t)
	f.lease = 18 * time.Second // killed after twelve
	run := f.enqueue(clingy)
	cmd := startApart(t, f)
	awaitClingy(t, f, run)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var until time.Time
	f.change(func() { until = run.until })
	awaitNone(t, time.Until(until), left(run)...)
	f.await("its return", func() bool { return run.state == springtide.RunAvailable })
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if ended := f.end(run); ended.Verdict != jobs.Succeeded || run.Attempt < 2 || f.stale > 0 {
		t.Errorf("%+v, %d stale", ended, f.stale)
	}
}

func TestAKilledInitLeavesNothingOfItsRun(t *testing.T) {
	f := newFake(t)
	f.lease = time.Minute
	// An orphan of somebody else's is none of the runner's business.
	run, other := f.enqueue(clingy), f.enqueue("echo up; sleep 2; echo done")
	cmd := startApart(t, f)
	awaitClingy(t, f, run)
	f.await("the other", func() bool { return len(other.output) > 0 })
	if err := syscall.Kill(initOf(t, cmd.Process.Pid, run), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitNone(t, promptly, left(run)...)
	if ended := f.end(run); ended.Verdict != jobs.Failed || ended.Reason != "was killed together with its init" {
		t.Errorf("%+v", ended)
	}
	if ended := f.end(other); ended.Verdict != jobs.Succeeded {
		t.Errorf("%+v", ended)
	}
}

func TestAStoppedInitIsKilledByTheRunner(t *testing.T) {
	f := newFake(t)
	run := f.enqueue(clingy)
	cmd := startApart(t, f)
	awaitClingy(t, f, run)
	if err := syscall.Kill(initOf(t, cmd.Process.Pid, run), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f.change(func() { run.Fence += 100 })
	awaitNone(t, promptly, left(run)...)
}

func TestWhatTheRunnerHadBeforeItBecameOneIsLeftAlone(t *testing.T) {
	f := newFake(t)
	f.lease = time.Minute
	run := f.enqueue(clingy)
	helper := "98762." + strconv.Itoa(os.Getpid())
	cmd := startCommand(t, f, "sh", "-c", "sleep "+helper+" & exec "+os.Args[0])
	t.Cleanup(func() {
		for _, one := range alive(helper) {
			pid, _ := strconv.Atoi(strings.TrimPrefix(strings.Fields(one)[0], "/proc/"))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	awaitClingy(t, f, run)
	if err := syscall.Kill(initOf(t, cmd.Process.Pid, run), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	awaitNone(t, promptly, left(run)...)
	if len(alive(helper)) != 1 {
		t.Error("the helper was killed")
	}
}

func TestSIGTERMEndsARunnerThatHasNothingToDo(t *testing.T) {
	f := newFake(t)
	cmd := startApart(t, f)
	run := f.enqueue("echo first")
	f.end(run)
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFoldersOfKilledRunnersAreTakenAway(t *testing.T) {
	parent := t.TempDir()
	old, fresh := filepath.Join(parent, folderPrefix+"old"), filepath.Join(parent, folderPrefix+"fresh")
	used, err := makeFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	for _, name := range []string{old, fresh} {
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-time.Hour)
	for _, name := range []string{old, used.Name()} {
		if err := os.Chtimes(name, past, past); err != nil {
			t.Fatal(err)
		}
	}
	own, err := makeFolder(parent)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	for name, stays := range map[string]bool{old: false, fresh: true, used.Name(): true} {
		if _, err := os.Stat(name); (err == nil) != stays {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// initOf finds the init of a run below a runner.
func initOf(t *testing.T, runner int, run *fakeRun) int {
	t.Helper()
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		line, _ := os.ReadFile(name + "/cmdline")
		stat, _ := os.ReadFile(name + "/stat")
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if string(line) == "tide-init\x00"+string(run.Run)+"\x00" && len(fields) > 1 && fields[1] == strconv.Itoa(runner) {
			pid, _ := strconv.Atoi(filepath.Base(name))
			return pid
		}
	}
	t.Fatal("there is no init")
	return 0
}
