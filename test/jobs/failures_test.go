package jobs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

// moody is a worker whose jobs do as their payload says.
const moody = `app: shop
processes:
  worker:
    queues: [default, single, strict]
    command: sh task.sh
    grace: 15s
    scale: { min: 1, max: 1, target: { concurrency: 4 } }
queues:
  single: { concurrency: 1 }
  strict: { attempts: 1 }
schedules:
  tick: { every: 1s, command: "true" }
`

const moodyTask = `name=$(tr -d '"')
echo "attempt $ATTEMPT of $name"
echo "$name" >>DESK/order
case $name in
fails*) test -e "DESK/$name.mended" || exit 3 ;;
final*) test -e "DESK/$name.mended" || exit 65 ;;
polite)
	trap 'echo "good night" >DESK/night; exit 0' TERM
	echo begun >DESK/polite.begun
	while :; do sleep 0.05; done ;;
deaf)
	trap '' TERM
	echo begun >DESK/deaf.begun
	sleep 1000; sleep 1000 ;;
alone*)
	mkdir DESK/alone || echo "two at a time" >DESK/crowd
	sleep 0.2
	rmdir DESK/alone ;;
esac
`

// mood enqueues a job that does as its name says.
func (s *shop) mood(name string, arguments ...string) springtide.RunID {
	s.t.Helper()
	return s.enqueue(append([]string{"--payload", `"` + name + `"`}, arguments...)...)
}

func TestWhatFailsIsTriedAgainOrDeadUntilSomebodyLooks(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), moody, file{"task.sh", moodyTask})

	fails := s.mood("fails")
	run := s.await(fails, springtide.RunScheduled)
	if pause := time.Until(run.RunAt); run.Reason != "exit status 3" || run.ExitCode != 3 || run.Failures != 1 || pause < 5*time.Second || pause > 20*time.Second {
		t.Errorf("after a failure, to be tried in %s: %+v", pause, run)
	}
	s.put("fails.mended")
	s.tide("jobs", "retry", string(fails))
	if again := s.await(fails, springtide.RunSucceeded); again.Attempt != 2 || again.Fence <= run.Fence {
		t.Errorf("after a retry by hand: %+v", again)
	}
	if text := s.tide("jobs", "logs", string(fails)); !strings.Contains(text, "attempt 2 of fails\n") {
		t.Errorf("tide jobs logs of the second attempt: %s", text)
	}

	final, strict := s.mood("final"), s.mood("fails strictly", "--queue", "strict")
	text := s.refused(1, "jobs", "enqueue", "--wait", "--timeout", "1s", "--attempts", "1", "--", "sleep", "100")
	if !strings.Contains(text, "timed out after 1s") {
		t.Errorf("of a job that takes too long it is told: %s", text)
	}
	for _, id := range []springtide.RunID{final, strict} {
		if run := s.await(id, springtide.RunDead); run.Attempt != 1 {
			t.Errorf("what is not to be tried again was: %+v", run)
		}
	}
	if dead := s.runs(jobs.Query{States: []springtide.RunState{springtide.RunDead}}); len(dead) != 3 {
		t.Errorf("%d runs are dead, not 3", len(dead))
	}
	s.put("final.mended")
	s.put("fails strictly.mended")
	if text := s.tide("jobs", "replay", "--queue", "strict"); !strings.Contains(text, ": 1\n") {
		t.Errorf("tide jobs replay --queue strict: %s", text)
	}
	s.await(strict, springtide.RunSucceeded)
	s.tide("jobs", "replay")
	s.await(final, springtide.RunSucceeded)
}

