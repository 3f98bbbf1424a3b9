package enginetest

import (
	"context"
	"sync"

	"github.com/springtide/springtide"
)

// Router stands in for the edges. It records what an engine asks of them.
type Router struct {
	mu sync.Mutex
	// letGo is called by LetGo, if it is not nil.
	letGo  func(ctx context.Context, id springtide.InstanceID) error
	loads  map[springtide.InstanceID]int
	events []string
}

// LetGo implements engine.Router.
func (r *Router) LetGo(ctx context.Context, id springtide.InstanceID) error {
	r.mu.Lock()
	r.events = append(r.events, "let go "+string(id))
	letGo := r.letGo
	r.mu.Unlock()
	if letGo == nil {
		return nil
	}
	return letGo(ctx, id)
}

// CloseStreams implements engine.Router.
func (r *Router) CloseStreams(_ context.Context, id springtide.InstanceID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, "close streams "+string(id))
	return nil
}

// Load implements engine.Router.
func (r *Router) Load(id springtide.InstanceID) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.loads[id]
}

func (r *Router) onLetGo(letGo func(ctx context.Context, id springtide.InstanceID) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.letGo = letGo
}

func (r *Router) setLoad(id springtide.InstanceID, load int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loads == nil {
		r.loads = map[springtide.InstanceID]int{}
	}
	r.loads[id] = load
}

func (r *Router) recorded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.events...)
}
