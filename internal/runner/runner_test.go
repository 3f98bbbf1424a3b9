package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/embedded"
	"github.com/springtide/springtide/internal/jobs"
)

// runnerVariable has the test binary be a runner; it names the init's program.
const runnerVariable = "RUNNERTEST_INIT"

// initProgram is the path of the init.
var initProgram string

func TestMain(m *testing.M) {
	if path := os.Getenv(runnerVariable); path != "" {
		os.Exit(runHere(path))
	}
	folder, err := os.MkdirTemp("", "tide-init")
	if err != nil {
		panic(err)
	}
	initProgram = filepath.Join(folder, "tide-init")
	program, err := embedded.Init()
	if err == nil {
		err = os.WriteFile(initProgram, program, 0o700)
	} else {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", initProgram, "../engine/process/init")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		err = build.Run()
	}
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(folder)
		os.Exit(code)
	}))
}

// runHere is `tide runner`.
func runHere(path string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	options, err := OptionsOf(os.Getenv)
	if err == nil {
		os.Unsetenv(runnerVariable)
		options.Output, options.Log = os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))
		options.Init, err = os.ReadFile(path)
	}
	if err == nil {
		err = Run(ctx, options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return springtide.KindOf(err).ExitCode()
	}
	return 0
}

// buffer is written and read at the same time.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(text)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// here is a runner in this process.
type here struct {
	t      *testing.T
	output buffer
	folder string
	stop   context.CancelFunc
	ended  chan struct{}
	err    error
}

