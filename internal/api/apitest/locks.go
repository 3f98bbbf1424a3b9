package apitest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// lock is one that somebody has until a time of the real clock.
type lock struct {
	jobs.Lock
	until time.Time
}

func (l lock) now() jobs.Lock {
	l.Left = time.Until(l.until)
	return l.Lock
}

// LoseLock takes a lock from whoever has it, as if its time had passed while
// the platform was away.
func (p *Platform) LoseLock(id springtide.EnvironmentID, name string) {
	p.update(func() { delete(p.book.locks[id], name) })
}

// TakeLock implements [api.Locks].
func (b *book) TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl, wait time.Duration) (jobs.Lock, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		var taken lock
		b.p.mu.Lock()
		changed := b.p.changed
		has, held := b.locks[id][name]
		if held = held && time.Now().Before(has.until); !held || has.Owner == owner {
			taken = b.lend(id, name, owner, has, held, ttl)
		}
		b.p.mu.Unlock()
		if taken.Name != "" {
			return taken.now(), nil
		}
		expires := time.NewTimer(time.Until(has.until))
		select {
		case <-changed:
		case <-expires.C:
		case <-ctx.Done():
			expires.Stop()
			return jobs.Lock{}, springtide.Errorf(springtide.Conflict, "the lock %s is %s's", name, has.Owner)
		}
		expires.Stop()
	}
}

func (b *book) lend(id springtide.EnvironmentID, name, owner string, has lock, held bool, ttl time.Duration) lock {
	if b.locks[id] == nil {
		b.locks[id] = map[string]lock{}
	}
	if !held {
		b.fence++
		has = lock{Lock: jobs.Lock{Name: name, Owner: owner, Fence: b.fence, Taken: Epoch()}}
	}
	has.until = time.Now().Add(ttl)
	b.locks[id][name] = has
	return has
}

// RenewLock implements [api.Locks].
func (b *book) RenewLock(_ context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence, ttl time.Duration) (renewed jobs.Lock, err error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	has, ok := b.locks[id][name]
	if !ok || has.Fence != fence || time.Now().After(has.until) {
		return renewed, springtide.Errorf(springtide.Conflict, "the lock %s was lost", name)
	}
	has.until = time.Now().Add(ttl)
	b.locks[id][name] = has
	return has.now(), nil
}

// ReleaseLock implements [api.Locks].
func (b *book) ReleaseLock(_ context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error {
	b.p.update(func() {
		if b.locks[id][name].Fence == fence {
			delete(b.locks[id], name)
		}
	})
	return nil
}

// Locks implements [api.Locks].
func (b *book) Locks(_ context.Context, id springtide.EnvironmentID) (all []jobs.Lock, err error) {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(b.locks[id])) {
		if has := b.locks[id][name]; time.Now().Before(has.until) {
			all = append(all, has.now())
		}
	}
	return all, nil
}
