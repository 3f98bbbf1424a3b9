package jobs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// lossy is an app whose workers die in different ways.
const lossy = `app: shop
processes:
  killed: { queues: [killed], command: sh task.sh, scale: { min: 0, max: 1, target: { concurrency: 2 } } }
  paused: { queues: [paused], command: sh task.sh, scale: { min: 2, max: 2 } }
  orphan: { queues: [orphan], command: sh task.sh, scale: { min: 0, max: 1 } }
`

// stubborn is a job whose first attempt never ends, ignores SIGTERM, and starts
// a process that wants to outlive it.
const stubborn = `name=$(tr -d '"')
trap '' TERM HUP
if test "$ATTEMPT" = 1; then
	setsid sh -c 'setsid sleep 1000 & sleep 1000' &
	echo "$FENCE" >"DESK/$name.begun"
	sleep 1000
fi
echo "{\"attempt\":$ATTEMPT}" >"$RUN_RESULT"
`

func TestWhatIsLostLeavesNoProcessAndIsTriedAgainWithAHigherFence(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), lossy, file{"task.sh", stubborn})
	begin := func(queue, name string, arguments ...string) springtide.Run {
		id, _ := s.begin(name, append([]string{"--queue", queue}, arguments...)...)
		return s.await(id, springtide.RunRunning)
	}
	again, never := begin("killed", "again"), begin("killed", "never", "--on-lost", "fail")
	stopped, orphan := begin("paused", "stopped"), begin("orphan", "orphan")
	sleeper := runnerOf(t, stopped)
	t.Cleanup(func() { _ = syscall.Kill(sleeper.pid, syscall.SIGCONT) })

	// A lease ends 10 to 20 s from now by itself.
	ended := func(killed time.Time, runs ...springtide.Run) {
		for _, run := range runs {
			gone(t, run)
		}
		if took := time.Since(killed); took > 10*time.Second {
			t.Errorf("what was killed had ended after %s", took)
		}
	}
	began := time.Now()
	sleeper.signal(t, syscall.SIGSTOP)
	killed := time.Now()
	initOf(t, orphan).signal(t, syscall.SIGKILL)
	ended(killed, orphan)
	s.awaitRun(orphan.ID, "told as killed", func(r springtide.Run) bool {
		return r.State == springtide.RunScheduled && strings.Contains(r.Reason, "killed")
	})
	s.tide("jobs", "retry", string(orphan.ID))
	killed = time.Now()
	runnerOf(t, again).signal(t, syscall.SIGKILL)
	ended(killed, again, never)

	gone(t, stopped)
	if took := time.Since(began); took > 30*time.Second { // from then on another may have them
		t.Errorf("the runs of a runner that is stopped had ended after %s", took)
	}
	if now := s.show(stopped.ID); now.State != springtide.RunRunning || now.Attempt != 1 {
		t.Errorf("the run of a runner that is stopped was taken from it too early: %+v", now)
	}
	triedAgain(t, s, orphan)
	triedAgain(t, s, again)
	triedAgain(t, s, stopped)
	sleeper.signal(t, syscall.SIGCONT)
	if run := s.await(never.ID, springtide.RunDead); run.Attempt != 1 || !strings.Contains(run.Reason, "lost") {
		t.Errorf("what is not to be tried again is %+v", run)
	}
	time.Sleep(2 * time.Second) // the runner that woke up says what it has to say
	if run := s.show(stopped.ID); run.State != springtide.RunSucceeded || run.Attempt != 2 {
		t.Errorf("the result of a later attempt was not kept: %+v", run)
	}
}

// triedAgain waits for the success of a run's second attempt.
func triedAgain(t *testing.T, s *shop, lost springtide.Run) {
	t.Helper()
	run := s.await(lost.ID, springtide.RunSucceeded)
	if run.Attempt != 2 || run.Fence <= lost.Fence || !strings.Contains(string(run.Result), "2") {
		t.Errorf("of %+v it became %+v", lost, run)
	}
}

