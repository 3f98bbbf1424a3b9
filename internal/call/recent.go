package call

import (
	"sync"
	"time"
)

const (
	// idleFor is how long what nobody uses is kept.
	idleFor = 10 * time.Minute
	// manyTimes is how many times more than wanted there may be, of what is in
	// trouble: somebody may make up names that are.
	manyTimes = 4
)

// Recent keeps a value for each key that was used of late. What nobody uses for
// ten minutes is dropped, and what is idle goes earlier if there are too many.
type Recent[K comparable, V any] struct {
	most int
	idle func(V) bool

	mutex   sync.Mutex
	entries map[K]*entry[V]
	swept   time.Time
}

type entry[V any] struct {
	value V
	users int
	used  time.Time
}

// NewRecent keeps about as many as most, those in use apart. What is not idle is
// not dropped before its ten minutes, unless there are many times more.
func NewRecent[K comparable, V any](most int, idle func(V) bool) *Recent[K, V] {
	return &Recent[K, V]{most: most, idle: idle, entries: map[K]*entry[V]{}}
}

// Use gives the value of a key, made if there is none. It is kept at least until
// release is called.
func (r *Recent[K, V]) Use(key K, create func() V) (value V, release func()) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.sweep(time.Now())
	kept, ok := r.entries[key]
	if !ok {
		kept = &entry[V]{value: create()}
		r.entries[key] = kept
	}
	kept.users++
	return kept.value, func() {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		kept.users--
		kept.used = time.Now()
	}
}

// sweep looks through all of them once a minute, and once a second while there
// are too many.
func (r *Recent[K, V]) sweep(now time.Time) {
	crowded, flooded := len(r.entries) >= r.most, len(r.entries) >= manyTimes*r.most
	since := now.Sub(r.swept)
	if since < time.Second || (since < time.Minute && !crowded) {
		return
	}
	r.swept = now
	for key, kept := range r.entries {
		if kept.users == 0 && (flooded || now.Sub(kept.used) > idleFor || (crowded && r.idle(kept.value))) {
			delete(r.entries, key)
		}
	}
}
