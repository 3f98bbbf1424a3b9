package ledger

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/server"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

// session is one with PostgreSQL like those of a server.
type session struct {
	*pgx.Conn
	t *testing.T
}

func newSession(t *testing.T, location string) session {
	t.Helper()
	config, err := server.Parse(owner, location, settings())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return session{conn, t}
}

// awaitAlone returns when nobody else is connected to the database: what a process
// that was killed has asked for may still be done.
func awaitAlone(t *testing.T, location string) {
	t.Helper()
	s := newSession(t, location)
	defer s.Close(context.Background())
	for others, deadline := 1, time.Now().Add(time.Minute); others > 0; time.Sleep(time.Millisecond) {
		err := s.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database() AND pid <> pg_backend_pid()`).Scan(&others)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d are still connected: %v", others, err)
		}
	}
}

func (s session) say(statement string, args ...any) {
	s.t.Helper()
	if _, err := s.Exec(s.t.Context(), statement, args...); err != nil {
		s.t.Fatal(err)
	}
}

// PostgreSQL ends who is stopped in a transaction, and who waits in a circle, by
// its wall clock.
func TestNobodyIsInTheWayForGoodWhenTheClockGoesBack(t *testing.T) {
	folder, err := os.MkdirTemp("", "clock-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	clock := filepath.Join(folder, "clock")
	set := func(offset string) {
		if err := os.WriteFile(clock+".new", []byte(offset), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(clock+".new", clock); err != nil {
			t.Fatal(err)
		}
	}
	set("+3600s")
	location := postgres15.Start(t, postgres15.Options{Faketime: clock, NoFsync: true}).URL("ledger")
	l, err := Open(t.Context(), location, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	enqueued, err := l.Enqueue(t.Context(), quiz, []springtide.Job{{}, {}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	// One is stopped with the clock in its hand, two wait for each other.
	stopped, first, second := newSession(t, location), newSession(t, location), newSession(t, location)
	stopped.say("BEGIN")
	stopped.say("SELECT * FROM clock FOR UPDATE")
	const lock = "SELECT 1 FROM runs WHERE id = $1 FOR UPDATE"
	for i, s := range []session{first, second} {
		s.say("SET deadlock_timeout = '1min'") // until then the clock must have gone back
		s.say("SET lock_timeout = '2min'")
		s.say("BEGIN")
		s.say(lock, runNumber(enqueued[i].Run))
	}
	var circle sync.WaitGroup
	circle.Go(func() { _, _ = first.Exec(context.Background(), lock, runNumber(enqueued[1].Run)) })
	circle.Go(func() { _, _ = second.Exec(context.Background(), lock, runNumber(enqueued[0].Run)) })
	for waiting, deadline := 0, time.Now().Add(time.Minute); waiting < 2; {
		if time.Now().After(deadline) {
			t.Fatal("they do not wait for each other")
		}
		if waiting, err = one(l.view(t.Context()), nil, value[int], "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"); err != nil {
			t.Fatal(err)
		}
	}
	set("+0s")
	for name, try := range map[string]func() error{
		"time does not pass": func() error { _, err := l.Tick(t.Context()); return err },
		"a run is not cancelled": func() error {
			_, err := l.Cancel(t.Context(), quiz, enqueued[0].Run)
			return err
		},
	} {
		for deadline := time.Now().Add(time.Minute); ; {
			err := try()
			if err == nil {
				break
			}
			wantKind(t, err, springtide.Unavailable)
			if time.Now().After(deadline) {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	circle.Wait()
}

func TestServersDoNotWaitForEachOtherInACircle(t *testing.T) {
	location := emptyDatabase(t)
	c := newCrew(t, location, 6)
	ctx := t.Context()
	l := c.handles[0]
	said := springtide.Jobs{Schedules: map[springtide.ScheduleName]springtide.Schedule{}}
	for n := range 12 {
		overlap := []springtide.Overlap{springtide.OverlapReplace, springtide.OverlapQueue}[n%2]
		said.Schedules[springtide.ScheduleName(fmt.Sprint("s", n))] = springtide.Schedule{Cron: "every 1s", Missed: springtide.MissedAll, Overlap: overlap}
	}
	must := func(err error) {
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
	}
	must(l.SetJobs(ctx, quiz, 1, said))
	var workers sync.WaitGroup
	for n, l := range c.handles {
		workers.Go(func() {
			for began := time.Now(); time.Since(began) < 6*time.Second; {
				_, err := l.Tick(ctx)
				must(err)
				_, err = l.Enqueue(ctx, quiz, make([]springtide.Job, 20), nil)
				must(err)
				runs, err := l.Claim(ctx, jobs.Claim{Environment: quiz, Most: 100, Runner: fmt.Sprint(n)})
				must(err)
				beats, outcomes, holds := []jobs.Beat{}, []jobs.Outcome{}, []jobs.Hold{}
				for _, run := range slices.Backward(runs) { // in another order than they were made
					beats = append(beats, jobs.Beat{Hold: hold(run)})
					holds = append(holds, hold(run))
					outcomes = append(outcomes, jobs.Outcome{Hold: hold(run), Verdict: jobs.Succeeded})
				}
				// Two servers are told the same at the same time.
				var both sync.WaitGroup
				next := c.handles[(n+1)%len(c.handles)]
				both.Go(func() { _, err := l.Start(ctx, holds); must(err) })
				both.Go(func() { _, err := next.Heartbeat(ctx, beats); must(err) })
				both.Go(func() { _, err := next.Finish(ctx, outcomes); must(err) })
				both.Wait()
			}
		})
	}
	workers.Wait()
	time.Sleep(1100 * time.Millisecond) // PostgreSQL gathers what it counts
	circles, err := one(l.view(ctx), nil, value[int], "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
	must(err)
	if circles != 0 {
		said, _ := os.ReadFile(shared.Log())
		t.Errorf("%d times somebody waited in a circle:\n%s", circles, said)
	}
}
