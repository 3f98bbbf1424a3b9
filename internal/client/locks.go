package client

import (
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
)

// waitOnce is how long one request waits for a lock; the server allows 30 s.
const waitOnce = 20 * time.Second

// TakeLock takes a lock, and waits while it is somebody else's or the server is
// away. It is a Conflict if somebody has it still when wait has passed.
func (c *Client) TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl, wait time.Duration) (jobs.Lock, error) {
	for until := time.Now().Add(wait); ; {
		left := max(0, time.Until(until))
		body := api.LockRequest{Owner: owner, TTLSeconds: ttl.Seconds(), WaitSeconds: min(left, waitOnce).Seconds()}
		lock, err := call[jobs.Lock](ctx, c, request{method: "POST", path: environmentPath(id, "locks", name), body: body})
		kind := springtide.KindOf(err)
		if err == nil || kind != springtide.Conflict && kind != springtide.Unavailable || !time.Now().Before(until) {
			return lock, err
		}
		if err := pause(ctx, min(time.Until(until), 200*time.Millisecond)); err != nil { // a server that ends answers at once
			return lock, err
		}
	}
}

// RenewLock keeps a lock; it is a Conflict if it was lost.
func (c *Client) RenewLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence, ttl time.Duration) (jobs.Lock, error) {
	body := api.LockRenewal{Fence: fence, TTLSeconds: ttl.Seconds()}
	return call[jobs.Lock](ctx, c, request{method: "POST", path: environmentPath(id, "locks", name, "renew"), body: body})
}

// ReleaseLock gives a lock back.
func (c *Client) ReleaseLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error {
	return c.doQuery(ctx, "DELETE", environmentPath(id, "locks", name), url.Values{"fence": {strconv.FormatInt(int64(fence), 10)}})
}

// Locks lists the locks that somebody has.
func (c *Client) Locks(ctx context.Context, id springtide.EnvironmentID) ([]jobs.Lock, error) {
	return call[[]jobs.Lock](ctx, c, request{method: "GET", path: environmentPath(id, "locks")})
}
