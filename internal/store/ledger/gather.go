package ledger

import (
	"context"
	"sync"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// gatherBelow is how many jobs a call must have to be worth a statement of its own.
const gatherBelow = 50

// gatherer enqueues together what is asked for in many small calls at the same
// time: while some are being written, the others gather for the next statement.
type gatherer struct {
	write func(ctx context.Context, id springtide.EnvironmentID, completed []springtide.Job) ([]jobs.Enqueued, error)
	// limit is how many statements there are at the same time for an environment.
	limit   int
	mutex   sync.Mutex
	waiting map[springtide.EnvironmentID][]*gathered
	writing map[springtide.EnvironmentID]int
}

// gathered is a call that waits.
type gathered struct {
	jobs     []springtide.Job
	enqueued []jobs.Enqueued
	err      error
	done     chan struct{}
}

func newGatherer(limit int, write func(context.Context, springtide.EnvironmentID, []springtide.Job) ([]jobs.Enqueued, error)) *gatherer {
	return &gatherer{
		write: write, limit: limit,
		waiting: map[springtide.EnvironmentID][]*gathered{}, writing: map[springtide.EnvironmentID]int{},
	}
}

func (g *gatherer) enqueue(ctx context.Context, id springtide.EnvironmentID, completed []springtide.Job) ([]jobs.Enqueued, error) {
	if len(completed) >= gatherBelow {
		return g.write(ctx, id, completed)
	}
	call := &gathered{jobs: completed, done: make(chan struct{})}
	g.mutex.Lock()
	g.waiting[id] = append(g.waiting[id], call)
	if g.writing[id] < g.limit {
		g.writing[id]++
		// It is for all who wait, and so does not end with the context of one.
		go g.writeAll(context.WithoutCancel(ctx), id)
	}
	g.mutex.Unlock()
	select {
	case <-call.done:
		return call.enqueued, call.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// writeAll writes what waits, until nothing does.
func (g *gatherer) writeAll(ctx context.Context, id springtide.EnvironmentID) {
	for {
		calls, together := g.take(id)
		if len(calls) == 0 {
			return
		}
		enqueued, err := g.write(ctx, id, together)
		for _, call := range calls {
			if call.err = err; err == nil {
				call.enqueued, enqueued = enqueued[:len(call.jobs):len(call.jobs)], enqueued[len(call.jobs):]
			}
			close(call.done)
		}
	}
}

// take takes calls for one statement.
func (g *gatherer) take(id springtide.EnvironmentID) (calls []*gathered, together []springtide.Job) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	waiting := g.waiting[id]
	for len(calls) < len(waiting) && len(together)+len(waiting[len(calls)].jobs) <= insertChunk {
		together = append(together, waiting[len(calls)].jobs...)
		calls = append(calls, waiting[len(calls)])
	}
	g.waiting[id] = waiting[len(calls):]
	if len(calls) == 0 {
		delete(g.waiting, id)
		if g.writing[id]--; g.writing[id] == 0 {
			delete(g.writing, id)
		}
	}
	return calls, together
}