func TestJobsAreCancelledPausedOrderedAndDelayedByHand(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), moody, file{"task.sh", moodyTask})

	polite, deaf, later := s.mood("polite"), s.mood("deaf"), s.mood("later", "--delay", "1h")
	s.find("polite.begun")
	s.find("deaf.begun")
	for _, id := range []springtide.RunID{polite, deaf, later} {
		s.tide("jobs", "cancel", string(id))
	}
	if now := s.show(later); now.State != springtide.RunCancelled || now.Attempt != 0 {
		t.Errorf("what waits for its time is cancelled at once: %+v", now)
	}
	delayed := s.mood("delayed", "--delay", "3s")
	wasPausedAndResumed(t, s)
	for _, id := range []springtide.RunID{polite, deaf} {
		run := s.await(id, springtide.RunCancelled)
		if left := ofAttempt(run); len(left) > 0 || run.Attempt != 1 {
			t.Errorf("cancelled, it is %+v, with %v", run, left)
		}
	}
	s.find("night")
	if run := s.await(delayed, springtide.RunSucceeded); run.Started.Sub(run.Created) < 3*time.Second {
		t.Errorf("delayed by 3 s it began after %s", run.Started.Sub(run.Created))
	}

	one, two := s.mood("keyed", "--key", "order 7"), s.mood("keyed", "--key", "order 7")
	if one != two {
		t.Errorf("one key has the runs %s and %s", one, two)
	}
	scheduleWasPausedAndResumed(t, s)
}

// wasPausedAndResumed has jobs wait in a queue that is paused and runs one at a
// time: they run in order of priority.
func wasPausedAndResumed(t *testing.T, s *shop) {
	t.Helper()
	s.tide("jobs", "pause", "single")
	var waiting []springtide.RunID
	for _, priority := range []int{5, 0, -5, 0} {
		waiting = append(waiting, s.mood(fmt.Sprint("alone ", priority), "--queue", "single", "--priority", fmt.Sprint(priority)))
	}
	s.await(s.mood("another"), springtide.RunSucceeded) // the worker has room meanwhile
	for _, id := range waiting {
		if run := s.show(id); run.State != springtide.RunAvailable {
			t.Errorf("in a queue that is paused there is %+v", run)
		}
	}
	if text := s.tide("jobs", "queues"); !strings.Contains(text, "paused") {
		t.Errorf("tide jobs queues: %s", text)
	}
	s.tide("jobs", "resume", "single")
	for _, id := range waiting {
		s.await(id, springtide.RunSucceeded)
	}
	text, err := os.ReadFile(filepath.Join(s.desk, "order"))
	order := slices.DeleteFunc(strings.Split(string(text), "\n"), func(name string) bool { return !strings.HasPrefix(name, "alone") })
	if want := []string{"alone -5", "alone 0", "alone 0", "alone 5"}; err != nil || !slices.Equal(order, want) {
		t.Errorf("they ran as %v, want %v; %v", order, want, err)
	}
	if _, err := os.Stat(filepath.Join(s.desk, "crowd")); err == nil {
		t.Error("more than one of a queue ran at a time")
	}
}

func scheduleWasPausedAndResumed(t *testing.T, s *shop) {
	t.Helper()
	newest := func(state springtide.RunState) (slot time.Time) {
		if all := s.runs(jobs.Query{Schedule: "tick", States: []springtide.RunState{state}}); len(all) > 0 {
			slot = all[0].Slot
		}
		return slot
	}
	s.tide("schedules", "pause", "tick")
	paused := func(r springtide.Run) bool {
		return r.State == springtide.RunSkipped && strings.Contains(r.Reason, "paused")
	}
	story.Eventually(t, "two slots that were skipped for it", patience, func() bool { // some before, while one still ran
		all := s.runs(jobs.Query{Schedule: "tick"})
		return len(all) > 1 && paused(all[0]) && paused(all[1])
	})
	triggered := strings.TrimSpace(s.tide("schedules", "trigger", "tick"))
	if run := s.await(springtide.RunID(triggered), springtide.RunSucceeded); run.Schedule != "tick" {
		t.Errorf("triggered by hand: %+v", run)
	}
	s.tide("schedules", "resume", "tick")
	story.Eventually(t, "a slot that runs again", patience, func() bool { return newest(springtide.RunSucceeded).After(newest(springtide.RunSkipped)) })
	eachSlotOnce(t, slices.DeleteFunc(s.runs(jobs.Query{Schedule: "tick"}), func(r springtide.Run) bool { return r.Slot.IsZero() }), time.Second)
	if text := s.tide("jobs", "next", "--count", "3"); strings.Count(text, "tick") != 3 {
		t.Errorf("tide jobs next:\n%s", text)
	}
}
