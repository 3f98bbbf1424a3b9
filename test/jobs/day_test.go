package jobs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

// task tells what it was given, waits until it may end, and leaves a result.
const task = `payload=$(cat)
echo "this is $SCHEDULE$QUEUE"
echo '{"percent":40,"message":"half of it"}' >"$RUN_PROGRESS"
case $payload in *slow*)
	echo "begun" >DESK/begun
	while ! test -e DESK/go; do sleep 0.05; done ;;
esac
echo "that was it" >&2
cat >"$RUN_RESULT" <<END
{"run":"$RUN_ID","attempt":$ATTEMPT,"fence":$FENCE,"queue":"$QUEUE","schedule":"$SCHEDULE","slot":"$SLOT","payload":$payload}
END
`

func TestAScheduleAndAJobGetWhatTheyNeedAndTheWorkerComesAndGoes(t *testing.T) {
	t.Parallel()
	aDay(t, story.Platform(t))
}

func TestAnOrdinaryUserHasTheSame(t *testing.T) {
	t.Parallel()
	p := story.Ordinary(t)
	aDay(t, p)
	s := open(t, p, lossy, file{"task.sh", stubborn})
	id, _ := s.begin("again", "--queue", "killed")
	run := s.await(id, springtide.RunRunning)
	runnerOf(t, run).signal(t, syscall.SIGKILL)
	gone(t, run)
}

// aDay is what a shop does, from its deploy on.
func aDay(t *testing.T, p *platform.Platform) {
	s := open(t, p, `app: shop
processes:
  worker:
    queues: [default, mail]
    command: sh task.sh
    scale: { min: 0, max: 2, idle: 2s, target: { wait: 1s, concurrency: 2 } }
schedules:
  tick: { every: 1s, command: sh task.sh, payload: { about: "a second" } }
`, file{"task.sh", task})

	job := s.enqueue("--queue", "mail", "--payload", `{"slow":"yes"}`)
	s.find("begun")
	var followed strings.Builder
	following := s.command("jobs", "logs", "-f", string(job))
	following.Stdout = &followed
	if err := following.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitRun(job, "at 40%", func(r springtide.Run) bool { return r.Progress.Percent == 40 && r.State == springtide.RunRunning })
	s.put("go")
	if err := following.Wait(); err != nil || !strings.Contains(followed.String(), "this is mail\n") || !strings.Contains(followed.String(), "that was it\n") {
		t.Errorf("tide jobs logs -f: %v\n%s", err, followed.String())
	}
	told(t, s.await(job, springtide.RunSucceeded), `{"slow":"yes"}`)
	if text := s.tide("jobs", "show", string(job)); !strings.Contains(text, "half of it") || !strings.Contains(text, "that was it") {
		t.Errorf("tide jobs show:\n%s", text)
	}

	var done []springtide.Run
	story.Eventually(t, "three slots that ran", patience, func() bool {
		done = s.runs(jobs.Query{Schedule: "tick", States: []springtide.RunState{springtide.RunSucceeded}})
		return len(done) >= 3
	})
	for _, slot := range done {
		told(t, s.show(slot.ID), `{"about":"a second"}`)
	}
	eachSlotOnce(t, s.runs(jobs.Query{Schedule: "tick"}), time.Second)

	s.tide("schedules", "pause", "tick")
	story.Eventually(t, "the worker to go", patience, func() bool { return len(s.workers("worker")) == 0 })
	explained := s.tide("explain")
	for _, says := range []string{"0 to [12]", "[12] to 0"} { // a busy machine may want the second
		if !regexp.MustCompile(says).MatchString(explained) {
			t.Errorf("tide explain does not say %q:\n%s", says, explained)
		}
	}
	t.Logf("tide explain:\n%s", explained)
	if text := s.tide("jobs", "enqueue", "--wait", "--", "echo", "here again"); !strings.Contains(text, "here again\n") {
		t.Errorf("tide jobs enqueue --wait: %s", text)
	}
}

// told checks what a run was given against what is known of it.
func told(t *testing.T, run springtide.Run, payload string) {
	t.Helper()
	slot := ""
	if !run.Slot.IsZero() {
		slot = run.Slot.UTC().Format(time.RFC3339)
	}
	want := fmt.Sprintf(`{"run":%q,"attempt":1,"fence":%d,"queue":%q,"schedule":%q,"slot":%q,"payload":%s}`,
		run.ID, run.Fence, run.Queue, run.Schedule, slot, payload)
	var got bytes.Buffer
	if err := json.Compact(&got, run.Result); err != nil || got.String() != want || run.ExitCode != 0 || run.Failures != 0 {
		t.Errorf("the run was told %s, want %s; %v", got.String(), want, err)
	}
	if want := "this is " + string(run.Schedule) + string(run.Queue) + "\nthat was it\n"; run.Output != want {
		t.Errorf("the run's output is %q", run.Output)
	}
}

// eachSlotOnce checks that the slots follow each other without a gap.
func eachSlotOnce(t *testing.T, newestFirst []springtide.Run, every time.Duration) {
	t.Helper()
	for i, run := range newestFirst[1:] {
		if next := newestFirst[i]; next.Slot.Sub(run.Slot) != every {
			t.Errorf("slot %s is followed by %s", run.Slot.Format(time.TimeOnly), next.Slot.Format(time.TimeOnly))
		}
	}
}
