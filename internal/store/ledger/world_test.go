package ledger

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// world is a ledger and a hand on its clock.
type world struct {
	*Ledger
	t testing.TB
	// step moves the database's clock, by a negative duration back.
	step func(time.Duration)
	// again opens the same ledger once more.
	again func() *Ledger
}

// onBoth runs a test on an empty ledger in each database.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteWorld(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, postgresWorld(t)) })
}

// shared is the PostgreSQL that tests share, each with a database of its own.
var shared struct {
	sync.Mutex
	*postgres15.Cluster
	folder    string
	databases int
}

// TestMain stops it in the end.
func TestMain(m *testing.M) {
	if location := os.Getenv(workerLocation); location != "" {
		fmt.Fprintln(os.Stderr, workForEver(context.Background(), location))
		os.Exit(1)
	}
	code := m.Run()
	if shared.Cluster != nil {
		shared.Stop()
		os.RemoveAll(shared.folder)
	}
	os.Exit(code)
}

// emptyDatabase gives the address of a new database.
func emptyDatabase(t testing.TB) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.Cluster == nil {
		folder, err := os.MkdirTemp("", "ledger-")
		if err == nil {
			err = os.Chmod(folder, 0o755)
		}
		if err == nil {
			shared.folder = folder
			shared.Cluster, err = postgres15.New(folder, postgres15.Options{NoFsync: true})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	shared.databases++
	address, err := shared.URL(t.Context(), fmt.Sprint("ledger", shared.databases))
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// epoch is when it is in a test at first.
var epoch = time.Date(2026, time.March, 2, 8, 0, 0, 0, time.UTC)

func postgresWorld(t testing.TB) *world {
	t.Helper()
	location := emptyDatabase(t)
	w := &world{t: t}
	now := epoch
	w.step = func(by time.Duration) {
		now = now.Add(by)
		_, err := w.reader.exec(w.t.Context(), "UPDATE stepped SET now = $1", now)
		w.must(err)
	}
	w.again = func() *Ledger {
		l, err := Open(context.Background(), location, Options{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		w.must(err)
		t.Cleanup(func() { l.Close() })
		const real, stepped = "clock_timestamp()", "(SELECT now FROM stepped)"
		l.dialect.now = strings.ReplaceAll(l.dialect.now, real, stepped)
		l.dialect.advance = strings.ReplaceAll(l.dialect.advance, real, stepped)
		return l
	}
	w.Ledger = w.again()
	_, err := w.reader.exec(w.t.Context(), "CREATE TABLE stepped (now timestamptz)")
	w.must(err)
	_, err = w.reader.exec(w.t.Context(), "INSERT INTO stepped VALUES ($1)", now)
	w.must(err)
	w.tick()
	return w
}

func sqliteWorld(t testing.TB) *world {
	t.Helper()
	var mutex sync.Mutex
	now := epoch
	path := filepath.Join(t.TempDir(), "jobs.db")
	w := &world{t: t}
	w.step = func(by time.Duration) {
		mutex.Lock()
		defer mutex.Unlock()
		now = now.Add(by)
	}
	w.again = func() *Ledger {
		l, err := Open(context.Background(), path, Options{
			Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
			Now: func() time.Time {
				mutex.Lock()
				defer mutex.Unlock()
				return now
			},
		})
		w.must(err)
		t.Cleanup(func() { l.Close() })
		return l
	}
	w.Ledger = w.again()
	w.tick()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// tick ticks once.
func (w *world) tick() jobs.Ticked {
	w.t.Helper()
	ticked, err := w.Tick(context.Background())
	w.must(err)
	return ticked
}

// pass lets time pass while somebody ticks every second, and gives what happened.
func (w *world) pass(long time.Duration) (all jobs.Ticked) {
	w.t.Helper()
	for long > 0 {
		by := min(long, time.Second)
		w.step(by)
		long -= by
		ticked := w.tick()
		all.Available += ticked.Available
		all.Happened = append(all.Happened, ticked.Happened...)
	}
	return all
}

// outage lets time pass while nobody ticks.
func (w *world) outage(long time.Duration) jobs.Ticked {
	w.t.Helper()
	w.step(long)
	return w.tick()
}

func (w *world) enqueue(list ...springtide.Job) []springtide.RunID {
	w.t.Helper()
	enqueued, err := w.Enqueue(context.Background(), quiz, list, nil)
	w.must(err)
	return runIDs(enqueued)
}

func runIDs(enqueued []jobs.Enqueued) []springtide.RunID {
	ids := make([]springtide.RunID, len(enqueued))
	for i, e := range enqueued {
		ids[i] = e.Run
	}
	return ids
}

func (w *world) claim(most int, queues ...springtide.QueueName) []springtide.Run {
	w.t.Helper()
	runs, err := w.Claim(context.Background(), jobs.Claim{Environment: quiz, Most: most, Queues: queues, Runner: "a", Release: 3})
	w.must(err)
	return runs
}

// claimOne claims the only run that there must be.
func (w *world) claimOne() springtide.Run {
	w.t.Helper()
	runs := w.claim(100)
	if len(runs) != 1 {
		w.t.Fatalf("claimed %d runs, want 1", len(runs))
	}
	return runs[0]
}

func hold(run springtide.Run) jobs.Hold { return jobs.Hold{Run: run.ID, Fence: run.Fence} }

func (w *world) start(runs ...springtide.Run) []bool {
	w.t.Helper()
	holds := make([]jobs.Hold, len(runs))
	for i, run := range runs {
		holds[i] = hold(run)
	}
	started, err := w.Start(context.Background(), holds)
	w.must(err)
	return started
}

func (w *world) finish(run springtide.Run, outcome jobs.Outcome) bool {
	w.t.Helper()
	outcome.Hold = hold(run)
	accepted, err := w.Finish(context.Background(), []jobs.Outcome{outcome})
	w.must(err)
	return accepted[0]
}

func (w *world) beat(run springtide.Run) jobs.Standing {
	w.t.Helper()
	standings, err := w.Heartbeat(context.Background(), []jobs.Beat{{Hold: hold(run)}})
	w.must(err)
	return standings[0]
}

func (w *world) run(id springtide.RunID) springtide.Run {
	w.t.Helper()
	run, err := w.Run(context.Background(), quiz, id)
	w.must(err)
	return run
}

func (w *world) want(id springtide.RunID, state springtide.RunState) springtide.Run {
	w.t.Helper()
	run := w.run(id)
	if run.State != state {
		w.t.Fatalf("run is %s, want %s (%s)", run.State, state, run.Reason)
	}
	return run
}

func (w *world) set(said springtide.Jobs) {
	w.t.Helper()
	w.must(w.SetJobs(context.Background(), quiz, 1, said))
}

// schedule sets one schedule, and nothing else.
func (w *world) schedule(spec springtide.Schedule) {
	w.t.Helper()
	w.set(springtide.Jobs{Schedules: map[springtide.ScheduleName]springtide.Schedule{"tidy": complete2(spec)}})
}

func complete2(spec springtide.Schedule) springtide.Schedule {
	spec.Cron = cmp.Or(spec.Cron, "* * * * *")
	spec.Missed = cmp.Or(spec.Missed, springtide.MissedLatest)
	spec.Overlap = cmp.Or(spec.Overlap, springtide.OverlapSkip)
	return spec
}

// slots gives the runs of the schedule, the oldest slot first.
func (w *world) slots() []springtide.Run {
	w.t.Helper()
	runs, err := w.Runs(context.Background(), jobs.Query{Environment: quiz, Schedule: "tidy", Most: 1000})
	w.must(err)
	slices.SortFunc(runs, func(a, b springtide.Run) int { return a.Slot.Compare(b.Slot) })
	return runs
}

func states(runs []springtide.Run) []springtide.RunState {
	found := make([]springtide.RunState, len(runs))
	for i, run := range runs {
		found[i] = run.State
	}
	return found
}

func (w *world) wantStates(want ...springtide.RunState) []springtide.Run {
	w.t.Helper()
	slots := w.slots()
	if got := states(slots); !slices.Equal(got, want) {
		w.t.Fatalf("slots are %v, want %v", got, want)
	}
	return slots
}

func kinds(happened []jobs.Happened) []string {
	found := make([]string, len(happened))
	for i, h := range happened {
		found[i] = h.Kind
	}
	return found
}

func (w *world) wantHappened(ticked jobs.Ticked, want ...string) {
	w.t.Helper()
	got := kinds(ticked.Happened)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.t.Fatalf("happened: %v, want %v", got, want)
	}
}

func wantKind(t testing.TB, err error, kind springtide.ErrorKind) {
	t.Helper()
	if springtide.KindOf(err) != kind {
		t.Fatalf("got %v, want an error of kind %s", err, kind)
	}
	if problem, ok := err.(*springtide.Error); !ok || problem.Hint == "" { //nolint:errorlint // it must be one itself
		t.Errorf("%v has no hint", err)
	}
}

func (w *world) queue(name springtide.QueueName) jobs.QueueStatus {
	w.t.Helper()
	queues, err := w.Queues(context.Background(), quiz)
	w.must(err)
	for _, q := range queues {
		if q.Name == name {
			return q
		}
	}
	w.t.Fatalf("there is no queue %s", name)
	return jobs.QueueStatus{}
}
