package apitest

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// caches implements [api.Caches]: one rule, and a purge is remembered.
type caches struct{ *Platform }

// Cache implements [api.Caches].
func (p caches) Cache(_ context.Context, id springtide.EnvironmentID) (status api.CacheStatus, err error) {
	err = p.with(id, func(e *environment) error {
		status = api.CacheStatus{
			Rules:    []springtide.CacheRule{{Match: "/assets/*", TTL: 3600e9}},
			Requests: map[springtide.CacheResult]int64{springtide.CacheHit: 75, springtide.CacheMiss: 25},
			Memory:   3 << 20, Disk: 40 << 20,
		}
		if len(e.purges) > 0 {
			status.Requests, status.Memory, status.Disk = nil, 0, 0
		}
		return nil
	})
	return status, err
}

// Purge implements [api.Caches].
func (p caches) Purge(_ context.Context, purge springtide.Purge) (springtide.Purge, error) {
	purge.Number = 1
	return purge, p.with(purge.Environment, func(e *environment) error {
		e.purges = append(e.purges, purge)
		return nil
	})
}
