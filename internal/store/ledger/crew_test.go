package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	postgres15 "github.com/springtide/springtide/test/postgres"
)

// crew are workers on several handles of one ledger, who write down what they
// were told.
type crew struct {
	t        *testing.T
	handles  []*Ledger
	mutex    sync.Mutex
	claims   map[jobs.Hold]bool
	enqueued map[springtide.RunID]bool
	accepted map[springtide.RunID]springtide.Fence
}

func newCrew(t *testing.T, location string, handles int) *crew {
	c := &crew{t: t, claims: map[jobs.Hold]bool{}, enqueued: map[springtide.RunID]bool{}, accepted: map[springtide.RunID]springtide.Fence{}}
	for range handles {
		l, err := Open(t.Context(), location, Options{Connections: 3})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		c.handles = append(c.handles, l)
	}
	return c
}

// until calls until the database has answered; a server may be away for a while.
func until[T any](ctx context.Context, t *testing.T, call func() (T, error)) T {
	for {
		answer, err := call()
		if err == nil || ctx.Err() != nil {
			return answer
		}
		if springtide.KindOf(err) != springtide.Unavailable {
			t.Errorf("while the server was away: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// enqueue takes so many jobs in, in calls that are repeated until they are answered.
func (c *crew) enqueue(l *Ledger, name string, calls int) {
	for n := range calls {
		list := make([]springtide.Job, 5)
		for i := range list {
			list[i] = springtide.Job{Key: fmt.Sprint(name, "-", n, "-", i), Attempts: 1000}
		}
		for _, e := range until(c.t.Context(), c.t, func() ([]jobs.Enqueued, error) { return l.Enqueue(c.t.Context(), quiz, list, nil) }) {
			c.mutex.Lock()
			c.enqueued[e.Run] = true
			c.mutex.Unlock()
		}
	}
}

// work claims, and ends what it claims in one way or another, until it is told
// to stop.
func (c *crew) work(ctx context.Context, l *Ledger, name string) {
	t := c.t
	for ctx.Err() == nil {
		runs := until(ctx, t, func() ([]springtide.Run, error) {
			return l.Claim(ctx, jobs.Claim{Environment: quiz, Most: 1 + rand.IntN(8), Runner: name})
		})
		if len(runs) == 0 {
			_ = until(ctx, t, func() (jobs.Ticked, error) { return l.Tick(ctx) })
			time.Sleep(time.Millisecond)
			continue
		}
		var outcomes []jobs.Outcome
		for _, run := range runs {
			c.mutex.Lock()
			if c.claims[hold(run)] {
				t.Errorf("run %s was claimed twice under fence %d", run.ID, run.Fence)
			}
			c.claims[hold(run)] = true
			c.mutex.Unlock()
			outcome := jobs.Outcome{Hold: hold(run), Verdict: jobs.Succeeded}
			switch rand.IntN(10) {
			case 0:
				outcome.Verdict = jobs.Returned
			case 1:
				outcome.Verdict, outcome.RetryAfter = jobs.Failed, time.Millisecond
			case 2:
				continue // it is lost
			}
			outcomes = append(outcomes, outcome)
		}
		c.end(ctx, l, outcomes)
	}
}

func (c *crew) end(ctx context.Context, l *Ledger, outcomes []jobs.Outcome) {
	holds := make([]jobs.Hold, len(outcomes))
	for i, o := range outcomes {
		holds[i] = o.Hold
	}
	may := until(ctx, c.t, func() ([]bool, error) { return l.Start(ctx, holds) })
	var begun []jobs.Outcome
	for i := range may {
		if may[i] {
			begun = append(begun, outcomes[i])
		}
	}
	accepted := until(ctx, c.t, func() ([]bool, error) { return l.Finish(ctx, begun) })
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for i := range accepted {
		if !accepted[i] || begun[i].Verdict != jobs.Succeeded {
			continue
		}
		if fence, twice := c.accepted[begun[i].Run]; twice {
			c.t.Errorf("two results of run %s were accepted, under fences %d and %d", begun[i].Run, fence, begun[i].Fence)
		}
		c.accepted[begun[i].Run] = begun[i].Fence
	}
}

// run has everybody at work until all that was enqueued has succeeded, while
// something is done to the ledger.
func (c *crew) run(calls int, meanwhile func()) {
	ctx, stop := context.WithTimeout(c.t.Context(), 6*time.Minute)
	defer stop()
	var enqueuers, workers sync.WaitGroup
	for n, l := range c.handles {
		enqueuers.Go(func() { c.enqueue(l, fmt.Sprint("e", n), calls) })
		workers.Go(func() { c.work(ctx, l, fmt.Sprint("w", n)) })
	}
	meanwhile()
	enqueuers.Wait()
	for !c.allSucceeded(ctx) {
		if ctx.Err() != nil {
			c.t.Fatal("it takes too long")
		}
		// The leases of those that were lost run out sooner.
		_ = until(ctx, c.t, func() (struct{}, error) {
			return struct{}{}, c.handles[0].write(ctx, func(tx *transaction) error {
				_, err := tx.exec("UPDATE clock SET uptime = uptime + 10000000")
				return err
			})
		})
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	workers.Wait()
}

func (c *crew) allSucceeded(ctx context.Context) bool {
	queues := until(ctx, c.t, func() ([]jobs.QueueStatus, error) { return c.handles[0].Queues(ctx, quiz) })
	return len(queues) == 1 && queues[0].States[springtide.RunSucceeded] == len(c.enqueued)
}

func (c *crew) check() {
	t := c.t
	if len(c.enqueued) == 0 {
		t.Fatal("nothing was enqueued")
	}
	for id := range c.enqueued {
		run, err := c.handles[0].Run(t.Context(), quiz, id)
		if err != nil || run.State != springtide.RunSucceeded {
			t.Errorf("run %s is %s, %v", id, run.State, err)
		}
		// An answer that got lost when the test ended is nobody's.
		if fence, known := c.accepted[id]; known && fence != run.Fence {
			t.Errorf("run %s was accepted under fence %d and has %d", id, fence, run.Fence)
		}
	}
}

func TestManyServersShareOneLedger(t *testing.T) {
	t.Run("postgres", func(t *testing.T) {
		c := newCrew(t, emptyDatabase(t), 8)
		c.run(40, func() {})
		c.check()
	})
	t.Run("sqlite", func(t *testing.T) {
		c := newCrew(t, filepath.Join(t.TempDir(), "jobs.db"), 1)
		for range 7 {
			c.handles = append(c.handles, c.handles[0])
		}
		c.run(40, func() {})
		c.check()
	})
}

func TestADatabaseThatIsRestartedLosesNothing(t *testing.T) {
	server := postgres15.Start(t)
	c := newCrew(t, server.URL("ledger"), 4)
	c.run(100, func() {
		for n := range 4 {
			time.Sleep(300 * time.Millisecond) // it is to be hit in the middle of anything
			switch n % 3 {
			case 0:
				server.Restart(postgres15.Immediate)
			case 1:
				server.Kill()
				server.Start()
			case 2:
				server.Restart(postgres15.Fast)
			}
		}
	})
	c.check()
}

func TestADatabaseThatIsAwayIsUnavailableAndComesBack(t *testing.T) {
	server := postgres15.Start(t)
	location := server.URL("ledger")
	l, err := Open(t.Context(), location, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	server.Stop()
	_, err = l.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil)
	wantKind(t, err, springtide.Unavailable)
	_, err = Open(t.Context(), location, Options{})
	wantKind(t, err, springtide.Unavailable)
	server.Start()
	if _, err := l.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil); err != nil {
		t.Error(err)
	}
	if _, err := l.reader.exec(t.Context(), "ALTER DATABASE ledger SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	server.Restart(postgres15.Fast)
	_, err = l.Enqueue(t.Context(), quiz, []springtide.Job{{}}, nil)
	wantKind(t, err, springtide.Unavailable)
	if _, err := l.Queues(t.Context(), quiz); err != nil {
		t.Errorf("reading: %v", err)
	}
}

func TestWhoIsStoppedInATransactionLetsGoOfItsLocks(t *testing.T) {
	w := postgresWorld(t)
	id := w.enqueue(springtide.Job{})[0]
	err := w.write(t.Context(), func(tx *transaction) error {
		if _, err := tx.lockRun(runNumber(id)); err != nil {
			return err
		}
		var stopped error
		if _, err := w.Cancel(t.Context(), quiz, id); err != nil { // it waits for us, and we for longer than is allowed
			stopped = err
		}
		_, err := tx.exec("UPDATE runs SET priority = 1")
		return errors.Join(err, stopped)
	})
	wantKind(t, err, springtide.Unavailable)
	w.want(id, springtide.RunCancelled)
}
