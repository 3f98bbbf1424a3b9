package ledger

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// workerLocation names the ledger to the test binary when it runs as a worker.
const workerLocation = "TEST_LEDGER_WORKER"

// workForEver enqueues, claims, ends and ticks, and says what was acknowledged:
// "enqueued RUN", "claimed RUN FENCE", "succeeded RUN FENCE".
func workForEver(ctx context.Context, location string) error {
	l, err := Open(ctx, location, Options{})
	if err != nil {
		return err
	}
	schedule := springtide.Schedule{Cron: "every 1s", Missed: springtide.MissedAll, Overlap: springtide.OverlapAllow}
	if err := l.SetJobs(ctx, quiz, 1, springtide.Jobs{Schedules: map[springtide.ScheduleName]springtide.Schedule{"tidy": schedule}}); err != nil {
		return err
	}
	for {
		if _, err := l.Tick(ctx); err != nil {
			return err
		}
		enqueued, err := l.Enqueue(ctx, quiz, []springtide.Job{{}, {}, {}}, &jobs.Batch{Done: &springtide.Job{Command: "done"}})
		if err != nil {
			return err
		}
		for _, e := range enqueued {
			fmt.Println("enqueued", e.Run, 0)
		}
		runs, err := l.Claim(ctx, jobs.Claim{Environment: quiz, Most: 4, Runner: "a", Started: rand.IntN(2) == 0})
		if err != nil {
			return err
		}
		if err := finishSaying(ctx, l, runs); err != nil {
			return err
		}
	}
}

func finishSaying(ctx context.Context, l *Ledger, runs []springtide.Run) error {
	var outcomes []jobs.Outcome
	for _, run := range runs {
		fmt.Println("claimed", run.ID, run.Fence)
		if rand.IntN(5) > 0 {
			outcomes = append(outcomes, jobs.Outcome{Hold: hold(run), Verdict: jobs.Succeeded})
		}
	}
	accepted, err := l.Finish(ctx, outcomes)
	for i := range accepted {
		if accepted[i] {
			fmt.Println("succeeded", outcomes[i].Run, outcomes[i].Fence)
		}
	}
	return err
}

// sayings is what killed workers have said.
type sayings struct {
	enqueued  []springtide.RunID
	succeeded map[springtide.RunID]springtide.Fence
	highest   springtide.Fence
}

// listenUntilKilled lets a worker work and kills it at a random moment.
func (s *sayings) listenUntilKilled(t *testing.T, location string) {
	t.Helper()
	worker := exec.CommandContext(t.Context(), os.Args[0])
	worker.Env = append(os.Environ(), workerLocation+"="+location)
	worker.Stderr = os.Stderr
	output, err := worker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	before, said := s.highest, false
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if !said {
			said = true
			time.AfterFunc(rand.N(700*time.Millisecond), func() { _ = worker.Process.Kill() })
		}
		var what string
		var run springtide.RunID
		var fence springtide.Fence
		if _, err := fmt.Sscan(lines.Text(), &what, &run, &fence); err != nil {
			continue // its last line
		}
		switch what {
		case "enqueued":
			s.enqueued = append(s.enqueued, run)
		case "claimed":
			if fence <= before {
				t.Errorf("fence %d after %d", fence, before)
			}
			s.highest = max(s.highest, fence)
		case "succeeded":
			if other, twice := s.succeeded[run]; twice {
				t.Errorf("run %s succeeded under fences %d and %d", run, other, fence)
			}
			s.succeeded[run] = fence
		}
	}
	if err := worker.Wait(); err == nil || !said {
		t.Fatalf("the worker ended by itself: %v", err)
	}
}

func TestKillsLoseNothingAndRepeatNothing(t *testing.T) {
	for name, location := range map[string]string{"sqlite": filepath.Join(t.TempDir(), "jobs.db"), "postgres": emptyDatabase(t)} {
		t.Run(name, func(t *testing.T) {
			said := &sayings{succeeded: map[springtide.RunID]springtide.Fence{}}
			for range 12 {
				said.listenUntilKilled(t, location)
				if name == "postgres" {
					awaitAlone(t, location)
				}
				l, err := Open(t.Context(), location, Options{})
				if err != nil {
					t.Fatal(err)
				}
				said.check(t, l)
				l.Close()
			}
			if name == "sqlite" {
				checkIntegrity(t, location)
			}
		})
	}
}

func (s *sayings) check(t *testing.T, l *Ledger) {
	t.Helper()
	ctx := t.Context()
	for _, id := range s.enqueued {
		run, err := l.Run(ctx, quiz, id)
		if err != nil {
			t.Errorf("%s was enqueued: %v", id, err)
		}
		if fence, ok := s.succeeded[id]; ok && (run.State != springtide.RunSucceeded || run.Fence != fence) {
			t.Errorf("%s succeeded under fence %d, and is %s under %d", id, fence, run.State, run.Fence)
		}
	}
	count := func(query string) int {
		n, err := one(l.view(ctx), nil, value[int], query)
		if err != nil {
			t.Errorf("%s: %v", query, err)
		}
		return n
	}
	slots := count("SELECT count(*) FROM runs WHERE slot <> 0")
	expected := count("SELECT coalesce((max(slot) - min(slot)) / 1000000 + 1, 0) FROM runs WHERE slot <> 0")
	last := count("SELECT coalesce(max(last_slot - (SELECT coalesce(max(slot), 0) FROM runs)), 0) FROM schedules")
	if slots != expected || last != 0 {
		t.Errorf("%d slots, expected are %d; the schedule is %d ahead", slots, expected, last)
	}
	// What is derived agrees with what it is derived from.
	for _, wrong := range []string{
		`SELECT count(*) FROM batches b WHERE ended <> (SELECT count(*) FROM runs WHERE environment = b.environment AND batch = b.name AND state = 'succeeded')`,
		`SELECT count(*) FROM batches WHERE (ended = size) <> (done_run <> 0)`,
		`SELECT count(*) FROM batches WHERE done_run <> 0 AND done_run NOT IN (SELECT id FROM runs WHERE command = 'done')`,
		`SELECT (SELECT count(*) FROM runs WHERE command = 'done') - (SELECT count(*) FROM batches WHERE done_run <> 0)`,
		`SELECT CAST((SELECT coalesce(sum(succeeded), 0) FROM queue_counts) AS bigint) - (SELECT count(*) FROM runs WHERE state = 'succeeded')`,
		`SELECT count(*) FROM (SELECT fence FROM runs WHERE fence <> 0 GROUP BY fence HAVING count(*) > 1) AS twice`,
	} {
		if n := count(wrong); n != 0 {
			t.Errorf("%s: %d", wrong, n)
		}
	}
}

func checkIntegrity(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check says %q (%v)", verdict, err)
	}
}
