package cache

import "sync"

// flights are the fetches that are under way, so that one is enough for all who ask
// for the same at the same time.
type flights struct {
	shards [64]struct {
		mu      sync.Mutex
		flights map[uint64]*flight
	}
}

// flight is one fetch. Done is closed at its end.
type flight struct {
	key  uint64
	done chan struct{}
}

// join gives the flight for a key, and whether the caller is the one to make it, who
// then has to land it.
func (f *flights) join(key uint64) (*flight, bool) {
	shard := &f.shards[key%uint64(len(f.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if under, ok := shard.flights[key]; ok {
		return under, false
	}
	if shard.flights == nil {
		shard.flights = map[uint64]*flight{}
	}
	made := &flight{key: key, done: make(chan struct{})}
	shard.flights[key] = made
	return made, true
}

// land ends a flight and wakes who waits for it.
func (f *flights) land(landed *flight) {
	shard := &f.shards[landed.key%uint64(len(f.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.flights[landed.key] == landed {
		delete(shard.flights, landed.key)
		close(landed.done)
	}
}
