package observe_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	blog = springtide.EnvironmentID{App: "blog", Name: springtide.Production}
)

// memory is a store of events that can be made to fail.
type memory struct {
	mutex  sync.Mutex
	events []springtide.Event
	writes []time.Time
	broken error
	// takes is how long a write takes.
	takes time.Duration
}

func (m *memory) AddEvents(ctx context.Context, events []springtide.Event) ([]springtide.Event, error) {
	time.Sleep(m.takes)
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.writes = append(m.writes, time.Now())
	if err := errors.Join(ctx.Err(), m.broken); err != nil {
		return nil, err
	}
	added := slices.Clone(events)
	for i := range added {
		added[i].Sequence = int64(len(m.events) + 1)
		m.events = append(m.events, added[i])
	}
	return added, nil
}

func (m *memory) Events(ctx context.Context, after int64, environment *springtide.EnvironmentID, limit int) ([]springtide.Event, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if err := errors.Join(ctx.Err(), m.broken); err != nil {
		return nil, err
	}
	var found []springtide.Event
	for _, event := range m.events {
		if event.Sequence > after && (environment == nil || event.Environment == *environment) && len(found) < limit {
			found = append(found, event)
		}
	}
	return found, nil
}

func (m *memory) LastSequence(context.Context) (int64, error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return int64(len(m.events)), m.broken
}

func (m *memory) kept() []springtide.Event {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.events)
}

func (m *memory) written() []time.Time {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return slices.Clone(m.writes)
}

func (m *memory) breakWith(err error) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.broken = err
}

// run runs events over the store until the test's function returns.
func run(t *testing.T, store *memory) *observe.Events {
	t.Helper()
	events := observe.NewEvents(store, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		if err := events.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); group.Wait() })
	return events
}

func publish(events *observe.Events, environment springtide.EnvironmentID, kind string, messages ...string) {
	for _, message := range messages {
		events.Publish(springtide.Event{Environment: environment, Kind: kind, Message: message})
	}
}

// collect gives the messages that the subscription gives within a minute.
func collect(t *testing.T, events *observe.Events, after int64, environment *springtide.EnvironmentID) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var messages []string
	for event := range events.Subscribe(ctx, after, environment) {
		messages = append(messages, event.Message)
	}
	return messages
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestASubscriptionIsHistoryAndThenLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := run(t, &memory{})
		publish(events, quiz, "rollout.step", "one", "two")
		publish(events, blog, "rollout.step", "other")
		time.Sleep(time.Second)
		time.AfterFunc(time.Second, func() { publish(events, quiz, "rollout.step", "three") })
		time.AfterFunc(2*time.Second, func() { publish(events, blog, "rollout.step", "four") })
		var group sync.WaitGroup
		group.Go(func() { want(t, collect(t, events, 0, nil), "one", "two", "other", "three", "four") })
		group.Go(func() { want(t, collect(t, events, 1, nil), "two", "other", "three", "four") })
		group.Go(func() { want(t, collect(t, events, 0, &quiz), "one", "two", "three") })
		group.Go(func() { want(t, collect(t, events, observe.FromNow, nil), "three", "four") })
		group.Wait()
	})
}

func TestASubscriptionBeginsBeforeItIsRangedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := run(t, &memory{})
		subscription := events.Subscribe(t.Context(), observe.FromNow, nil)
		publish(events, quiz, "rollout.step", "one")
		time.Sleep(time.Second)
		for event := range subscription {
			want(t, []string{event.Message}, "one")
			break
		}
	})
}

func TestEventsAreWrittenInBatchesAndOnlyWhenThereAreSome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{takes: 20 * time.Millisecond}
		events := run(t, store)
		start := time.Now()
		for range 100 { // a second's worth
			publish(events, quiz, "rollout.step", "x")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		if n := len(store.written()); n < 10 || n > 12 {
			t.Errorf("%d writes", n)
		}
		if first := store.written()[0].Sub(start); first > store.takes {
			t.Errorf("a single event waited for %s", first)
		}
		if len(store.kept()) != 100 {
			t.Errorf("%d events are kept", len(store.kept()))
		}
	})
}

func TestLinesOfABuildAreShownInOrderButNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		events := run(t, store)
		time.AfterFunc(time.Second, func() {
			publish(events, quiz, "rollout.step", "before")
			publish(events, quiz, "build.line", "line 1", "line 2")
			publish(events, quiz, "rollout.step", "after")
		})
		want(t, collect(t, events, observe.FromNow, nil), "before", "line 1", "line 2", "after")
		if kept := store.kept(); len(kept) != 2 {
			t.Errorf("%d are kept", len(kept))
		}
		writes := len(store.written())
		publish(events, quiz, "build.line", "line 3")
		time.Sleep(time.Second)
		if len(store.written()) != writes {
			t.Error("the store was written for a line of a build")
		}
	})
}

