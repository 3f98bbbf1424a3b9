package control

import (
	"context"
	"net"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/peer"
)

// EdgesOptions say how edges that run elsewhere reach the control plane.
type EdgesOptions struct {
	// Address is where they connect; empty: there are none.
	Address string
	// Token is what they are known by.
	Token peer.Token
}

// edgesComeBackWithin is how long edges elsewhere may take to find the control plane
// that leads now. What they do not know by then they lose.
const edgesComeBackWithin = 10 * time.Second

// lostAfter is how long an edge that is away is believed to serve; 0: as on one machine.
func (o EdgesOptions) lostAfter() time.Duration {
	if o.Address == "" {
		return 0
	}
	return edgesComeBackWithin
}

// serveEdges gives the routing table to edges that run elsewhere.
func (p *plane) serveEdges(ctx context.Context) error {
	if p.Edges.Address == "" {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", p.Edges.Address)
	if err != nil {
		return springtide.Errorf(springtide.Conflict, "edges cannot be listened for on %s: %w", p.Edges.Address, err).
			WithHint("choose another address with --edges")
	}
	trusted, err := peer.Listen(listener, p.Edges.Token)
	if err != nil {
		listener.Close()
		return err
	}
	p.all.Go(func() error { return p.publisher.Serve(ctx, trusted) })
	return nil
}
