// Package torture proves the promise of the jobs ledger: everybody who has to do
// with one is killed and stopped again and again, its database is, its clock goes
// back and forth, and manifests are deployed. Then a program that reads only the
// tables, test/torture/check, recomputes whether each slot was recorded once,
// each job has one accepted result, and nothing was lost.
package torture

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers itself as pgx

	"github.com/springtide/springtide/test/postgres"
)

var (
	seed      = flag.Uint64("torture.seed", 0, "of the random numbers; 0: another each time")
	jobsFlag  = flag.Int("torture.jobs", 100_000, "how many jobs are enqueued at least, on PostgreSQL")
	slotsFlag = flag.Int("torture.slots", 10_000, "how many slots pass at least, on PostgreSQL")
	forFlag   = flag.Duration("torture.for", 150*time.Second, "how long the chaos lasts; peace takes another minute or two")
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "worker":
		err = work()
	case "server":
		err = serve()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// size is how much a torture is about; -short takes a tenth.
type size struct {
	jobs, slots int
	lasts       time.Duration
}

func sized(jobs, slots int, lasts time.Duration) size {
	if testing.Short() {
		return size{jobs / 10, slots / 10, lasts / 10}
	}
	return size{jobs, slots, lasts}
}

// random gives the random numbers of this time.
func random(t *testing.T) *rand.Rand {
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("-torture.seed=%d", chosen)
	return rand.New(rand.NewPCG(chosen, 0))
}

func TestEightServersOnOnePostgreSQLKeepTheirPromise(t *testing.T) {
	t.Parallel()
	s, dice := sized(*jobsFlag, *slotsFlag, *forFlag), random(t)
	// Of the schedules of each second 12 are made at a time.
	w := newWorld(t, max(1, int(1.2*float64(s.slots)/s.lasts.Seconds()/12)), 0)
	database := postgres.Start(t, postgres.Options{ // no power is cut here
		Faketime: w.clock, NoFsync: true, Settings: map[string]string{"shared_buffers": "256MB"},
	})
	t.Cleanup(func() { w.keep(database.Log(), "postgres.log") })
	w.location = database.URL("torture")
	server := func(listen, data string) *exec.Cmd {
		return w.program("servers", []string{"TIDE_LEDGER=" + w.location}, w.tide, "ledger", "--listen", listen, "--data", data, "--log-level", "warn")
	}
	w.addServer(server)
	w.prepare()
	for range 7 {
		w.addServer(server)
	}
	for i := range 8 {
		w.runners, w.workers = append(w.runners, w.addRunner(i)), append(w.workers, w.addWorker(i, i < 2))
	}
	c := &chaos{w: w, random: dice, restart: func(kind int) error {
		switch kind {
		case 0:
			return database.Cluster.Restart(postgres.Fast)
		case 1:
			return database.Cluster.Restart(postgres.Immediate)
		}
		if err := database.Cluster.Kill(); err != nil {
			return err
		}
		return database.Cluster.Start()
	}}
	made := torture(t, w, c, s, 4, 10, 1500*time.Millisecond)
	longJump(t, w, c)
	w.drain()
	w.retire()
	numbers := w.check()
	if made < int64(s.jobs) || numbers["slots recorded"] < s.slots {
		t.Errorf("%d jobs and %d slots are too few", made, numbers["slots recorded"])
	}
	if numbers["refused"] == 0 && !testing.Short() {
		t.Error("nobody ever told a stale result: the torture was too mild")
	}
}

// torture has jobs enqueued and chaos rage, and gives how many were acknowledged.
func torture(t *testing.T, w *world, c *chaos, s size, producers, commands int, each time.Duration) int64 {
	t.Helper()
	var made atomic.Int64
	produced := make(chan error, producers)
	for i := range producers {
		p := &producer{
			name: fmt.Sprint("producer-", i), random: rand.New(rand.NewPCG(c.random.Uint64(), 0)), client: newClient(w.apis, token),
			notes: w.notes, commands: commands,
		}
		go func() { produced <- p.produce(t.Context(), s.jobs/producers+1, s.lasts*9/10, &made) }()
	}
	began := time.Now()
	raging, calm := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.rage(raging, each)
	}()
	for range producers {
		if err := <-produced; err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d jobs were acknowledged in %s", made.Load(), time.Since(began).Round(time.Second))
	wait(t.Context(), s.lasts-time.Since(began))
	calm()
	<-ended
	return made.Load()
}

// longJump leaves only a few schedules, has the clock jump an hour ahead, and
// then back: the calendar stands still, and what is left can be brought to its end.
func longJump(t *testing.T, w *world, c *chaos) {
	t.Helper()
	w.deploy(func(p *plan) { p.last = true })
	want := len(w.plan.schedules())
	w.await("the schedules of the last deploy are there", func(here func(string) int) bool {
		return here("SELECT count(*) FROM springtide.schedules WHERE NOT gone") == want
	})
	w.await("slots with jitter have begun", func(here func(string) int) bool {
		return here("SELECT count(*) FROM springtide.runs WHERE state = 'scheduled' AND attempt = 0 AND slot <> 0") == 0
	})
	const calendar = "SELECT calendar FROM springtide.clock"
	before := 0
	w.await("the calendar is known", func(here func(string) int) bool { before = here(calendar); return before > 0 })
	c.move(time.Hour)
	w.await("the calendar has jumped", func(here func(string) int) bool {
		return here(calendar)-before > int((50 * time.Minute).Microseconds())
	})
	wait(t.Context(), 5*time.Second)
	c.move(-2 * time.Hour)
}
