package call

import (
	"sync"
	"time"
)

// idleFor is how long what nobody uses is kept.
const idleFor = 10 * time.Minute

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
// not dropped before its ten minutes.
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
	crowded := len(r.entries) >= r.most
	since := now.Sub(r.swept)
	if since < time.Second || (since < time.Minute && !crowded) {
		return
	}
	r.swept = now
	for key, kept := range r.entries {
		if kept.users == 0 && (now.Sub(kept.used) > idleFor || (crowded && r.idle(kept.value))) {
			delete(r.entries, key)
		}
	}
}

// All gives the values that are kept, in no order.
func (r *Recent[K, V]) All() map[K]V {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	all := make(map[K]V, len(r.entries))
	for key, kept := range r.entries {
		all[key] = kept.value
	}
	return all
}
