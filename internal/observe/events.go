package observe

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// queueLimit is how many published events may wait for Run.
	queueLimit = 4096
	// flushInterval is the shortest time between two writes to the store.
	flushInterval = 200 * time.Millisecond
	// flushTimeout is how long a write may take, also after the end.
	flushTimeout = 5 * time.Second
)

// eventStore keeps events. Implemented by every store.Store.
type eventStore interface {
	AddEvents(ctx context.Context, events []springtide.Event) ([]springtide.Event, error)
	Events(ctx context.Context, after int64, environment *springtide.EnvironmentID, limit int) ([]springtide.Event, error)
}

// Events takes events from all over the platform, keeps them, and gives them to
// whoever wants to see them.
type Events struct {
	store  eventStore
	logger *slog.Logger
	// published holds a value while the queue has events for Run.
	published chan struct{}

	mutex         sync.Mutex
	queue         []springtide.Event
	subscriptions map[*subscription]struct{}
	// dropped counts events that did not fit the queue, untold those of them that
	// no event has told of yet.
	dropped, untold int64
}

// NewEvents makes Events over a store. Nothing is given to anybody before
// [Events.Run] runs.
func NewEvents(store eventStore, logger *slog.Logger) *Events {
	return &Events{
		store: store, logger: logger,
		published:     make(chan struct{}, 1),
		subscriptions: map[*subscription]struct{}{},
	}
}

// Publish tells an event. It never waits: when events come faster than they can
// be kept, some are dropped, and an event "events.dropped" says how many. Those
// of a kind that begins with "build." are not kept: only who looks on sees them.
func (e *Events) Publish(event springtide.Event) {
	if event.Time.IsZero() {
		event.Time = time.Now().UTC()
	}
	e.mutex.Lock()
	if len(e.queue) < queueLimit {
		e.queue = append(e.queue, event)
	} else {
		e.dropped++
		e.untold++
	}
	e.mutex.Unlock()
	select {
	case e.published <- struct{}{}:
	default:
	}
}

// Dropped gives how many events were dropped so far.
func (e *Events) Dropped() int64 {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	return e.dropped
}

// Run keeps and gives out what is published until ctx ends, and then what was
// published before that.
func (e *Events) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-e.published:
			e.flush(ctx)
		case <-ctx.Done():
		}
		select {
		case <-time.After(flushInterval):
		case <-ctx.Done():
		}
	}
	e.flush(ctx)
	return nil
}

// flush keeps and gives out what is in the queue, also when ctx has ended.
func (e *Events) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	batch := e.take()
	if len(batch) == 0 {
		return
	}
	var kept []springtide.Event
	for _, event := range batch {
		if isKept(event) {
			kept = append(kept, event)
		}
	}
	if len(kept) > 0 {
		added, err := e.store.AddEvents(ctx, kept)
		if err != nil {
			// Who looks on sees them all the same.
			e.logger.Warn("events are not kept", "count", len(kept), "error", err)
			added = kept
		}
		for i := range batch {
			if isKept(batch[i]) {
				batch[i], added = added[0], added[1:]
			}
		}
	}
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for s := range e.subscriptions {
		s.offer(batch)
	}
}

// take empties the queue.
func (e *Events) take() []springtide.Event {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	batch := e.queue
	e.queue = nil
	if e.untold > 0 {
		count := strconv.FormatInt(e.untold, 10)
		batch = append(batch, springtide.Event{
			Time: time.Now().UTC(), Kind: "events.dropped",
			Message: count + " events came too fast and were dropped",
			Fields:  map[string]string{"count": count},
		})
		e.logger.Warn("events came too fast and were dropped", "count", e.untold)
		e.untold = 0
	}
	return batch
}

// isKept reports whether the event is for the store, too.
func isKept(event springtide.Event) bool { return !strings.HasPrefix(event.Kind, "build.") }
