package jobs

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// holds remembers the attempts that were leased through this server, or that it
// looked up: whose they are, so that what is said of them need not be looked up.
// It only says whose they are; whether they are still held the ledger decides.
type holds struct {
	mu    sync.Mutex
	byRun map[springtide.RunID]attempt
}

// attempt is what is remembered of a hold.
type attempt struct {
	fence       springtide.Fence
	number      int
	environment springtide.EnvironmentID
	queue       springtide.QueueName
	runner      string
	// since is when it was leased; zero if that was through another server. seen
	// is when it was last known to be held.
	since, seen time.Time
}

func attemptOf(run springtide.Run) attempt {
	return attempt{fence: run.Fence, number: run.Attempt, environment: run.Environment, queue: run.Queue, runner: run.Runner, seen: time.Now()}
}

// add remembers an attempt, unless a later one is known.
func (h *holds) add(run springtide.RunID, a attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byRun[run].fence <= a.fence {
		h.byRun[run] = a
	}
}

// get gives what is remembered of a hold. If it is remembered from too long ago
// to be relied upon, it is not known.
func (h *holds) get(hold Hold) (a attempt, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, known = h.byRun[hold.Run]
	return a, known && a.fence >= hold.Fence && time.Since(a.seen) < LeaseFor
}

// note changes what is remembered of a hold, if it is.
func (h *holds) note(hold Hold, change func(a *attempt)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if a, known := h.byRun[hold.Run]; known && a.fence == hold.Fence {
		change(&a)
		h.byRun[hold.Run] = a
	}
}

// drop forgets a hold and gives what was remembered of it.
func (h *holds) drop(hold Hold) attempt {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.byRun[hold.Run]
	if a.fence != hold.Fence {
		return attempt{}
	}
	delete(h.byRun, hold.Run)
	return a
}

// sweep forgets those that nothing was heard of for long.
func (h *holds) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.byRun, func(_ springtide.RunID, a attempt) bool { return time.Since(a.seen) > 2*LeaseFor })
}

// Leased counts the runs that a runner was leased through this server and has
// not brought to their end.
func (s *Service) Leased(runner string) (count int) {
	s.holds.mu.Lock()
	defer s.holds.mu.Unlock()
	for _, a := range s.holds.byRun {
		if a.runner == runner {
			count++
		}
	}
	return count
}

// attemptOf gives the attempt that a hold names; not known if the run is not
// the environment's, or a later attempt has it.
func (s *Service) attemptOf(ctx context.Context, id springtide.EnvironmentID, hold Hold) (a attempt, known bool, err error) {
	a, known = s.holds.get(hold)
	if !known {
		run, err := s.ledger.Run(ctx, id, hold.Run)
		if springtide.KindOf(err) == springtide.NotFound {
			return attempt{}, false, nil
		}
		if err != nil {
			return attempt{}, false, err
		}
		a = s.remember(run)
	}
	return a, a.environment == id && a.fence == hold.Fence, nil
}

// remember gives the attempt that has a run, and remembers it.
func (s *Service) remember(run springtide.Run) attempt {
	a := attemptOf(run)
	if run.State == springtide.RunClaimed || run.State == springtide.RunRunning { // else nobody has it: see Leased
		s.holds.add(run.ID, a)
	}
	return a
}

// lookedUp is how many runs are looked up at once.
const lookedUp = 1000

// own gives those of items whose holds are the environment's, and where they
// were among all.
func own[T any](ctx context.Context, s *Service, id springtide.EnvironmentID, items []T, holdOf func(T) Hold) (owned []T, places []int, err error) {
	attempts, unknown := make(map[springtide.RunID]attempt, len(items)), []springtide.RunID(nil)
	for _, item := range items {
		hold := holdOf(item)
		a, known := s.holds.get(hold)
		if attempts[hold.Run] = a; !known {
			unknown = append(unknown, hold.Run)
		}
	}
	for some := range slices.Chunk(unknown, lookedUp) {
		runs, err := s.ledger.Runs(ctx, Query{Environment: id, IDs: some, Most: len(some)})
		if err != nil {
			return nil, nil, err
		}
		for _, run := range runs {
			attempts[run.ID] = s.remember(run)
		}
	}
	for i, item := range items {
		hold := holdOf(item)
		if a := attempts[hold.Run]; a.environment == id && a.fence == hold.Fence {
			owned, places = append(owned, item), append(places, i)
		}
	}
	return owned, places, nil
}

// scatter puts answers to where their questions were among count; the others
// are left zero, which is a refusal.
func scatter[T any](answers []T, places []int, count int) []T {
	all := make([]T, count)
	for i, place := range places {
		all[place] = answers[i]
	}
	return all
}
