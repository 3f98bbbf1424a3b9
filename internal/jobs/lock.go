package jobs

import (
	"context"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// lockPoll is how often a lock is tried that somebody else has.
const lockPoll = 250 * time.Millisecond

type lockName struct {
	environment springtide.EnvironmentID
	name        string
}

// turnstiles let one of those who wait for the same lock try it, in the order in
// which they came.
type turnstiles struct {
	mu     sync.Mutex
	byLock map[lockName]*turnstile
}

type turnstile struct {
	waiting int
	turn    chan struct{} // whoever could put a value in has the turn
	// released has a value when the lock was given back.
	released chan struct{}
}

func (t *turnstiles) enter(name lockName) (*turnstile, func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	stile := t.byLock[name]
	if stile == nil {
		stile = &turnstile{turn: make(chan struct{}, 1), released: make(chan struct{}, 1)}
		t.byLock[name] = stile
	}
	stile.waiting++
	return stile, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if stile.waiting--; stile.waiting == 0 {
			delete(t.byLock, name)
		}
	}
}

func (t *turnstiles) release(name lockName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stile := t.byLock[name]; stile != nil {
		ring(stile.released)
	}
}

// TakeLock is [Locks.TakeLock], but waits for a lock that somebody else has: for
// wait at most. Who waits longest at this server is the next to have it, unless
// somebody comes in the very moment in which it is free.
func (s *Service) TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl, wait time.Duration) (Lock, error) {
	lock, err := s.ledger.TakeLock(ctx, id, name, owner, ttl)
	if springtide.KindOf(err) != springtide.Conflict || wait <= 0 {
		return lock, err
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	stile, leave := s.queuing.enter(lockName{id, name})
	defer leave()
	select {
	case stile.turn <- struct{}{}:
		defer func() { <-stile.turn }()
	case <-limited.Done():
		return lock, err
	case <-s.ending:
		return lock, err
	}
	poll := time.NewTicker(lockPoll)
	defer poll.Stop()
	for {
		// Once begun it is not cut short: the lock would be taken, and nobody know.
		lock, err = s.ledger.TakeLock(ctx, id, name, owner, ttl)
		if springtide.KindOf(err) != springtide.Conflict {
			return lock, err
		}
		select {
		case <-stile.released:
		case <-poll.C:
		case <-limited.Done():
			return lock, err
		case <-s.ending:
			return lock, err
		}
	}
}

// ReleaseLock is [Locks.ReleaseLock].
func (s *Service) ReleaseLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error {
	err := s.ledger.ReleaseLock(ctx, id, name, fence)
	s.queuing.release(lockName{id, name})
	return err
}
