package client

import (
	"bytes"
	"context"
	"net/url"
	"strconv"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
)

// What runners say. Nothing of it is asked a second time by itself: a runner
// knows best how long it may wait.

// Lease asks for runs.
func (c *Client) Lease(ctx context.Context, id springtide.EnvironmentID, body jobs.LeaseRequest) (jobs.LeaseAnswer, error) {
	return call[jobs.LeaseAnswer](ctx, c, request{method: "POST", path: environmentPath(id, "leases"), body: body})
}

// StartLeased tells that runs are about to begin.
func (c *Client) StartLeased(ctx context.Context, id springtide.EnvironmentID, body jobs.StartRequest) (jobs.AcceptedAnswer, error) {
	return call[jobs.AcceptedAnswer](ctx, c, request{method: "POST", path: environmentPath(id, "leases", "start"), body: body})
}

// Heartbeat renews leases.
func (c *Client) Heartbeat(ctx context.Context, id springtide.EnvironmentID, body jobs.BeatRequest) (jobs.BeatAnswer, error) {
	return call[jobs.BeatAnswer](ctx, c, request{method: "POST", path: environmentPath(id, "leases", "heartbeat"), body: body})
}

// Complete tells how runs ended.
func (c *Client) Complete(ctx context.Context, id springtide.EnvironmentID, body jobs.CompleteRequest) (jobs.AcceptedAnswer, error) {
	return call[jobs.AcceptedAnswer](ctx, c, request{method: "POST", path: environmentPath(id, "leases", "complete"), body: body})
}

// AppendOutput adds to the output of an attempt, from offset on in bytes, and
// gives the offset to go on from. A wrong one is a [jobs.OffsetError]; any other
// Conflict means that another attempt has the run.
func (c *Client) AppendOutput(ctx context.Context, id springtide.EnvironmentID, hold jobs.Hold, offset int64, text []byte) (next int64, err error) {
	answer, err := call[api.OutputAnswer](ctx, c, request{
		method: "POST", path: environmentPath(id, "leases", "output"), body: bytes.NewReader(text), contentType: "application/octet-stream",
		query: url.Values{
			"run": {string(hold.Run)}, "fence": {strconv.FormatInt(int64(hold.Fence), 10)}, "offset": {strconv.FormatInt(offset, 10)},
		},
	})
	return answer.Next, err
}
