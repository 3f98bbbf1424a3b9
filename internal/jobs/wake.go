package jobs

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// lookEvery is how often scouts look although nothing hinted at anything.
	lookEvery = time.Second
	// shortestPause is how long an environment whose scouts were sent for nothing
	// is left alone; it doubles with each time, up to longestPause.
	shortestPause = 5 * time.Millisecond
	longestPause  = 80 * time.Millisecond
)

// lobby is where those wait who want to claim. It wakes about as many of them
// as there are runs for.
type lobby struct {
	mu    sync.Mutex
	rooms map[springtide.EnvironmentID]*room
	// owed tells the loop that a room's scouts are to be sent.
	owed chan struct{}
}

// room is the lobby of one environment.
type room struct {
	waiters []*waiter // the longest waiting first
	owed    bool      // a hint that no scout has followed yet
	pause   time.Duration
	next    time.Time // no scout is sent before
}

// waiter is one who wants to claim.
type waiter struct {
	environment springtide.EnvironmentID
	queues      []springtide.QueueName
	most        int
	// wake has a value when it is to claim.
	wake chan struct{}
	// idle says that it waits, and is not just claiming; scout that it was sent by
	// a hint, so that nobody knows how much there is. Both belong to the lobby.
	idle, scout bool
}

func newLobby() *lobby {
	return &lobby{rooms: map[springtide.EnvironmentID]*room{}, owed: make(chan struct{}, 1)}
}

// enter adds one who is about to claim; from then on no hint is lost on him. It
// is futile to claim at once where somebody waits who would have found the same.
func (l *lobby) enter(id springtide.EnvironmentID, queues []springtide.QueueName, most int) (w *waiter, futile bool) {
	w = &waiter{environment: id, queues: queues, most: most, wake: make(chan struct{}, 1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[id]
	if r == nil {
		r = &room{}
		l.rooms[id] = r
	}
	futile = slices.ContainsFunc(r.waiters, func(other *waiter) bool { return other.idle && other.covers(w) })
	r.waiters = append(r.waiters, w)
	return w, futile
}

// leave takes him out; what he was woken for meanwhile wakes another.
func (l *lobby) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[w.environment]
	r.waiters = slices.DeleteFunc(r.waiters, func(other *waiter) bool { return other == w })
	if len(r.waiters) == 0 {
		delete(l.rooms, w.environment)
		return
	}
	select {
	case <-w.wake:
		r.rouse(w.most, true, w.shares)
	default:
	}
}

// rest says that he found nothing and waits.
func (l *lobby) rest(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(w.wake) == 0 {
		w.idle, w.scout = true, false
	}
}

// found says that he claimed so many runs. A scout who found all he asked for
// sends two more.
func (l *lobby) found(w *waiter, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rooms[w.environment]
	if !w.scout || count == 0 {
		return
	}
	r.pause, r.next = 0, time.Time{}
	if count == w.most {
		sent := 0
		for _, other := range r.waiters {
			if sent < 2 && other.idle && w.shares(other) {
				other.rouse(true)
				sent++
			}
		}
	}
}

// wake says that so many runs of a queue are available to an environment's
// runners, or to the platform's.
func (l *lobby) wake(id springtide.EnvironmentID, queue springtide.QueueName, count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rooms[id]; r != nil {
		r.rouse(count, false, func(w *waiter) bool { return len(w.queues) == 0 || slices.Contains(w.queues, queue) })
	}
}

// hint says that runs of an environment may have become available.
func (l *lobby) hint(ids ...springtide.EnvironmentID) {
	l.mu.Lock()
	for _, id := range ids {
		if r := l.rooms[id]; r != nil {
			r.owed = true
		}
	}
	l.mu.Unlock()
	ring(l.owed)
}

// hintAll says that runs of any environment may have become available.
func (l *lobby) hintAll() {
	l.mu.Lock()
	for _, r := range l.rooms {
		r.owed = true
	}
	l.mu.Unlock()
	ring(l.owed)
}

// run sends scouts until ctx ends.
func (l *lobby) run(ctx context.Context) {
	anyway := time.NewTicker(lookEvery)
	defer anyway.Stop()
	later := time.NewTimer(lookEvery)
	defer later.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-anyway.C:
			l.send(true)
		case <-l.owed:
			later.Reset(l.send(false))
		case <-later.C:
			later.Reset(l.send(false))
		}
	}
}

// send sends the scouts that are owed, or all; it gives when to do so again.
func (l *lobby) send(all bool) time.Duration {
	now := time.Now()
	next := now.Add(lookEvery)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.rooms {
		switch {
		case all || r.owed && !now.Before(r.next):
			r.scout(now)
		case r.owed && r.next.Before(next):
			next = r.next
		}
	}
	return next.Sub(now)
}

// scout wakes a few who together would find a run of any queue.
func (r *room) scout(now time.Time) {
	r.owed = false
	r.pause = min(max(2*r.pause, shortestPause), longestPause)
	r.next = now.Add(r.pause)
	var covered []springtide.QueueName
	for _, idle := range []bool{true, false} {
		for _, w := range r.waiters {
			if w.idle != idle {
				continue
			}
			more := slices.DeleteFunc(slices.Clone(w.queues), func(queue springtide.QueueName) bool { return slices.Contains(covered, queue) })
			if len(more) == 0 && len(w.queues) > 0 {
				continue
			}
			w.rouse(true)
			if len(w.queues) == 0 {
				return
			}
			covered = append(covered, more...)
		}
	}
}

// rouse wakes those who match and have room for count runs together: first those
// who wait, then those who are claiming and may have come too early.
func (r *room) rouse(count int, scout bool, match func(*waiter) bool) {
	for _, idle := range []bool{true, false} {
		for _, w := range r.waiters {
			if count <= 0 {
				return
			}
			if w.idle == idle && len(w.wake) == 0 && match(w) {
				w.rouse(scout)
				count -= w.most
			}
		}
	}
}

func (w *waiter) rouse(scout bool) {
	w.idle, w.scout = false, w.scout || scout
	ring(w.wake)
}

// shares reports whether there may be runs that both would take.
func (w *waiter) shares(other *waiter) bool {
	return len(w.queues) == 0 || len(other.queues) == 0 ||
		slices.ContainsFunc(w.queues, func(queue springtide.QueueName) bool { return slices.Contains(other.queues, queue) })
}

// covers reports whether it would take every run that the other takes.
func (w *waiter) covers(other *waiter) bool {
	return len(w.queues) == 0 || len(other.queues) > 0 &&
		!slices.ContainsFunc(other.queues, func(queue springtide.QueueName) bool { return !slices.Contains(w.queues, queue) })
}

// ring leaves a value in a channel that has room for one.
func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