func TestRunsGoOnWhileThePlatformIsKilled(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), `app: shop
processes:
  worker: { queues: [default], command: sh task.sh, scale: { min: 0, max: 1, target: { concurrency: 3 } } }
`, file{"task.sh", longTask}, file{"VERSION", "blue\n"})

	during, _ := s.begin("during")
	after, _ := s.begin("after")
	following := s.command("jobs", "logs", "-f", string(after))
	shown := bufio.NewReader(must(following.StdoutPipe()))
	if err := following.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := shown.ReadString('\n'); line != "this is after\n" {
		t.Fatalf("tide jobs logs -f: %q, %v", line, err)
	}
	status, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	process{pid: status.Processes.Control}.signal(t, syscall.SIGKILL)
	s.put("during.go") // it ends when nobody may be there to be told
	s.await(during, springtide.RunSucceeded)

	process{pid: s.Supervisor()}.signal(t, syscall.SIGKILL)
	s.Wait()
	if err := s.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	next, _ := s.begin("next", "--key", "next") // with a key it is tried again while the control plane is replaced
	for name, run := range map[string]springtide.RunID{"after": after, "next": next} {
		s.put(name + ".go")
		if run := s.await(run, springtide.RunSucceeded); run.Failures != 0 || name == "after" && run.Attempt != 1 {
			t.Errorf("%s is %+v", name, run) // the next may have been leased to a connection that was cut, and returned
		}
	}
	rest, err := io.ReadAll(shown)
	if err = errors.Join(err, following.Wait()); err != nil || string(rest) != "that was after\n" {
		t.Errorf("tide jobs logs -f over all that: %v\n%s", err, rest)
	}
	if run := s.show(during); run.Attempt != 1 || !strings.Contains(string(run.Result), "blue") {
		t.Errorf("what ended without a control plane is %+v", run)
	}
}

func TestAStopGivesRunsBackAndAStartTakesThemUp(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), `app: shop
processes:
  worker: { queues: [default], command: sh task.sh, grace: 30s, scale: { min: 0, max: 1, target: { concurrency: 2 } } }
`, file{"task.sh", `name=$(tr -d '"')
trap 'echo "$ATTEMPT" >"DESK/$name.interrupted"; exit 1' TERM
echo "$ATTEMPT" >"DESK/$name.begun"
for i in $(seq 2400); do test -e DESK/go && exit 0; sleep 0.05; done
`})
	run, _ := s.begin("long")
	interrupted := func(how string, change func()) {
		var before springtide.Run
		s.awaitRun(run, "running", func(r springtide.Run) bool { before = r; return r.State == springtide.RunRunning })
		story.Eventually(t, "the attempt to be ready for its interruption", patience, func() bool { return s.find("long.begun") == fmt.Sprint(before.Attempt) })
		began := time.Now()
		change()
		gone(t, before)
		took := time.Since(began)
		t.Logf("%s took %s", how, took)
		if took > time.Minute { // left alone it takes two
			t.Errorf("%s took %s", how, took)
		}
		if attempt := s.find("long.interrupted"); attempt != fmt.Sprint(before.Attempt) {
			t.Errorf("%s interrupted attempt %s, not %d", how, attempt, before.Attempt)
		}
	}
	interrupted("tide stop", func() { s.tide("stop") })
	if now := s.await(run, springtide.RunAvailable); now.Failures != 0 || now.Attempt != 1 {
		t.Errorf("while the app is stopped its run is %+v", now)
	}
	s.tide("start")
	interrupted("the end of tide serve", func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitRun(run, "at its third attempt", func(r springtide.Run) bool { return r.State == springtide.RunRunning && r.Attempt == 3 })
	s.put("go")
	if now := s.await(run, springtide.RunSucceeded); now.Failures != 0 {
		t.Errorf("interruptions count as failures: %+v", now)
	}
}
