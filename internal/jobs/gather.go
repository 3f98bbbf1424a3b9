package jobs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// gatherLimit is how many things are written in one transaction, unless one
	// caller alone has more.
	gatherLimit = 1000
	// writeLimit is how long a transaction may take.
	writeLimit = 30 * time.Second
)

// gatherer writes in one transaction what several callers want written: what
// comes while a transaction is under way goes into the next. It answers when
// that is durable.
type gatherer[In, Out any] struct {
	write func(ctx context.Context, all []In) ([]Out, error)

	mu      sync.Mutex
	waiting []*gathered[In, Out]
	writing bool
}

// gathered is what one caller wants written.
type gathered[In, Out any] struct {
	in   []In
	out  []Out
	err  error
	done chan struct{}
}

// do writes in, and gives an answer for each. If ctx ends first, it may or may
// not be written.
func (g *gatherer[In, Out]) do(ctx context.Context, in []In) ([]Out, error) {
	if len(in) == 0 {
		return nil, nil
	}
	mine := &gathered[In, Out]{in: in, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, mine)
	begin := !g.writing
	g.writing = true
	g.mu.Unlock()
	if begin {
		go g.writeAll(context.WithoutCancel(ctx))
	}
	select {
	case <-mine.done:
		return mine.out, mine.err
	case <-ctx.Done():
		return nil, springtide.Errorf(springtide.Unavailable, "it took too long to write: %w", ctx.Err())
	}
}

// writeAll writes until nobody waits.
func (g *gatherer[In, Out]) writeAll(ctx context.Context) {
	for {
		group := g.next()
		if group == nil {
			return
		}
		var all []In
		for _, one := range group {
			all = append(all, one.in...)
		}
		out, err := g.attempt(ctx, all)
		if err != nil && len(group) > 1 && springtide.KindOf(err) != springtide.Unavailable {
			// One of them may be at fault: it must not cost the others.
			for _, one := range group {
				one.out, one.err = g.attempt(ctx, one.in)
				close(one.done)
			}
			continue
		}
		for _, one := range group {
			if one.err = err; err == nil {
				one.out, out = out[:len(one.in):len(one.in)], out[len(one.in):]
			}
			close(one.done)
		}
	}
}

func (g *gatherer[In, Out]) next() []*gathered[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	count, size := 0, 0
	for count < len(g.waiting) && (count == 0 || size+len(g.waiting[count].in) <= gatherLimit) {
		size += len(g.waiting[count].in)
		count++
	}
	group := g.waiting[:count:count]
	g.waiting = g.waiting[count:]
	g.writing = count > 0
	if count == 0 {
		return nil
	}
	return group
}

func (g *gatherer[In, Out]) attempt(ctx context.Context, in []In) ([]Out, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	out, err := g.write(ctx, in)
	if errors.Is(err, context.DeadlineExceeded) {
		err = springtide.Errorf(springtide.Unavailable, "the ledger did not write within %v: %w", writeLimit, err)
	}
	return out, err
}
