package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// runPoll is how often a run is looked at that another server may have ended.
const runPoll = 500 * time.Millisecond

// watches tell who waits for a run that it changed.
type watches struct {
	mu    sync.Mutex
	byRun map[springtide.RunID][]chan struct{}
}

// add gives a channel that has a value when the run changed, and a function that
// ends that.
func (w *watches) add(run springtide.RunID) (changed <-chan struct{}, end func()) {
	bell := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byRun[run] = append(w.byRun[run], bell)
	return bell, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		left := slices.DeleteFunc(w.byRun[run], func(other chan struct{}) bool { return other == bell })
		if w.byRun[run] = left; len(left) == 0 {
			delete(w.byRun, run)
		}
	}
}

func (w *watches) tell(run springtide.RunID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, bell := range w.byRun[run] {
		ring(bell)
	}
}

// WaitRun gives a run as soon as it is over; when ctx or the service ends before,
// as it was last, without an error.
func (s *Service) WaitRun(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	changed, end := s.watches.add(run)
	defer end()
	poll := time.NewTicker(runPoll)
	defer poll.Stop()
	var last springtide.Run
	for {
		now, err := s.ledger.Run(ctx, id, run)
		switch {
		case err == nil && now.State.Over():
			return now, nil
		case err == nil:
			last = now
		case last.ID == "" || springtide.KindOf(err) == springtide.NotFound:
			return now, err
		} // else the ledger may come back
		select {
		case <-changed:
		case <-poll.C:
		case <-ctx.Done():
			return last, nil
		case <-s.ending:
			return last, nil
		}
	}
}
