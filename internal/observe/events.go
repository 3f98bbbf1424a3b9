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
	// Between two writes to the store there are as many times as long as the first
	// of them took, within bounds: somebody waits for the news of a deploy, and
	// yet a slow disk is not kept busy with news.
	flushPause    = 4
	shortestPause = 10 * time.Millisecond
	longestPause  = 200 * time.Millisecond
	// flushTimeout is how long a write may take, also after the end.
	flushTimeout = 5 * time.Second
	// recentLimit is how many of the events that are not in the store are remembered
	// for those who come a little late.
	recentLimit = 1000
)

// eventStore keeps events. Implemented by every store.Store.
type eventStore interface {
	AddEvents(ctx context.Context, events []springtide.Event) ([]springtide.Event, error)
	Events(ctx context.Context, after int64, environment *springtide.EnvironmentID, limit int) ([]springtide.Event, error)
	LastSequence(ctx context.Context) (int64, error)
}

// Events takes events from all over the platform, keeps them, and gives them to
// whoever wants to see them.
type Events struct {
	store  eventStore
	logger *slog.Logger
	// published holds a value while the queue has events for Run.
	published chan struct{}

	mutex sync.Mutex
	queue []springtide.Event
	// dropped counts events that did not fit the queue, untold those of them that
	// no event has told of yet.
	dropped, untold int64

	subscriptions map[*subscription]struct{}
	// last is the sequence of the last kept event that was given out.
	last int64
	// passing counts events that are not kept, and recent are the last of them.
	passing int64
	recent  []item
}

// item is an event on its way to subscriptions.
type item struct {
	springtide.Event
	// passing numbers the events that are not in the store; 0: it is there. Its
	// Sequence is then that of the last kept event before it.
	passing int64
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
// of a kind that begins with "build." are not kept: only who looks on sees them,
// or comes a little late. They have the sequence of the last kept one.
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
	last, err := e.store.LastSequence(ctx)
	if err != nil {
		e.logger.Warn("the history of events cannot be read", "error", err)
	}
	e.mutex.Lock()
	e.last = max(e.last, last)
	e.mutex.Unlock()
	for ctx.Err() == nil {
		select {
		case <-e.published:
		case <-ctx.Done():
			continue
		}
		began := time.Now()
		e.flush(ctx)
		select {
		case <-time.After(min(max(flushPause*time.Since(began), shortestPause), longestPause)):
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
	if batch := e.take(); len(batch) > 0 {
		e.giveOut(batch, e.keep(ctx, batch))
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

// keep stores those of the batch that are to be kept and gives them back with
// their sequences; none if it cannot be done.
func (e *Events) keep(ctx context.Context, batch []springtide.Event) []springtide.Event {
	var lasting []springtide.Event
	for _, event := range batch {
		if lasts(event) {
			lasting = append(lasting, event)
		}
	}
	if len(lasting) == 0 {
		return nil
	}
	kept, err := e.store.AddEvents(ctx, lasting)
	if err != nil {
		e.logger.Warn("events are not kept", "count", len(lasting), "error", err)
		return nil
	}
	return kept
}

// lasts reports whether the event is for the store, too.
func lasts(event springtide.Event) bool { return !strings.HasPrefix(event.Kind, "build.") }

// giveOut offers the batch, in its order, to every subscription. What was to be
// kept and could not be passes by like what was not.
func (e *Events) giveOut(batch, kept []springtide.Event) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	items := make([]item, len(batch))
	for i, event := range batch {
		if lasts(event) && len(kept) > 0 {
			items[i].Event, kept = kept[0], kept[1:]
			e.last = items[i].Sequence
			continue
		}
		e.passing++
		event.Sequence = e.last
		items[i] = item{Event: event, passing: e.passing}
		e.recent = append(e.recent, items[i])
	}
	e.recent = e.recent[max(0, len(e.recent)-recentLimit):]
	for s := range e.subscriptions {
		s.offer(items)
	}
}