func TestWhoComesALittleLateSeesTheLinesOfTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		publish(run(t, store), quiz, "rollout.step", "long ago")
		time.Sleep(time.Second)

		events := run(t, store) // another control plane on the same store
		publish(events, quiz, "build.line", "line 0")
		publish(events, quiz, "deploy.started", "started")
		publish(events, quiz, "build.line", "line 1", "line 2")
		time.Sleep(time.Second)
		time.AfterFunc(time.Second, func() {
			publish(events, quiz, "build.line", "line 3")
			publish(events, quiz, "deploy.done", "done")
		})
		var group sync.WaitGroup
		group.Go(func() {
			want(t, collect(t, events, 0, nil), "long ago", "line 0", "started", "line 1", "line 2", "line 3", "done")
		})
		group.Go(func() { want(t, collect(t, events, 0, &blog)) })
		// Who comes back after "started" may have had lines 1 and 2.
		group.Go(func() { want(t, collect(t, events, 2, nil), "line 3", "done") })
		group.Wait()
		sequences := []int64{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for event := range events.Subscribe(ctx, 0, nil) {
			sequences = append(sequences, event.Sequence)
		}
		if !slices.Equal(sequences, []int64{1, 1, 2, 2, 2, 2, 3}) {
			t.Errorf("the sequences are %v", sequences)
		}
	})
}

func TestASlowOnlookerOfABuildMissesLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		events := run(t, &memory{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		subscription := events.Subscribe(ctx, observe.FromNow, nil)
		for i := range 1500 {
			publish(events, quiz, "build.line", strconv.Itoa(i))
		}
		publish(events, quiz, "deploy.done", "done")
		time.Sleep(time.Second)
		var seen []string
		for event := range subscription {
			seen = append(seen, event.Message)
		}
		if len(seen) != 1001 || seen[0] != "500" || !slices.Contains(seen, "done") {
			t.Errorf("saw %d, from %s to %s", len(seen), seen[0], seen[len(seen)-1])
		}
	})
}

func TestTooManyEventsAreDroppedCountedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		events := observe.NewEvents(store, slog.New(slog.DiscardHandler))
		for range 5000 { // nobody takes them yet
			publish(events, quiz, "rollout.step", "x")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := events.Run(ctx); err != nil {
			t.Fatal(err)
		}
		kept := store.kept()
		last := kept[len(kept)-1]
		if last.Kind != "events.dropped" || last.Fields["count"] != strconv.Itoa(5000-4096) || events.Dropped() != 5000-4096 {
			t.Errorf("%d dropped, the last event is %+v", events.Dropped(), last)
		}
	})
}

func TestASlowOnlookerMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const count = 6000
		events := run(t, &memory{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for _, after := range []int64{observe.FromNow, 0} {
			subscription := events.Subscribe(ctx, after, &quiz)
			next := 0
			time.AfterFunc(time.Second, func() {
				for i := range count {
					publish(events, quiz, "rollout.step", strconv.Itoa(i))
					publish(events, blog, "rollout.step", "other")
					time.Sleep(time.Millisecond)
				}
			})
			for event := range subscription {
				if event.Message != strconv.Itoa(next) {
					t.Fatalf("got %s, want %d", event.Message, next)
				}
				if next++; next == count {
					break
				}
				if next%1000 == 1 {
					time.Sleep(3 * time.Second)
				}
			}
			if after == observe.FromNow { // so that the next one sees the second half only
				events = run(t, &memory{})
			}
		}
	})
}

func TestEventsThatCannotBeKeptAreShownAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		events := run(t, store)
		time.AfterFunc(time.Second, func() {
			store.breakWith(errors.New("the disk is full"))
			publish(events, quiz, "rollout.step", "lost")
		})
		time.AfterFunc(2*time.Second, func() {
			store.breakWith(nil)
			publish(events, quiz, "rollout.step", "kept")
		})
		want(t, collect(t, events, observe.FromNow, nil), "lost", "kept")
		if kept := store.kept(); len(kept) != 1 || kept[0].Message != "kept" {
			t.Errorf("kept are %v", kept)
		}
	})
}

func TestAHistoryThatCannotBeReadIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &memory{}
		events := run(t, store)
		publish(events, quiz, "rollout.step", "one")
		time.Sleep(time.Second)
		store.breakWith(errors.New("the disk does not answer"))
		time.AfterFunc(10*time.Second, func() { store.breakWith(nil) })
		want(t, collect(t, events, 0, nil), "one")
	})
}

func TestWhatWasPublishedBeforeTheEndIsKept(t *testing.T) {
	store := &memory{}
	events := observe.NewEvents(store, slog.New(slog.DiscardHandler))
	publish(events, quiz, "edge.stopped", "one", "two")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := events.Run(ctx); err != nil || len(store.kept()) != 2 {
		t.Errorf("kept %v, %v", store.kept(), err)
	}
}

func TestManyPublishersAndOnlookersOverARealStore(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	events := observe.NewEvents(store, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var running, group sync.WaitGroup
	running.Go(func() { _ = events.Run(ctx) })
	defer running.Wait()
	defer cancel()
	const publishers, each = 4, 250
	for p := range publishers {
		group.Go(func() {
			for i := range each {
				publish(events, quiz, "rollout.step", fmt.Sprint(p, "/", i))
			}
		})
		group.Go(func() {
			seen := map[string]bool{}
			last := int64(0)
			for event := range events.Subscribe(ctx, 0, nil) {
				if seen[event.Message] || event.Sequence <= last {
					t.Errorf("%s again, or %d after %d", event.Message, event.Sequence, last)
				}
				seen[event.Message], last = true, event.Sequence
				if len(seen) == publishers*each {
					return
				}
			}
			t.Errorf("saw %d of %d", len(seen), publishers*each)
		})
	}
	group.Wait()
}
