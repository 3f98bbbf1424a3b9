package jobs

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// statusPause is how soon the queues may be looked at again.
	statusPause = 250 * time.Millisecond
	// statusBusy and statusIdle are how often they are looked at although nothing
	// hinted at a change: while there is anything to do, and else.
	statusBusy = time.Second
	statusIdle = 5 * time.Second
	// statusShare is how much of the time looking may take at most: a tenth.
	statusShare = 10
)

// snapshot is how all queues stood a moment ago.
type snapshot struct {
	mu       sync.Mutex
	statuses []QueueStatus
	away     bool
	// stale has a value when something may have changed since.
	stale chan struct{}
}

// Statuses tells how all queues of all environments stand, in order of name, not
// older than a second while there is anything to do, else than five. It is the
// caller's to keep, and costs nothing. Options.Changed is called when there is
// a new one.
func (s *Service) Statuses() []QueueStatus {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	return slices.Clone(s.snapshot.statuses)
}

// Away reports whether the ledger did not answer when it was last asked how the
// queues stand: then [Service.Statuses] are of earlier.
func (s *Service) Away() bool {
	s.snapshot.mu.Lock()
	defer s.snapshot.mu.Unlock()
	return s.snapshot.away
}

// stale says that queues may have changed.
func (s *Service) stale() { ring(s.snapshot.stale) }

// refresh keeps the snapshot fresh until ctx ends.
func (s *Service) refresh(ctx context.Context) {
	var known []QueueStatus
	for away := false; ; {
		began := time.Now()
		statuses, err := s.ledger.Queues(ctx, springtide.EnvironmentID{})
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !away:
			s.options.Logger.Warn("how the queues stand cannot be read", "error", err)
		case err == nil && !reflect.DeepEqual(statuses, known):
			known = statuses
			s.snapshot.mu.Lock()
			s.snapshot.statuses = statuses
			s.snapshot.mu.Unlock()
			s.options.Changed()
		}
		away = err != nil
		s.snapshot.mu.Lock()
		s.snapshot.away = away
		s.snapshot.mu.Unlock()
		if !pause(ctx, max(statusPause, statusShare*time.Since(began))) {
			return
		}
		again := statusIdle
		if slices.ContainsFunc(known, QueueStatus.active) {
			again = statusBusy
		}
		limited, cancel := context.WithTimeout(ctx, again-statusPause)
		select {
		case <-limited.Done():
		case <-s.snapshot.stale:
		}
		cancel()
	}
}

// active reports whether there is anything to do in the queue, or being done.
func (q QueueStatus) active() bool {
	return q.States[springtide.RunAvailable]+q.States[springtide.RunClaimed]+q.States[springtide.RunRunning] > 0
}
