package jobs

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

const inside = `app: shop
processes:
  web:
    command: exec python3 web.py
    health: { path: / }
  worker:
    queues: [default]
    command: cat
    scale: { min: 2, max: 2 }
`

func TestAnAppEnqueuesFromInsideAndMayDoNothingElse(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), inside, webFiles(t)...)

	var enqueued, again jobs.Enqueued
	order := question{Path: "/jobs", Key: "order-7", Body: map[string]any{"payload": map[string]int{"order": 7}}}
	decode(t, s.ask(order), http.StatusCreated, &enqueued)
	decode(t, s.ask(order), http.StatusOK, &again)
	if again.Run != enqueued.Run || !again.Existing {
		t.Errorf("with the same key: %+v, want %+v", again, enqueued)
	}
	if run := s.await(enqueued.Run, springtide.RunSucceeded); !strings.Contains(run.Output, `{"order":7}`) {
		t.Errorf("the job got %s", run.Output)
	}
	if done := s.sh(`tide jobs enqueue --wait --key terminal --payload '"from a terminal"'`); done.Status != 0 || !strings.Contains(done.Body, "from a terminal") {
		t.Errorf("tide jobs enqueue in an instance: %+v", done)
	}
	if done := s.sh(`tide jobs; tide jobs queues; tide schedules`); done.Status != 0 || !strings.Contains(done.Body, string(enqueued.Run)) {
		t.Errorf("tide jobs in an instance: %+v", done)
	}

	environment := "/v1/apps/shop/environments/"
	for _, q := range []question{
		{Path: environment + "staging/jobs", Body: map[string]any{}},
		{Path: "/v1/apps/other/environments/production/jobs", Method: "GET"},
		{Path: environment + "production/deploys", Body: map[string]any{}},
		{Path: "/config", Method: "GET"},
		{Path: "/config", Method: "PATCH", Body: map[string]any{"set": map[string]string{"A": "b"}}},
		{Path: "/stop"},
		{Path: "", Method: "DELETE"},
		{Path: "/instances", Method: "GET"},
		{Path: "/mail", Method: "GET"},
		{Path: "/jobs/" + string(enqueued.Run) + "/cancel"},
		{Path: "/queues/default/pause"},
		{Path: "/jobs/replay"},
		{Path: "/v1/tokens", Method: "GET"},
		{Path: "/v1/platform/drain"},
		{Path: "/v1/apps", Method: "GET"},
		{Path: "/v1/events", Method: "GET"},
	} {
		if answer := s.ask(q); answer.Status != http.StatusForbidden || !strings.Contains(answer.Body, `"denied"`) {
			t.Errorf("%s %s: %+v, want 403", q.Method, q.Path, answer)
		}
	}
	if answer := s.ask(question{Path: "/jobs", Method: "GET", Token: "tide_instance_of.another"}); answer.Status != http.StatusUnauthorized {
		t.Errorf("with an unknown token: %+v", answer)
	}
	for command, code := range map[string]int{
		"tide config set A=b": 5, "tide deploy": 5, "tide jobs pause default": 5, "tide stop": 5,
		"tide jobs --app other": 5, "TIDE_TOKEN=unknown tide jobs": 5,
	} {
		if done := s.sh(command); done.Status != code || strings.Count(done.Body, "error: ") != 1 {
			t.Errorf("%s in an instance: %+v, want exit code %d", command, done, code)
		}
	}
}

func TestTheReleaseCommandOfTheFirstDeployHasWorkForItsWorkers(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), `app: shop
release: tide jobs enqueue --queue seeds --key first --payload '"sown"' && ! tide jobs enqueue --queue weeds
processes:
  worker: { queues: [seeds], command: cat >DESK/sown }
`)
	story.Eventually(t, "the job to be done", patience, func() bool {
		text, err := os.ReadFile(filepath.Join(s.desk, "sown"))
		return err == nil && strings.Contains(string(text), "sown")
	})
}

func decode(t *testing.T, answer said, status int, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer.Body), into); err != nil || answer.Status != status {
		t.Fatalf("%+v, want status %d; %v", answer, status, err)
	}
}

func TestTwoInstancesNeverHaveALockAtTheSameTime(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), `app: shop
processes:
  worker: { queues: [default], command: sh task.sh, scale: { min: 2, max: 2 } }
`, file{"task.sh", `tide lock nightly --wait 30s -- sh -c '
	mkdir DESK/held || echo "two at a time" >DESK/crowd
	echo "$LOCK_NAME $LOCK_FENCE $TIDE_INSTANCE" >>DESK/fences
	sleep 0.1
	rmdir DESK/held'
`})
	var all []springtide.RunID
	var fences []int
	story.Eventually(t, "both instances to have had the lock", patience, func() bool { // one may be busy with its start
		for range 8 {
			all = append(all, s.enqueue())
		}
		for _, run := range all {
			s.await(run, springtide.RunSucceeded)
		}
		var instances map[string]bool
		fences, instances = holders(t, s)
		return len(instances) == 2
	})
	if _, err := os.Stat(filepath.Join(s.desk, "crowd")); err == nil {
		t.Error("two had the lock at the same time")
	}
	if len(fences) != len(all) || !slices.IsSorted(fences) || len(slices.Compact(fences)) != len(all) {
		t.Errorf("%d jobs had the lock, with the fences %v", len(all), fences)
	}
	aLockIsInherited(t, s)
}

// holders gives the fences of those who had the lock, in order, and their instances.
func holders(t *testing.T, s *shop) (fences []int, instances map[string]bool) {
	t.Helper()
	instances = map[string]bool{}
	for line := range strings.SplitSeq(s.find("fences"), "\n") {
		words := strings.Fields(line)
		fence, err := strconv.Atoi(words[1])
		if err != nil || words[0] != "nightly" {
			t.Errorf("the command under the lock was told %s", line)
		}
		fences = append(fences, fence)
		instances[words[2]] = true
	}
	return fences, instances
}

// aLockIsInherited kills who has the lock: soon it is another's.
func aLockIsInherited(t *testing.T, s *shop) {
	t.Helper()
	holder := s.enqueue("--attempts", "1", "--", "tide", "lock", "nightly", "--ttl", "10s", "--", "sh", "-c", `echo "$LOCK_FENCE" >`+s.desk+`/holder; sleep 1000`)
	first := s.find("holder")
	run := s.await(holder, springtide.RunRunning)
	if text := s.tide("locks"); !strings.Contains(text, "nightly") {
		t.Errorf("tide locks: %s", text)
	}
	heir := s.enqueue("--", "tide", "lock", "nightly", "--wait", "1m", "--", "sh", "-c", `echo "$LOCK_FENCE" >`+s.desk+`/heir`)
	s.await(heir, springtide.RunRunning)
	killed := time.Now()
	locker := only(t, "tide lock", func(p process) bool {
		return slices.Contains(p.environment, "RUN_ID="+string(run.ID)) && len(p.arguments) > 1 && p.arguments[1] == "lock"
	})
	locker.signal(t, syscall.SIGKILL)
	gone(t, run)
	second := s.find("heir")
	if took := time.Since(killed); took < time.Second || took > 40*time.Second {
		t.Errorf("the lock of one that was killed, for 10 s, was another's after %s", took)
	}
	if before, after := must(strconv.Atoi(first)), must(strconv.Atoi(second)); after <= before {
		t.Errorf("after the fence %d came %d", before, after)
	}
	s.await(heir, springtide.RunSucceeded)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
