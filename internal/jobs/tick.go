package jobs

import (
	"context"
	"sync"
	"time"
)

const (
	// tickEvery is how often time passes at least, and how soon it is tried again
	// while the ledger is away.
	tickEvery = time.Second
	// tickPause is how soon a tick may follow another.
	tickPause = 5 * time.Millisecond
	// holdsSweep is how often the holds that nobody speaks of are forgotten.
	holdsSweep = time.Minute
)

// tick lets time pass in the ledger until ctx ends.
func (s *Service) tick(ctx context.Context) {
	away := false
	for swept := time.Now(); ctx.Err() == nil; {
		s.alarm.clear()
		limited, cancel := context.WithTimeout(ctx, writeLimit)
		ticked, err := s.ledger.Tick(limited)
		cancel()
		wait := tickEvery
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			if !away {
				s.options.Logger.Warn("time stands still: the ledger is away", "error", err)
			}
			away = true
		default:
			if away {
				s.options.Logger.Info("time passes again: the ledger is back")
			}
			away = false
			s.ticked(ticked)
			if ticked.Next > 0 {
				wait = min(max(ticked.Next, tickPause), tickEvery)
			}
		}
		if time.Since(swept) >= holdsSweep {
			s.holds.sweep()
			swept = time.Now()
		}
		s.alarm.wait(ctx, wait)
	}
}

// ticked passes on what a tick brought about.
func (s *Service) ticked(ticked Ticked) {
	if ticked.Available > 0 {
		s.lobby.hintAll()
		s.stale()
	}
	for _, happened := range ticked.Happened {
		s.watches.tell(happened.Run.ID)
		s.options.Observer.JobHappened(happened)
		s.options.Happened(happened)
	}
}

// alarm ends a wait earlier than planned. Anybody may set it.
type alarm struct {
	mu  sync.Mutex
	due time.Time // the earliest that was asked for since it was cleared; zero: none
	// earlier has a value when due became earlier.
	earlier chan struct{}
}

// by asks that the wait, or the next one, ends by then.
func (a *alarm) by(due time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.due.IsZero() || due.Before(a.due) {
		a.due = due
		ring(a.earlier)
	}
}

// clear forgets what was asked for: it is about to be seen to.
func (a *alarm) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = time.Time{}
}

// wait waits so long, or until what it is asked for, or until ctx ends.
func (a *alarm) wait(ctx context.Context, longest time.Duration) {
	planned := time.Now().Add(longest)
	soonest := time.Now().Add(tickPause)
	timer := time.NewTimer(longest)
	defer timer.Stop()
	for {
		a.mu.Lock()
		due := a.due
		a.mu.Unlock()
		if !due.IsZero() && due.Before(planned) {
			planned = due
			timer.Reset(time.Until(later(due, soonest)))
		}
		select {
		case <-timer.C:
			return
		case <-a.earlier:
		case <-ctx.Done():
			return
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// pause waits; it tells whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
