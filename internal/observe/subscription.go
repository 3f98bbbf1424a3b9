package observe

import (
	"context"
	"iter"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

const (
	// FromNow is the place in history after which there is only what comes.
	FromNow int64 = -1

	// backlogLimit is how many events a subscription may be behind before it is
	// sent back to history.
	backlogLimit = 1024
	// historyPage is how many events are read from the store at a time.
	historyPage = 256
	// historyRetry is how long a store that cannot be read is left alone.
	historyRetry = time.Second
)

// subscription is one onlooker.
type subscription struct {
	environment *springtide.EnvironmentID
	// offered holds a value while there is something to take.
	offered chan struct{}
	// last and passing are those of the last events that were given, kept and not.
	// Only the iteration touches them.
	last, passing int64

	// What follows is guarded by Events.mutex.
	backlog []item
	// historyFrom is the sequence after which history is to be given before the
	// backlog; FromNow: none.
	historyFrom int64
}

// Subscribe gives events: those of history with a higher sequence than after (0
// for all, [FromNow] for none), and then every one that is published from now on,
// without gap or repetition, until ctx ends. A nil environment means all. It can
// be ranged over once. Of events that are not kept, history has the last few,
// and who is too slow may miss some.
func (e *Events) Subscribe(ctx context.Context, after int64, environment *springtide.EnvironmentID) iter.Seq[springtide.Event] {
	after = max(after, FromNow)
	s := &subscription{environment: environment, offered: make(chan struct{}, 1), last: after, historyFrom: after}
	// It begins now, and not when it is ranged over, so that its caller can do
	// something next and see all that comes of it.
	e.subscribe(s)
	stop := context.AfterFunc(ctx, func() { e.unsubscribe(s) })
	return func(yield func(springtide.Event) bool) {
		defer e.unsubscribe(s)
		defer stop()
		for ctx.Err() == nil {
			historyFrom, recent, backlog := e.takeFor(s)
			if historyFrom != FromNow && !e.giveHistory(ctx, s, historyFrom, recent, yield) {
				return
			}
			if ctx.Err() != nil || !s.giveAll(backlog, yield) {
				return
			}
			select {
			case <-s.offered:
			case <-ctx.Done():
			}
		}
	}
}

func (e *Events) subscribe(s *subscription) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.subscriptions[s] = struct{}{}
	switch s.last {
	case 0: // everything that is left
	case FromNow:
		s.passing = e.passing
	default:
		// What passed right after s.last may have been given before; rather a gap
		// than a repetition.
		for _, item := range e.recent {
			if item.Sequence <= s.last {
				s.passing = item.passing
			}
		}
	}
}

func (e *Events) unsubscribe(s *subscription) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	delete(e.subscriptions, s)
}

// takeFor empties the backlog. If history is to be given first, recent is what
// the store does not have of it.
func (e *Events) takeFor(s *subscription) (historyFrom int64, recent, backlog []item) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	historyFrom, backlog = s.historyFrom, s.backlog
	s.historyFrom, s.backlog = FromNow, nil
	if historyFrom != FromNow {
		recent = slices.Clone(e.recent)
	}
	return historyFrom, recent, backlog
}

// offer adds live events to the backlog. If they are too many the backlog is let
// go, and its events are given from history.
func (s *subscription) offer(items []item) {
	s.backlog = append(s.backlog, items...)
	if len(s.backlog) > backlogLimit {
		if s.historyFrom == FromNow {
			s.historyFrom = s.backlog[0].Sequence
			if s.backlog[0].passing == 0 {
				s.historyFrom--
			}
		}
		s.backlog = nil
	}
	select {
	case s.offered <- struct{}{}:
	default:
	}
}

// giveHistory gives what the store has after a sequence, and what is recent in
// its place between. It reports whether to go on.
func (e *Events) giveHistory(ctx context.Context, s *subscription, after int64, recent []item, yield func(springtide.Event) bool) bool {
	after = max(after, s.last)
	for {
		page, err := e.store.Events(ctx, after, s.environment, historyPage)
		if err != nil {
			if ctx.Err() != nil {
				return false
			}
			e.logger.Warn("the history of events cannot be read", "error", err)
			select {
			case <-time.After(historyRetry):
			case <-ctx.Done():
			}
			continue
		}
		for _, event := range page {
			after = event.Sequence
			later := slices.IndexFunc(recent, func(item item) bool { return item.Sequence >= after })
			if later < 0 {
				later = len(recent)
			}
			if !s.giveAll(recent[:later], yield) || !s.give(item{Event: event}, yield) {
				return false
			}
			recent = recent[later:]
		}
		if len(page) < historyPage {
			return s.giveAll(recent, yield)
		}
	}
}

func (s *subscription) giveAll(items []item, yield func(springtide.Event) bool) bool {
	for _, item := range items {
		if !s.give(item, yield) {
			return false
		}
	}
	return true
}

// give gives an event that is asked for unless it was given already.
func (s *subscription) give(item item, yield func(springtide.Event) bool) bool {
	given, number := &s.last, item.Sequence
	if item.passing > 0 {
		given, number = &s.passing, item.passing
	}
	if number <= *given {
		return true
	}
	*given = number
	if s.environment != nil && item.Environment != *s.environment {
		return true
	}
	return yield(item.Event)
}
