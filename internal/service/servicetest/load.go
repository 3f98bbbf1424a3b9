package servicetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// load writes all the time, each writer one key after the other.
type load struct {
	kit    Kit
	cancel context.CancelFunc
	done   sync.WaitGroup
	url    atomic.Value // of string
	// stamp counts the changes of the URL; seen is the last that each writer has
	// written with.
	stamp atomic.Int64
	seen  []atomic.Int64

	mu           sync.Mutex
	acknowledged []string
	failures     []error
}

func startLoad(t *testing.T, kit Kit, writers int, url string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{kit: kit, cancel: cancel, seen: make([]atomic.Int64, writers)}
	l.url.Store(url)
	for writer := range writers {
		l.done.Go(func() { l.write(ctx, writer) })
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *load) write(ctx context.Context, writer int) {
	for number := 0; ctx.Err() == nil; number++ {
		key, stamp := fmt.Sprintf("load-%d-%d", writer, number), l.stamp.Load()
		err := l.kit.Write(ctx, l.url.Load().(string), key, "x")
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		if err == nil {
			l.acknowledged = append(l.acknowledged, key)
		} else {
			l.failures = append(l.failures, err)
		}
		l.mu.Unlock()
		l.seen[writer].Store(stamp)
	}
}

// use has all writers use another URL, and waits until they do.
func (l *load) use(t *testing.T, url string) {
	t.Helper()
	l.url.Store(url)
	stamp := l.stamp.Add(1)
	eventually(t, "all writers use the new URL", func() bool {
		for i := range l.seen {
			if l.seen[i].Load() < stamp {
				return false
			}
		}
		return true
	})
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acknowledged)
}

// stop gives the keys of all that was acknowledged.
func (l *load) stop() []string {
	l.cancel()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acknowledged
}
