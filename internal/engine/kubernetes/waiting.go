package kubernetes

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// waiting has those who wait for something of one group, or of one task, woken by
// what happens to just that: with ten thousand pods something happens all the time.
type waiting map[string]chan struct{}

// anyPod is for who waits for something of any pod.
const anyPod = ""

// on gives a channel that is closed when next something happens to what is named.
func (w waiting) on(name string) <-chan struct{} {
	if w[name] == nil {
		w[name] = make(chan struct{})
	}
	return w[name]
}

func (w waiting) wake(name string) {
	if waiters := w[name]; waiters != nil {
		close(waiters)
		delete(w, name)
	}
}

// touch has the loop look at a group, and wakes who waits for it; the mutex is held.
func (e *Engine) touch(id springtide.GroupID) {
	e.dirty[id] = true
	e.waiting.wake(id.String())
	e.poke()
}

func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// await waits until something happens to a group; the mutex is held, and let go
// meanwhile.
func (e *Engine) await(ctx context.Context, id springtide.GroupID) error {
	changed := e.waiting.on(id.String())
	e.mu.Unlock()
	defer e.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// until waits for a condition that observing a group brings about, and reports
// whether it came; limit < 0: for ever.
func (e *Engine) until(ctx context.Context, id springtide.GroupID, limit time.Duration, condition func() bool) bool {
	if limit >= 0 {
		limited, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = limited
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for !condition() {
		if e.await(ctx, id) != nil {
			return false
		}
	}
	return true
}
