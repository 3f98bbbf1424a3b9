package kubernetes_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// edge stands in for one: it gives requests to ready instances, holds them while
// there is none, and lets go as it is told. Nothing is tried a second time.
type edge struct {
	mu       sync.Mutex
	table    map[springtide.InstanceID]string // addresses
	gone     map[springtide.InstanceID]bool
	open     map[springtide.InstanceID]int
	changed  chan struct{} // closed and replaced at every change
	answered int
	failed   []string
	longest  time.Duration
}

func newEdge() *edge {
	return &edge{
		table: map[springtide.InstanceID]string{}, gone: map[springtide.InstanceID]bool{}, open: map[springtide.InstanceID]int{},
		changed: make(chan struct{}),
	}
}

// hold is how long a request waits for an instance.
const hold = 30 * time.Second

func (e *edge) observe(snapshot springtide.Snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.table)
	for _, i := range snapshot.Instances {
		if i.State == springtide.InstanceReady && i.Address != "" && !e.gone[i.ID] {
			e.table[i.ID] = i.Address
		}
	}
	e.tell()
}

func (e *edge) tell() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// await waits for a condition; the mutex is held, and let go meanwhile.
func (e *edge) await(ctx context.Context, condition func() bool) error {
	for !condition() {
		changed := e.changed
		e.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		e.mu.Lock()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

func (e *edge) LetGo(ctx context.Context, id springtide.InstanceID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone[id] = true
	delete(e.table, id)
	return e.await(ctx, func() bool { return e.open[id] == 0 })
}

func (e *edge) CloseStreams(context.Context, springtide.InstanceID) error { return nil }

func (e *edge) Load(id springtide.InstanceID) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open[id]
}

func (e *edge) request(ctx context.Context, client *http.Client) error {
	began := time.Now()
	e.mu.Lock()
	waiting, cancel := context.WithTimeout(ctx, hold)
	err := e.await(waiting, func() bool { return len(e.table) > 0 })
	cancel()
	if err != nil {
		e.mu.Unlock()
		return fmt.Errorf("no instance within %s", hold)
	}
	ids := slices.Collect(func(yield func(springtide.InstanceID) bool) {
		for id := range e.table {
			if !yield(id) {
				return
			}
		}
	})
	id := ids[rand.IntN(len(ids))]
	address := e.table[id]
	e.open[id]++
	e.mu.Unlock()
	err = get(ctx, client, "http://"+address+"/env?name=TIDE_INSTANCE", string(id))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open[id]--
	e.longest = max(e.longest, time.Since(began))
	e.tell()
	return err
}

func get(ctx context.Context, client *http.Client, url, want string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != want {
		return fmt.Errorf("%s answers %q, %w", want, text, err)
	}
	return nil
}

// load sends requests, each client one after the other, until the function that it
// gives is called, which tells how many were answered, and which failed.
func (e *edge) load(t *testing.T, clients int) (stop func() (answered int, failed []string)) {
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: hold}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				err := e.request(t.Context(), client) // what has begun is not given up
				e.mu.Lock()
				if e.answered++; err != nil {
					e.answered--
					e.failed = append(e.failed, time.Now().Format(time.StampMilli)+" "+err.Error())
				}
				e.mu.Unlock()
				time.Sleep(10 * time.Millisecond) // a client's pause, not a wait for something
			}
		})
	}
	return func() (int, []string) {
		cancel()
		all.Wait()
		return e.answered, e.failed
	}
}
