package client

import (
	"context"
	"net/url"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Minutes gives what was asked of a process since a time, minute by minute.
func (c *Client) Minutes(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, since time.Time) ([]springtide.Minute, error) {
	return call[[]springtide.Minute](ctx, c, request{
		method: "GET", path: environmentPath(id, "history", string(process)),
		query: url.Values{"since": {since.UTC().Format(time.RFC3339)}},
	})
}

// Recommendations gives limits for each process, by what was seen of it.
func (c *Client) Recommendations(ctx context.Context, id springtide.EnvironmentID) ([]api.Recommendation, error) {
	return call[[]api.Recommendation](ctx, c, request{method: "GET", path: environmentPath(id, "rightsize")})
}
