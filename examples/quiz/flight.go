package main

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// flight counts the requests that are being served, streams included.
type flight struct {
	mu      sync.Mutex
	now     int
	changed time.Time
}

func (f *flight) add(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now += n
	f.changed = time.Now()
}

func (f *flight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// wrap counts what next serves.
func (f *flight) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.add(1)
		defer f.add(-1)
		next.ServeHTTP(w, r)
	})
}

// waitIdle waits until nothing has been in flight for a while. It reports
// false if ctx ended first.
func (f *flight) waitIdle(ctx context.Context, quiet time.Duration) bool {
	began := time.Now()
	for {
		f.mu.Lock()
		since := f.changed
		if since.Before(began) {
			since = began
		}
		missing := quiet - time.Since(since)
		if f.now > 0 {
			missing = quiet
		}
		f.mu.Unlock()
		if missing <= 0 {
			return true
		}
		if !sleep(ctx, min(missing, 20*time.Millisecond)) {
			return false
		}
	}
}
