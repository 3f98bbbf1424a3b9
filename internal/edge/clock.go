package edge

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tick is how often the clock looks. Limits are kept to within as much.
	tick = 250 * time.Millisecond
	// longestTick is how much a tick counts for at most: while the machine, or the edge,
	// stands still nobody is late for what he has sent and the edge has not read.
	longestTick = 2 * tick
)

// clock is the edge's coarse sense of time: it looks at everything that may be
// late once per tick, so that no request arms a timer or a deadline of its own.
type clock struct {
	ticked  time.Time              // the last time
	elapsed atomic.Int64           // nanoseconds that the edge has run, as of the last tick
	date    atomic.Pointer[string] // for the Date field

	mu      sync.Mutex
	watched map[watched]struct{}
}

// watched is what the clock looks at. Implemented by connection, stream and pool.
type watched interface {
	// look is called once per tick, and may be once more after it was forgotten.
	look(now int64)
}

func newClock() *clock {
	c := &clock{ticked: time.Now(), watched: map[watched]struct{}{}}
	c.advance()
	return c
}

func (c *clock) advance() int64 {
	now := time.Now()
	date := now.UTC().Format(http.TimeFormat)
	c.date.Store(&date)
	passed := min(now.Sub(c.ticked), longestTick)
	c.ticked = now
	return c.elapsed.Add(int64(passed))
}

// run ticks until ctx ends.
func (c *clock) run(ctx context.Context) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var all []watched
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		now := c.advance()
		all = c.snapshot(all[:0])
		for _, w := range all {
			w.look(now)
		}
		clear(all)
	}
}

func (c *clock) snapshot(all []watched) []watched {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.watched {
		all = append(all, w)
	}
	return all
}

func (c *clock) watch(w watched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watched[w] = struct{}{}
}

func (c *clock) forget(w watched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watched, w)
}

// after gives the time that is so long from now.
func (c *clock) after(d time.Duration) int64 { return c.elapsed.Load() + int64(d) }

// alarm is a limit in time that is seldom reached. Setting and stopping it costs
// next to nothing; the clock rings it.
type alarm struct {
	due  atomic.Int64 // by the clock; 0: never
	rung atomic.Bool
	mu   sync.Mutex
}

func (a *alarm) set(at int64) { a.due.Store(at) }

// check rings if it is due. Whoever stops it waits until ring has returned.
func (a *alarm) check(now int64, ring func()) {
	due := a.due.Load()
	if due == 0 || due > now {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.rung.Swap(true)
	if a.due.CompareAndSwap(due, 0) {
		ring()
	} else {
		a.rung.Store(before) // it was stopped or set anew just now
	}
}

// stop reports whether it rang since it was last stopped.
func (a *alarm) stop() bool {
	if a.due.Swap(0) != 0 && !a.rung.Load() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rung.Swap(false)
}
