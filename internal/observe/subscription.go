package observe

import (
	"context"
	"iter"
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

// subscription is one onlooker. Its fields but for the first three are guarded
// by Events.mutex.
type subscription struct {
	environment *springtide.EnvironmentID
	// offered holds a value while there is something in the backlog.
	offered chan struct{}
	// last is the sequence of the last event that was given; FromNow: none yet.
	// Only the iteration touches it.
	last int64

	backlog []springtide.Event
	// missedAfter is where history has to be taken up again because the backlog
	// was too long; FromNow: nowhere.
	missedAfter int64
}

// Subscribe gives events: those of history with a higher sequence than after
// ([FromNow] for none), and then every one that is published from now on, without
// gap or repetition, until ctx ends. A nil environment means all. It can be
// ranged over once. Events without a sequence are not in history, and who is too
// slow may miss them.
func (e *Events) Subscribe(ctx context.Context, after int64, environment *springtide.EnvironmentID) iter.Seq[springtide.Event] {
	after = max(after, FromNow)
	s := &subscription{environment: environment, offered: make(chan struct{}, 1), last: after, missedAfter: after}
	// It begins now, and not when it is ranged over, so that its caller can do
	// something next and see all that comes of it.
	e.mutex.Lock()
	e.subscriptions[s] = struct{}{}
	e.mutex.Unlock()
	stop := context.AfterFunc(ctx, func() { e.unsubscribe(s) })
	return func(yield func(springtide.Event) bool) {
		defer e.unsubscribe(s)
		defer stop()
		for ctx.Err() == nil {
			missedAfter, backlog := e.takeBacklog(s)
			if missedAfter != FromNow && !e.history(ctx, s, missedAfter, yield) {
				return
			}
			for _, event := range backlog {
				if ctx.Err() != nil || !s.give(event, yield) {
					return
				}
			}
			select {
			case <-s.offered:
			case <-ctx.Done():
			}
		}
	}
}

func (e *Events) unsubscribe(s *subscription) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	delete(e.subscriptions, s)
}

func (e *Events) takeBacklog(s *subscription) (missedAfter int64, backlog []springtide.Event) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	missedAfter, backlog = s.missedAfter, s.backlog
	s.missedAfter, s.backlog = FromNow, nil
	return missedAfter, backlog
}

// offer adds live events to the backlog. If they are too many the backlog is let
// go, and the place in history noted from where its events can be read again.
func (s *subscription) offer(batch []springtide.Event) {
	for _, event := range batch {
		if s.environment == nil || event.Environment == *s.environment {
			s.backlog = append(s.backlog, event)
		}
	}
	if len(s.backlog) > backlogLimit {
		for _, event := range s.backlog {
			if s.missedAfter == FromNow && event.Sequence > 0 {
				s.missedAfter = event.Sequence - 1
			}
		}
		s.backlog = nil
	}
	select {
	case s.offered <- struct{}{}:
	default:
	}
}

// history gives what the store has after a sequence. It reports whether to go on.
func (e *Events) history(ctx context.Context, s *subscription, after int64, yield func(springtide.Event) bool) bool {
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
				return false
			}
			continue
		}
		for _, event := range page {
			after = event.Sequence
			if !s.give(event, yield) {
				return false
			}
		}
		if len(page) < historyPage {
			return true
		}
	}
}

// give gives an event unless history gave it already.
func (s *subscription) give(event springtide.Event, yield func(springtide.Event) bool) bool {
	if event.Sequence > 0 {
		if event.Sequence <= s.last {
			return true
		}
		s.last = event.Sequence
	}
	return yield(event)
}
