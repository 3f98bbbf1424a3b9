package client

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Cache tells how an environment is cached.
func (c *Client) Cache(ctx context.Context, id springtide.EnvironmentID) (api.CacheStatus, error) {
	return call[api.CacheStatus](ctx, c, request{method: "GET", path: environmentPath(id, "cache")})
}

// Purge has the edges forget something; it returns when all of them have.
func (c *Client) Purge(ctx context.Context, id springtide.EnvironmentID, what api.PurgeRequest) (springtide.Purge, error) {
	return call[springtide.Purge](ctx, c, request{method: "POST", path: environmentPath(id, "cache", "purge"), body: what})
}
