package control

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/store"
)

// purgeLimit is how long the edges may take to forget.
const purgeLimit = 30 * time.Second

// caches implements api.Caches.
type caches struct {
	fleet   *deploy.Fleet
	store   store.Purges
	edges   deploy.Edges
	metrics *observe.Metrics
}

// Cache implements api.Caches.
func (c caches) Cache(_ context.Context, id springtide.EnvironmentID) (api.CacheStatus, error) {
	_, release, err := c.fleet.Environment(id)
	if err != nil {
		return api.CacheStatus{}, err
	}
	requests, size := c.metrics.Cache(&id)
	rules := release.App.Cache
	if rules == nil {
		rules = []springtide.CacheRule{}
	}
	return api.CacheStatus{Rules: rules, Requests: requests, Memory: size.Memory, Disk: size.Disk}, nil
}

// Purge implements api.Caches. Once it is recorded it is part of every table, so
// that an edge that is away, or starts later, has it before it serves by a newer one.
func (c caches) Purge(ctx context.Context, purge springtide.Purge) (springtide.Purge, error) {
	purge, err := c.store.AddPurge(ctx, purge)
	if err != nil {
		return purge, err
	}
	ctx, cancel := context.WithTimeout(ctx, purgeLimit)
	defer cancel()
	if err := c.edges.Settle(ctx); err != nil {
		return purge, springtide.Errorf(springtide.Unavailable, "the purge is recorded, but not all edges have said that they know of it: %w", err).
			WithHint("they will before they serve by a newer routing table; `tide doctor` shows the edges")
	}
	return purge, nil
}
