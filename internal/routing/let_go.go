package routing

import (
	"context"
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// Settle makes the table anew and waits until every live edge has acknowledged
// it, or ctx ends.
func (p *Publisher) Settle(ctx context.Context) error {
	if err := p.publish(ctx); err != nil {
		return err
	}
	version := p.Version()
	return p.wait(ctx, "the edges to take the routing table", func() bool { return p.acknowledged(version) })
}

// LetGo implements engine.Router.
func (p *Publisher) LetGo(ctx context.Context, id springtide.InstanceID) error {
	version, err := p.force(ctx, id, springtide.BackendRetiring)
	if err != nil {
		return err
	}
	return p.wait(ctx, fmt.Sprintf("the requests of %s to end", id), func() bool {
		return p.acknowledged(version) && p.load(id).Requests == 0
	})
}

// CloseStreams implements engine.Router.
func (p *Publisher) CloseStreams(ctx context.Context, id springtide.InstanceID) error {
	version, err := p.force(ctx, id, springtide.BackendClosing)
	if err != nil {
		return err
	}
	return p.wait(ctx, fmt.Sprintf("the streams of %s to close", id), func() bool {
		load := p.load(id)
		return p.acknowledged(version) && load.Requests == 0 && load.Streams == 0
	})
}

// Load implements engine.Router.
func (p *Publisher) Load(id springtide.InstanceID) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	load := p.load(id)
	return load.Requests + load.Streams
}

// force publishes a table in which the instance has that state and gives its version.
func (p *Publisher) force(ctx context.Context, id springtide.InstanceID, state springtide.BackendState) (int64, error) {
	p.mu.Lock()
	p.letGo[id] = state
	p.mu.Unlock()
	if err := p.publish(ctx); err != nil {
		return 0, err
	}
	return p.Version(), nil
}

// wait returns when the condition, which is called with p.mu held, is met.
func (p *Publisher) wait(ctx context.Context, what string, condition func() bool) error {
	for {
		p.mu.Lock()
		met, changed := condition(), p.changed
		p.mu.Unlock()
		if met {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(edgeLostAfter / 4): // an edge may have been lost meanwhile
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// acknowledged reports whether every live edge has that table or a newer one
// in force. p.mu is held.
func (p *Publisher) acknowledged(version int64) bool {
	live := 0
	for name, e := range p.edges {
		if e.connections == 0 && time.Since(e.lost) > edgeLostAfter {
			delete(p.edges, name)
			continue
		}
		live++
		if e.acknowledged < version {
			return false
		}
	}
	return live > 0 || time.Since(p.started) > edgeLostAfter
}

// load sums what the live edges have open on an instance. p.mu is held.
func (p *Publisher) load(id springtide.InstanceID) springtide.InstanceLoad {
	sum := springtide.InstanceLoad{Instance: id}
	for _, e := range p.edges {
		sum.Requests += e.loads[id].Requests
		sum.Streams += e.loads[id].Streams
	}
	return sum
}
