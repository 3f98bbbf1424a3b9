package ledger

import (
	"context"
	"sync"
)

// wakes are those who want to know that there may be something to do.
type wakes struct {
	mutex     sync.Mutex
	listeners map[chan struct{}]struct{}
}

func (w *wakes) wake() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for listener := range w.listeners {
		select {
		case listener <- struct{}{}:
		default: // it has not looked since the last time: once is enough
		}
	}
}

// Wakeups gives a value whenever there may be something to do, until ctx ends.
func (l *Ledger) Wakeups(ctx context.Context) <-chan struct{} {
	listener := make(chan struct{}, 1)
	w := &l.wakes
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.listeners == nil {
		w.listeners = map[chan struct{}]struct{}{}
	}
	w.listeners[listener] = struct{}{}
	context.AfterFunc(ctx, func() {
		w.mutex.Lock()
		defer w.mutex.Unlock()
		delete(w.listeners, listener)
		close(listener)
	})
	return listener
}
