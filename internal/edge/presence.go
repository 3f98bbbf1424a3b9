package edge

import (
	"sync"
	"sync/atomic"
	"time"
)

// presence is the context of one request after the other: it ends when its client
// is gone. It costs nothing while nobody waits for that. Implements context.Context.
type presence struct {
	gone atomic.Bool
	mu   sync.Mutex
	done chan struct{} // nil until somebody waits
}

// renewed gives one for the next request: this one, unless somebody waited for its
// end. Who derived a context from it may only now be about to ask for the reason.
func (p *presence) renewed() *presence {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done != nil {
		return new(presence)
	}
	p.gone.Store(false)
	return p
}

func (p *presence) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone.Swap(true) && p.done != nil {
		close(p.done)
	}
}

// Done implements context.Context.
func (p *presence) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		p.done = make(chan struct{})
		if p.gone.Load() {
			close(p.done)
		}
	}
	return p.done
}

// Err implements context.Context; it is the cause, too.
func (p *presence) Err() error {
	if p.gone.Load() {
		return errClientGone
	}
	return nil
}

// Deadline implements context.Context: there is none.
func (*presence) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context: there are none.
func (*presence) Value(any) any { return nil }
