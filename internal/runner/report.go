package runner

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// tellFor is how long the end of a run is told to a platform that does not
	// answer. The lease may hold for longer than it was said to: while no server of
	// the platform is up its time stands still.
	tellFor = 5 * time.Minute
	// reportSize and reportCount bound one request, in bytes and runs.
	reportSize  = 1 << 20
	reportCount = 500
)

// reports are the ends of runs that the platform is to be told of.
type reports struct {
	mu    sync.Mutex
	queue []*ending
	added chan struct{}
}

// ending is the end of one run.
type ending struct {
	jobs.Completion
	// settled is closed once the platform has answered, or will not.
	settled chan struct{}
	giveUp  time.Time
	// alone says that it is sent by itself: one of several was refused.
	alone bool
}

func newReports() *reports { return &reports{added: make(chan struct{}, 1)} }

// tell returns once the platform knows how the run ended, or is not to know: its
// lease was lost, or the platform is away for too long.
func (r *runner) tell(ctx context.Context, a *attempt, ended jobs.Completion) {
	e := &ending{Completion: ended, settled: make(chan struct{}), giveUp: time.Now().Add(tellFor)}
	r.reports.add(e)
	var decided <-chan struct{}
	if a != nil {
		decided = a.decided
	}
	for {
		select {
		case <-e.settled:
			return
		case <-decided:
			if fate(a.fate.Load()) == fateLost {
				r.reports.remove(e)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (q *reports) add(e *ending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = append(q.queue, e)
	q.wake()
}

// wake has the loop look; the mutex is held.
func (q *reports) wake() {
	select {
	case q.added <- struct{}{}:
	default:
	}
}

func (q *reports) remove(e *ending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queue = slices.DeleteFunc(q.queue, func(other *ending) bool { return other == e })
}

// batch gives what is sent next; it stays in the queue.
func (q *reports) batch() (batch []*ending) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for _, e := range q.queue {
		size += len(e.Output) + len(e.Result) + 1000
		if len(batch) > 0 && (size > reportSize || len(batch) >= reportCount || e.alone || batch[0].alone) {
			break
		}
		batch = append(batch, e)
	}
	return batch
}

// settle takes those out of the queue that the platform has answered about.
func (q *reports) settle(batch []*ending) {
	for _, e := range batch {
		q.remove(e)
		close(e.settled)
	}
}

// report tells the platform how runs ended, many at a time, until life ends.
func (r *runner) report(life context.Context) {
	var p patience
	for {
		batch := r.reports.batch()
		if len(batch) == 0 {
			select {
			case <-r.reports.added:
				continue
			case <-life.Done():
				return
			}
		}
		if err := r.reportBatch(life, batch); err == nil {
			p = patience{}
			continue
		} else if p.isOver(err) {
			r.refuse(err)
			return
		} else {
			r.complain(&p, "complete", err)
		}
		wait(life, pause(p.failures), nil)
		if life.Err() != nil {
			return
		}
	}
}

// reportBatch makes one request. The error is that of a platform that has not
// taken notice.
func (r *runner) reportBatch(life context.Context, batch []*ending) error {
	completions := make([]jobs.Completion, len(batch))
	for i, e := range batch {
		completions[i] = e.Completion
	}
	accepted, err := r.platform.complete(life, completions)
	switch {
	case err == nil:
		for i, e := range batch {
			if !accepted[i] {
				r.options.Log.Warn("the end of a run was not accepted: its lease was lost", "run", e.Run)
			}
		}
		r.reports.settle(batch)
	case springtide.KindOf(err) == springtide.Invalid && len(batch) > 1:
		for _, e := range batch {
			e.alone = true
		}
	case springtide.KindOf(err) == springtide.Invalid:
		r.options.Log.Error("the platform refuses how a run ended", "run", batch[0].Run, "error", err)
		r.reports.settle(batch)
	default:
		now := time.Now()
		late := slices.DeleteFunc(slices.Clone(batch), func(e *ending) bool { return now.Before(e.giveUp) })
		for _, e := range late {
			r.options.Log.Error("the platform was never told how a run ended", "run", e.Run, "error", err)
		}
		r.reports.settle(late)
		return err
	}
	return nil
}
