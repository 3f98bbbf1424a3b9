package jobs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/postgres"
	"github.com/springtide/springtide/test/story"
)

const patient = `app: shop
processes:
  worker:
    queues: [default]
    command: sh task.sh
    scale: { min: 0, max: 1, target: { concurrency: 4 } }
schedules:
  tick: { every: 1s, command: "true", overlap: allow }
`

func TestRunsGoOnWhileTheDatabaseIsAwayAndNothingIsLost(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	s := open(t, story.Platform(t, "--ledger", server.URL("jobs")), patient, file{"task.sh", longTask}, file{"VERSION", "blue\n"})
	through, _ := s.begin("through")
	during, _ := s.begin("during")
	s.renewed(during)
	scheduled := s.enqueue("--payload", `"later"`, "--delay", "5s")

	server.Stop()
	began := time.Now()
	s.put("during.go") // it ends while nobody can be told
	text := s.refused(6, "jobs", "enqueue")
	if took := time.Since(began); !strings.Contains(text, "PostgreSQL") || !strings.Contains(text, "hint: ") || took > 15*time.Second {
		t.Errorf("without a database, after %s, it is told: %s", took, text)
	}
	if status, err := s.Status(t.Context()); err != nil || len(status.Edges) == 0 {
		t.Errorf("without a database the platform says %+v, %v", status, err)
	}
	time.Sleep(6*time.Second - time.Since(began)) // 20 s after the last heartbeat the runs would be ended
	server.Start()
	for _, name := range []string{"through", "later"} {
		s.put(name + ".go")
	}
	for _, run := range []springtide.RunID{through, during, scheduled} {
		if now := s.await(run, springtide.RunSucceeded); now.Attempt != 1 {
			t.Errorf("after an outage: %+v", now)
		}
	}

	long, _ := s.begin("long")
	silent, _ := s.begin("silent")
	lost := s.await(silent, springtide.RunRunning)
	server.Kill()
	began = time.Now()
	s.put("long.go")
	gone(t, lost) // its lease cannot be renewed
	time.Sleep(20*time.Second - time.Since(began))
	back := time.Now()
	server.Start()
	if now := s.await(long, springtide.RunSucceeded); now.Attempt != 1 {
		t.Errorf("after a long outage: %+v", now)
	}
	// Time stood still meanwhile: of the 30 s of its lease at least 20 were left.
	if now := s.show(silent); (now.State != springtide.RunRunning || now.Attempt != 1) && time.Since(back) < 20*time.Second {
		t.Errorf("while the lease of a run is not over it is %+v", now)
	}
	checkSlots(t, s)
}

// renewed waits until the leases have been renewed since a run began, just now: that
// tells its progress.
func (s *shop) renewed(run springtide.RunID) {
	s.t.Helper()
	s.awaitRun(run, "at 50%", func(r springtide.Run) bool { return r.Progress.Percent == 50 })
}

// checkSlots waits for a slot that ran after now, and checks that none is missing.
func checkSlots(t *testing.T, s *shop) {
	t.Helper()
	now := time.Now()
	story.Eventually(t, "slots that run again", patience, func() bool {
		ran := s.runs(jobs.Query{Schedule: "tick", States: []springtide.RunState{springtide.RunSucceeded}})
		return len(ran) > 0 && ran[0].Slot.After(now)
	})
	eachSlotOnce(t, s.runs(jobs.Query{Schedule: "tick"}), time.Second)
}

func TestADatabaseThatIsReadOnlyIsToldAndRecoversByItself(t *testing.T) {
	t.Parallel()
	server := postgres.Start(t)
	address := server.URL("jobs")
	s := open(t, story.Platform(t, "--ledger", address), patient, file{"task.sh", longTask}, file{"VERSION", "blue\n"})
	run, _ := s.begin("run")
	s.renewed(run)
	connection, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	readOnly := func(value string) {
		t.Helper()
		for _, statement := range []string{
			"ALTER DATABASE jobs SET default_transaction_read_only = " + value,
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'jobs'",
		} {
			if _, err := connection.Exec(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
	}
	readOnly("on")
	story.Eventually(t, "a job to be refused by a read-only database", patience, func() bool { // it may be taken by a connection that is still to end
		text, _ := s.command("jobs", "enqueue").CombinedOutput()
		return strings.Contains(string(text), "read-only")
	})
	s.refused(6, "jobs", "enqueue")
	if now := s.show(run); now.State != springtide.RunRunning {
		t.Errorf("while the database is read-only there is %+v", now)
	}
	s.put("run.go")
	readOnly("off")
	if now := s.await(run, springtide.RunSucceeded); now.Attempt != 1 {
		t.Errorf("after the database was read-only: %+v", now)
	}
	checkSlots(t, s)
}

func TestAFullDiskRefusesJobsLosesNoneAndRecoversByItself(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may mount a disk")
	}
	t.Parallel()
	data := filepath.Join(story.Folder(t), "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=160m,mode=755"); err != nil {
		t.Skip("no disk can be mounted here: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	log := &strings.Builder{}
	p, err := platform.Start(t.Context(), platform.Options{Tide: story.Binary(t), Data: data, Output: log})
	if err != nil {
		t.Fatal(err, log)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil || t.Failed() {
			t.Logf("the platform ended with %v and said\n%s", err, log)
		}
	})
	s := open(t, p, patient, file{"task.sh", longTask}, file{"VERSION", "blue\n"})
	run := s.enqueue("--", "echo begun >"+s.desk+"/begun; while ! test -e "+s.desk+"/run.go; do sleep 0.05; done")
	s.find("begun")
	before := must(p.Status(t.Context())).Processes

	fill := exec.CommandContext(t.Context(), "sh", "-c", "cat /dev/zero >"+filepath.Join(data, "filler"))
	if text, err := fill.CombinedOutput(); err == nil {
		t.Fatalf("the disk was not filled: %s", text)
	}
	var text string
	story.Eventually(t, "a job to be refused", patience, func() bool { // what the database has reserved holds some
		command := s.command("jobs", "enqueue", "--delay", "1h", "--payload", `"`+strings.Repeat("x", 100<<10)+`"`)
		output, err := command.CombinedOutput()
		text = string(output)
		return err != nil
	})
	t.Log(text)
	if now := s.show(run); now.State != springtide.RunRunning {
		t.Errorf("while the disk is full there is %+v", now)
	}
	s.put("run.go") // soon: its lease is not renewed any more
	text = s.refused(6, "jobs", "enqueue", "--payload", `"`+strings.Repeat("x", 100<<10)+`"`)
	if !strings.Contains(text, "error: ") || !strings.Contains(text, "full") {
		t.Errorf("of a full disk it is told: %s", text)
	}
	time.Sleep(5 * time.Second) // all that writes has tried to
	if err := os.Remove(filepath.Join(data, "filler")); err != nil {
		t.Fatal(err)
	}
	if now := s.await(run, springtide.RunSucceeded); now.Attempt != 1 {
		t.Errorf("after the disk was full: %+v", now)
	}
	if after := must(p.Status(t.Context())).Processes; after.Control != before.Control {
		t.Error("the control plane ended when the disk was full")
	}
	checkSlots(t, s)
}
