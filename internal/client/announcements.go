package client

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Announced lists the times at which more traffic is expected, the next first.
func (c *Client) Announced(ctx context.Context, id springtide.EnvironmentID) ([]api.Announced, error) {
	return call[[]api.Announced](ctx, c, request{method: "GET", path: environmentPath(id, "announcements")})
}

// Announce adds and removes some, and gives what there is then.
func (c *Client) Announce(ctx context.Context, id springtide.EnvironmentID, change api.AnnouncementsChange) ([]api.Announced, error) {
	return call[[]api.Announced](ctx, c, request{method: "PATCH", path: environmentPath(id, "announcements"), body: change})
}