func startHere(t *testing.T, f *fake, change func(*Options)) *here {
	t.Helper()
	program, err := os.ReadFile(initProgram)
	if err != nil {
		t.Fatal(err)
	}
	h := &here{t: t, folder: t.TempDir(), ended: make(chan struct{})}
	options := Options{
		API: f.URL + "/env/", Token: testToken, Slots: 4, Grace: 500 * time.Millisecond, Folder: h.folder,
		Init: program, Output: &h.output, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
	if change != nil {
		change(&options)
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	go func() {
		defer close(h.ended)
		h.err = Run(ctx, options)
	}()
	t.Cleanup(func() {
		if err := h.end(); err != nil && springtide.KindOf(err) != springtide.Unauthorized {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(h.folder, folderPrefix+"*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
	return h
}

// end has the runner end and gives what it returned.
func (h *here) end() error {
	h.stop()
	return h.wait()
}

func (h *here) wait() error {
	select {
	case <-h.ended:
	case <-time.After(2 * time.Minute):
		h.t.Fatal("the runner did not end")
	}
	return h.err
}

// alive lists the processes of a run, by what they bear in their environment
// or, where they have none, in their command line.
func alive(marks ...string) (found []string) {
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		environment, _ := os.ReadFile(name + "/environ")
		line, _ := os.ReadFile(name + "/cmdline")
		for _, mark := range marks {
			if strings.Contains("\x00"+string(environment)+"\x00"+string(line), "\x00"+mark+"\x00") {
				found = append(found, name+" "+strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
	}
	return found
}

// promptly bounds what is done at once, on a machine that has much else to do.
const promptly = time.Minute

func awaitNone(t *testing.T, limit time.Duration, marks ...string) {
	t.Helper()
	// One that executes another program at that moment bears nothing: none is seen twice.
	for deadline, none := time.Now().Add(limit), 0; ; time.Sleep(5 * time.Millisecond) {
		left := alive(marks...)
		if len(left) > 0 {
			none = 0
		} else if none++; none > 1 {
			return
		}
		if len(left) > 0 && time.Now().After(deadline) {
			t.Fatalf("left behind: %q", left)
		}
	}
}

func mark(run *fakeRun) string { return "RUN_ID=" + string(run.Run) }

func TestACommandIsToldOfItsRunAndItsEndIsTold(t *testing.T) {
	f := newFake(t)
	t.Setenv("TIDE_RUNNER_COMMAND", "private")
	t.Setenv("TIDE_SLOTS", "7")
	t.Setenv("SLOT", "of another run")
	run := f.enqueue(`cat; echo; printf '{"sum":3}' > "$RUN_RESULT"; echo "$RUN_ID|$SCHEDULE|$SLOT|$QUEUE|$ATTEMPT|$FENCE|$TIDE_RUNNER_COMMAND$TIDE_SLOTS"; echo to stderr >&2; echo the end`, func(r *fakeRun) {
		r.Payload, r.Schedule, r.Slot = []byte(`{"a":[1,2]}`), "tidy", time.Date(2026, 5, 3, 9, 0, 0, 0, time.FixedZone("", 7200))
	})
	plain := f.enqueue(`echo "slot: $SLOT"`)
	h := startHere(t, f, nil)
	ended := f.end(run)
	want := "{\"a\":[1,2]}\n" + string(run.Run) + "|tidy|2026-05-03T07:00:00Z|default|1|1|\nto stderr\nthe end\n"
	if ended.Verdict != jobs.Succeeded || ended.ExitCode != 0 || string(ended.Result) != `{"sum":3}` || ended.Reason != "" || ended.Output != want {
		t.Errorf("%+v", ended)
	}
	f.change(func() {
		if string(run.output) != ended.Output {
			t.Errorf("the output was %q", run.output)
		}
	})
	if ended := f.end(plain); ended.Output != "slot: \n" {
		t.Errorf("%+v", ended)
	}
	if err := h.end(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(h.output.String(), "["+string(run.Run)+"] to stderr\n") {
		t.Errorf("%q", h.output.String())
	}
}

func TestHowACommandEndsSaysWhatBecomesOfItsRun(t *testing.T) {
	f := newFake(t)
	startHere(t, f, func(o *Options) { o.Command, o.Grace = "exit 9", time.Minute })
	for _, one := range []struct {
		command, reason string
		code            int
		final           bool
	}{
		{"exit 3", "exit status 3", 3, false},
		{"exit 75", "exit status 75", 75, false},
		{"exit 65", "exit status 65: not to be tried again", 65, true},
		{"kill -SEGV $$", "killed by SIGSEGV", 139, false},
		{"no-such-command", "exit status 127: the command was not found", 127, false},
		{"", "exit status 9", 9, false},
		{"echo nothing good > $RUN_RESULT; exit 1", "exit status 1", 1, false},
		{"mkfifo $RUN_RESULT; mkdir $RUN_PROGRESS; exit 4", "exit status 4", 4, false},
	} {
		ended := f.end(f.enqueue(one.command))
		if ended.Verdict != jobs.Failed || ended.Reason != one.reason || ended.ExitCode != one.code || ended.Final != one.final || ended.Result != nil {
			t.Errorf("%q: %+v", one.command, ended)
		}
	}
	late := f.enqueue("echo before; trap 'echo asked; exit' TERM; sleep 600 & wait", func(r *fakeRun) { r.TimeoutSeconds = 6 })
	if ended := f.end(late); ended.Verdict != jobs.Failed || ended.Reason != "timed out after 6s" || ended.Output != "before\nasked\n" {
		t.Errorf("%+v", ended)
	}
	awaitNone(t, promptly, mark(late))
}

func TestARunThatDoesNotEndAtItsTimeoutIsKilled(t *testing.T) {
	f := newFake(t)
	startHere(t, f, nil)
	late := f.enqueue("trap '' TERM; sleep 600 & while :; do sleep 0.05; done", func(r *fakeRun) { r.TimeoutSeconds = 1 })
	if ended := f.end(late); ended.Verdict != jobs.Failed || ended.Reason != "timed out after 1s" {
		t.Errorf("%+v", ended)
	}
	awaitNone(t, promptly, mark(late))
}

func TestAnEndIsToldThoughItCannotBeWrittenDown(t *testing.T) {
	f := newFake(t)
	startHere(t, f, nil)
	full := `mkdir "$(dirname "$RUN_RESULT")/status.new"; ` // in vain, as on a full disk
	if ended := f.end(f.enqueue(full + "exit 0")); ended.Verdict != jobs.Succeeded || ended.Reason != "" {
		t.Errorf("%+v", ended)
	}
	if ended := f.end(f.enqueue(full + "kill -TERM $$")); ended.Verdict != jobs.Failed || ended.Reason != "killed by SIGTERM" {
		t.Errorf("%+v", ended)
	}
}

func TestARunWithoutACommandFailsForGood(t *testing.T) {
	f := newFake(t)
	startHere(t, f, nil)
	for command, reason := range map[string]string{"": "neither the job nor the worker of queue default has one", "echo \x00": "zero byte"} {
		if ended := f.end(f.enqueue(command)); ended.Verdict != jobs.Failed || !ended.Final || !strings.Contains(ended.Reason, reason) {
			t.Errorf("%+v", ended)
		}
	}
}

func TestWhatTheLedgerDoesNotLetStartNeverBegins(t *testing.T) {
	f := newFake(t)
	f.refuseStart, f.lease = true, 3*time.Second // what did not start is available again then
	trace := filepath.Join(t.TempDir(), "begun")
	run := f.enqueue("touch " + trace)
	h := startHere(t, f, nil)
	f.await("the second try", func() bool { return run.Attempt > 1 })
	if err := h.end(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("it began")
	}
	for _, completed := range run.completed {
		if completed.Verdict != jobs.Returned { // as what a runner has when it ends is
			t.Errorf("it ended: %+v", completed)
		}
	}
}

func TestProgressReachesThePlatform(t *testing.T) {
	f := newFake(t)
	run := f.enqueue(`echo '{"percent":40,"message":"so far"}' > "$RUN_PROGRESS"; while ! test -e "$RUN_RESULT"; do sleep 0.05; done; exit 0`)
	startHere(t, f, nil)
	f.await("the progress", func() bool { return run.progress == springtide.Progress{Percent: 40, Message: "so far"} })
	f.change(func() { run.cancel = true })
	f.end(run)
}

func TestTheLastProgressReachesThePlatformBeforeTheEnd(t *testing.T) {
	f := newFake(t)
	f.lease, f.beat = 15*time.Minute, 5*time.Minute // no heartbeat is due meanwhile
	run := f.enqueue(`echo '{"percent":100,"message":"all"}' > "$RUN_PROGRESS"`)
	startHere(t, f, nil)
	f.end(run)
	f.change(func() {
		if run.progress != (springtide.Progress{Percent: 100, Message: "all"}) {
			t.Errorf("it had come to %+v", run.progress)
		}
	})
}

func TestACancelledRunIsAskedToEndAndThenKilled(t *testing.T) {
	for name, one := range map[string]struct {
		command, says string
		grace         time.Duration
	}{
		"polite":   {"trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done", "asked\n", time.Minute},
		"stubborn": {"trap '' TERM; echo up; setsid sleep 600 & while :; do sleep 0.05; done", "up\n", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			run := f.enqueue(one.command)
			startHere(t, f, func(o *Options) { o.Grace = one.grace })
			f.await("its begin", func() bool { return len(run.output) > 0 })
			f.change(func() { run.cancel = true })
			if ended := f.end(run); ended.Verdict != jobs.Failed || ended.Reason != "cancelled" || !strings.Contains(ended.Output, one.says) {
				t.Errorf("%+v", ended)
			}
			awaitNone(t, promptly, mark(run))
		})
	}
}

func TestALostLeaseKillsTheRunAndNobodyIsTold(t *testing.T) {
	f := newFake(t)
	run := f.enqueue("trap '' TERM; (setsid sleep 600 &) ; echo up; while :; do sleep 0.05; done")
	startHere(t, f, nil)
	f.await("its begin", func() bool { return len(run.output) > 0 })
	f.change(func() { run.state, run.Fence = springtide.RunDead, run.Fence+100 })
	awaitNone(t, promptly, mark(run))
	f.change(func() {
		if len(run.completed) > 0 || f.stale > 0 {
			t.Errorf("%+v, %d stale", run.completed, f.stale)
		}
	})
}

func TestARunGoesOnWhileThePlatformIsAwayForAShortTime(t *testing.T) {
	f := newFake(t) // twenty seconds without a word end the run
	run := f.enqueue("echo one; sleep 3.3; echo two")
	startHere(t, f, nil)
	f.await("its begin", func() bool { return run.state == springtide.RunRunning })
	f.change(func() { f.away = true })
	time.Sleep(3500 * time.Millisecond) // heartbeats are due and the run ends meanwhile
	f.change(func() { f.away = false })
	if ended := f.end(run); ended.Verdict != jobs.Succeeded || ended.Output != "one\ntwo\n" || run.Attempt != 1 {
		t.Errorf("%+v", ended)
	}
}

func TestARunIsKilledBeforeItsLeaseEndsAndTakenUpAgainWhenThePlatformIsBack(t *testing.T) {
	f := newFake(t)
	f.lease = 18 * time.Second // killed after twelve
	run := f.enqueue("test $ATTEMPT -gt 1 && exit 0; (setsid env -i sleep 98761.5 &); while :; do sleep 0.05; done")
	startHere(t, f, nil)
	poll(t, "its begin", func() bool { return len(alive(mark(run))) > 0 && len(alive("98761.5")) > 0 })
	var until time.Time
	f.change(func() { f.away, until = true, run.until })
	awaitNone(t, time.Until(until), mark(run), "98761.5")
	f.change(func() { f.away = false })
	if ended := f.end(run); ended.Verdict != jobs.Succeeded || run.Attempt < 2 || f.stale > 0 {
		t.Errorf("%+v, %d stale", ended, f.stale)
	}
}

func TestARunnerThatIsToEndFinishesWhatItHasAndTakesNothingMore(t *testing.T) {
	for name, ask := range map[string]func(f *fake, h *here){
		"by a signal":     func(_ *fake, h *here) { h.stop() },
		"by the platform": func(f *fake, _ *here) { f.change(func() { f.drain = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			goOn := filepath.Join(t.TempDir(), "go-on")
			run := f.enqueue("while ! test -e " + goOn + "; do sleep 0.05; done; echo done")
			h := startHere(t, f, func(o *Options) { o.Slots = 1 })
			f.await("its begin", func() bool { return run.state == springtide.RunRunning })
			ask(f, h)
			other := f.enqueue("echo more")
			if err := os.WriteFile(goOn, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := h.wait(); err != nil {
				t.Error(err)
			}
			if ended := f.end(run); ended.Verdict != jobs.Succeeded || other.Attempt != 0 {
				t.Errorf("%+v, then %+v", ended, other)
			}
		})
	}
}

func TestAnInterruptGivesRunsBack(t *testing.T) {
	f := newFake(t)
	polite := f.enqueue("echo up; exec sleep 600")
	stubborn := f.enqueue("trap '' TERM; echo up; while :; do sleep 0.05; done")
	h := startHere(t, f, nil)
	f.await("both", func() bool { return len(polite.output) > 0 && len(stubborn.output) > 0 })
	f.change(func() { f.interrupt = true })
	if err := h.wait(); err != nil {
		t.Error(err)
	}
	for _, run := range []*fakeRun{polite, stubborn} {
		if ended := f.end(run); ended.Verdict != jobs.Returned {
			t.Errorf("%+v", ended)
		}
		awaitNone(t, promptly, mark(run))
	}
}

func TestARunnerThatIsToEndAsksAtOnceWhatBecomesOfItsRuns(t *testing.T) {
	f := newFake(t)
	f.lease, f.beat = 15*time.Minute, 5*time.Minute
	run := f.enqueue("echo up; exec sleep 600")
	h := startHere(t, f, nil)
	f.await("its begin", func() bool { return len(run.output) > 0 })
	f.change(func() { f.interrupt = true })
	h.stop()
	if err := h.wait(); err != nil { // for less than until the next beat
		t.Error(err)
	}
	if ended := f.end(run); ended.Verdict != jobs.Returned {
		t.Errorf("%+v", ended)
	}
}

func TestATokenThatIsRefusedEndsTheRunner(t *testing.T) {
	f := newFake(t)
	run := f.enqueue("exec sleep 600")
	h := startHere(t, f, nil)
	f.await("its begin", func() bool { return run.state == springtide.RunRunning })
	f.change(func() { f.status = http.StatusUnauthorized })
	err := h.wait()
	if told, ok := errors.AsType[*springtide.Error](err); !ok || told.Kind != springtide.Unauthorized || told.Hint != "use another" {
		t.Errorf("%v", err)
	}
	awaitNone(t, promptly, mark(run))
}

func TestManyRunsAreCarriedOutAtATime(t *testing.T) {
	f := newFake(t)
	f.lease = time.Minute
	var runs []*fakeRun
	for n := range 60 {
		runs = append(runs, f.enqueue("echo "+strconv.Itoa(n)))
	}
	startHere(t, f, func(o *Options) { o.Slots = 16 })
	for n, run := range runs {
		if ended := f.end(run); ended.Verdict != jobs.Succeeded || ended.Output != strconv.Itoa(n)+"\n" {
			t.Errorf("%+v", ended)
		}
	}
}

func TestOutputNeverHoldsACommandUp(t *testing.T) {
	f := newFake(t)
	f.lease = 5 * time.Minute // longer than the platform is away
	run := f.enqueue(`echo up; while ! test -e "$RUN_PROGRESS"; do sleep 0.01; done; head -c 3000000 /dev/zero | tr '\0' x; echo; head -c 200 /dev/zero | tr '\0' '\377'; echo; echo "the end"; echo '{}' > "$RUN_RESULT"; while test -e "$RUN_PROGRESS"; do sleep 0.01; done`)
	nobody := make(stuck)
	t.Cleanup(func() { close(nobody) })
	h := startHere(t, f, func(o *Options) { o.Output = nobody })
	f.await("its begin", func() bool { return len(run.output) > 0 })
	f.change(func() { f.away = true })
	begun, _ := filepath.Glob(filepath.Join(h.folder, folderPrefix+"*", "*"))
	if len(begun) != 1 {
		t.Fatalf("%q", begun)
	}
	goOn := filepath.Join(begun[0], progressFile)
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	poll(t, "all to be said", func() bool {
		_, err := os.Stat(filepath.Join(begun[0], resultFile))
		return err == nil
	})
	f.change(func() { f.away = false })
	f.await("more of it", func() bool { return len(run.output) > len("up\n") })
	if err := os.Remove(goOn); err != nil {
		t.Fatal(err)
	}
	ended := f.end(run)
	if ended.Verdict != jobs.Succeeded || len(ended.Output) > springtide.OutputTail || !strings.HasSuffix(ended.Output, "\uFFFD\nthe end\n") {
		t.Errorf("%s, %d bytes ending in %q", ended.Verdict, len(ended.Output), ended.Output[max(len(ended.Output)-20, 0):])
	}
	f.change(func() {
		if len(run.output) > 2*unsentLimit || !strings.Contains(string(run.output), " lines of output were lost") {
			t.Errorf("%d bytes", len(run.output))
		}
	})
}

// stuck is an output that nobody reads until the channel is closed.
type stuck chan struct{}

func (s stuck) Write([]byte) (int, error) {
	<-s
	return 0, os.ErrDeadlineExceeded
}
