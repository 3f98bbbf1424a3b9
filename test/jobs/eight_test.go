package jobs

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/postgres"
	"github.com/springtide/springtide/test/story"
)

// servers share one ledger.
const servers = 8

func TestEightServersRunEachSlotOnceAndOneOfThemDies(t *testing.T) {
	t.Parallel()
	ledger := postgres.Start(t).URL("jobs")
	var all []*shop
	for range servers {
		p := story.Platform(t, "--ledger", ledger)
		if len(all) == 0 {
			all = append(all, open(t, p, `app: shop
processes:
  worker:
    queues: [default, once]
    command: 'cat; echo begun >DESK/begun; while ! test -e DESK/go; do sleep 0.05; done; echo "{\"fence\":$FENCE}" >"$RUN_RESULT"'
    scale: { min: 0, max: 1, idle: 5s, target: { wait: 1s, concurrency: 4 } }
schedules:
  tick: { every: 2s, command: 'echo "$FENCE" >>"DESK/$SLOT"', overlap: allow, missed: all }
`))
			continue
		}
		s := *all[0]
		s.Platform = p
		story.Deploy(t, p, s.source)
		all = append(all, &s)
	}

	job := all[0].enqueue("--queue", "once")
	run := all[1].await(job, springtide.RunRunning)
	all[0].find("begun")
	dead := slices.IndexFunc(all, func(s *shop) bool {
		return slices.ContainsFunc(s.workers("worker"), func(i springtide.Instance) bool { return string(i.ID) == run.Runner })
	})
	if dead < 0 {
		t.Fatalf("no server has the runner %s", run.Runner)
	}
	killAll(t, all[dead].Platform)
	living := all[(dead+1)%servers]
	living.awaitRun(job, "tried again by another server", func(r springtide.Run) bool {
		return r.State == springtide.RunRunning && r.Fence > run.Fence
	})
	if left := ofAttempt(run); len(left) > 0 {
		t.Errorf("of the first attempt there are still %v", left)
	}
	living.put("go")
	over := living.await(job, springtide.RunSucceeded)
	if over.Attempt != 2 || over.Failures != 1 || over.Runner == run.Runner {
		t.Errorf("the run was lost once, and is %+v", over)
	}

	if err := all[dead].Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	everySlotRan(t, living)
}

// killAll kills what the platform consists of, the supervisor first: it would
// start again what dies. The instances are on their own.
func killAll(t *testing.T, p *platform.Platform) {
	t.Helper()
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range append([]int{status.Processes.Supervisor, status.Processes.Control}, status.Processes.Edges...) {
		// What ends by itself, because the supervisor has, is gone, too.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	p.Wait()
}

// everySlotRan ends the schedule and checks that all its slots, from the first
// to the last, were recorded once and ran once; those that the dead server had
// taken up may have run twice.
func everySlotRan(t *testing.T, s *shop) {
	t.Helper()
	s.tide("schedules", "pause", "tick")
	var slots []springtide.Run
	story.Eventually(t, "all slots to be over", patience, func() bool {
		slots = slices.DeleteFunc(s.runs(jobs.Query{Schedule: "tick"}), func(r springtide.Run) bool { return r.State == springtide.RunSkipped })
		return !slices.ContainsFunc(slots, func(r springtide.Run) bool { return !r.State.Over() })
	})
	eachSlotOnce(t, slots, 2*time.Second)
	for _, slot := range slots {
		ran := strings.Fields(s.find(slot.Slot.UTC().Format(time.RFC3339)))
		if slot.State != springtide.RunSucceeded || slot.Failures > 1 || len(ran) > 1+slot.Failures {
			t.Errorf("slot %s is %s, ran as %v, lost %d times", slot.Slot.Format(time.TimeOnly), slot.State, ran, slot.Failures)
		}
	}
	t.Logf("%d slots", len(slots))
}
