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
	wish := p.wish()
	if _, err := p.publish(ctx, wish); err != nil {
		return err
	}
	return p.wait(ctx, wish, "the edges to take the routing table", p.acknowledged)
}

// LetGo implements engine.Router.
func (p *Publisher) LetGo(ctx context.Context, id springtide.InstanceID) error {
	wish, err := p.force(ctx, id, springtide.BackendRetiring)
	if err != nil {
		return err
	}
	return p.wait(ctx, wish, fmt.Sprintf("the requests of %s to end", id), func(version int64) bool {
		return p.complete() && p.acknowledged(version) && p.load(id).Requests == 0
	})
}

// CloseStreams implements engine.Router.
func (p *Publisher) CloseStreams(ctx context.Context, id springtide.InstanceID) error {
	wish, err := p.force(ctx, id, springtide.BackendClosing)
	if err != nil {
		return err
	}
	return p.wait(ctx, wish, fmt.Sprintf("the streams of %s to close", id), func(version int64) bool {
		load := p.load(id)
		return p.complete() && p.acknowledged(version) && load.Requests == 0 && load.Streams == 0
	})
}

// streamWeight is for how many requests a stream counts when it is chosen which
// instance is the least loaded: those go first that have none, since a request is
// over in a moment, and a stream lasts.
const streamWeight = 1000

// Load implements engine.Router.
func (p *Publisher) Load(id springtide.InstanceID) int {
	load := p.Seen(id)
	return load.Requests + streamWeight*(load.Streams+load.Lasting)
}

// Seen gives what all edges together see of an instance.
func (p *Publisher) Seen(id springtide.InstanceID) springtide.InstanceLoad {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.load(id)
}

// force publishes a table in which the instance has that state and gives the wish.
func (p *Publisher) force(ctx context.Context, id springtide.InstanceID, state springtide.BackendState) (int64, error) {
	p.mu.Lock()
	p.letGo[id] = state
	p.mu.Unlock()
	wish := p.wish()
	_, err := p.publish(ctx, wish)
	return wish, err
}

// wait returns when the condition is met for the first table that was made for
// the wish. The condition is called with p.mu held.
func (p *Publisher) wait(ctx context.Context, wish int64, what string, condition func(version int64) bool) error {
	var version int64
	for {
		p.mu.Lock()
		if version == 0 && p.made >= wish {
			version = p.edition.table.Version
		}
		met, changed := version != 0 && condition(version), p.changed
		p.mu.Unlock()
		if met {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(p.options.LostAfter / 4): // an edge may have been lost meanwhile
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
}

// complete reports whether every edge there is has had the time to connect: one
// that served before this control plane was started may come back after others.
// p.mu is held.
func (p *Publisher) complete() bool {
	return !p.serving.IsZero() && time.Since(p.serving) > p.options.LostAfter
}

// acknowledged reports whether every live edge has that table or a newer one
// in force. p.mu is held.
func (p *Publisher) acknowledged(version int64) bool {
	live := 0
	for name, e := range p.edges {
		if e.connections == 0 && time.Since(e.lost) > p.options.LostAfter {
			delete(p.edges, name)
			continue
		}
		live++
		if e.acknowledged < version {
			return false
		}
	}
	return live > 0 || p.complete()
}

// load sums what the live edges have open on an instance. p.mu is held.
func (p *Publisher) load(id springtide.InstanceID) springtide.InstanceLoad {
	sum := springtide.InstanceLoad{Instance: id}
	for _, e := range p.edges {
		load := e.loads[id]
		sum.Requests += load.Requests
		sum.Streams += load.Streams
		sum.Lasting += load.Lasting
		if load.Ejected.After(sum.Ejected) {
			sum.Ejected, sum.Failing = load.Ejected, load.Failing
		}
	}
	return sum
}
