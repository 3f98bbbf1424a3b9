package client

import (
	"context"
	"net/url"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// StartRun starts a one-off command in the active release.
func (c *Client) StartRun(ctx context.Context, r api.OneOffRequest) (api.OneOff, error) {
	body := map[string]any{"command": r.Command}
	if r.Process != "" {
		body["process"] = r.Process
	}
	if r.Timeout > 0 {
		body["timeout_seconds"] = r.Timeout.Seconds()
	}
	return call[api.OneOff](ctx, c, request{method: "POST", path: environmentPath(r.Environment, "runs"), body: body})
}

// WaitRun returns when the command has ended.
func (c *Client) WaitRun(ctx context.Context, id springtide.EnvironmentID, run string) (api.OneOff, error) {
	var answer api.OneOff
	for answer.Exit == nil {
		err := c.patiently(ctx, func() (err error) {
			answer, err = call[api.OneOff](ctx, c, request{
				method: "GET", path: environmentPath(id, "runs", run), query: url.Values{"wait": {"true"}},
			})
			return err
		})
		if err != nil {
			return answer, err
		}
	}
	return answer, nil
}
