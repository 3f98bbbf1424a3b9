package client

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// patience is how long a server may be away before what follows it gives up: a
// restart of the control plane takes a second or two.
const patience = time.Minute

// patiently tries again while the server is unreachable.
func (c *Client) patiently(ctx context.Context, try func() error) error {
	until := time.Now().Add(patience)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := try()
		if err == nil || springtide.KindOf(err) != springtide.Unavailable || time.Now().After(until) {
			return err
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pause waits, or gives the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
