package api

import (
	"context"

	"github.com/springtide/springtide"
)

// Caches are what edges keep of the answers of apps. Implemented by the control
// plane's wiring.
type Caches interface {
	// Cache tells how an environment is cached, and what came of it.
	Cache(ctx context.Context, id springtide.EnvironmentID) (CacheStatus, error)
	// Purge records the purge and gives its number; it returns when every edge that is
	// live has it in force. An error of kind Unavailable says that it is
	// recorded, but that an edge does not answer.
	Purge(ctx context.Context, purge springtide.Purge) (springtide.Purge, error)
}

// CacheStatus is how an environment is cached.
type CacheStatus struct {
	// Rules are those of the release that has the traffic; none: nothing is cached.
	Rules []springtide.CacheRule `json:"rules"`
	// Requests counts requests by what the cache had to do with them, since the
	// control plane's start.
	Requests map[springtide.CacheResult]int64 `json:"requests"`
	// Memory and Disk are what the edges keep of all apps together, in bytes.
	Memory int64 `json:"memory"`
	Disk   int64 `json:"disk"`
}

// PurgeRequest says what edges are to forget of an environment: what carries a tag,
// what is at a path or, with a star at its end, below it, or all.
type PurgeRequest struct {
	Tag  string `json:"tag,omitempty" maxLength:"2000"`
	Path string `json:"path,omitempty" maxLength:"2000"`
	All  bool   `json:"all,omitempty"`
}

type purgeInput struct {
	EnvironmentPath
	Body PurgeRequest
}

func (s *Server) getCache(ctx context.Context, in *EnvironmentPath) (CacheStatus, error) {
	return s.platform.Caches.Cache(ctx, in.id())
}

func (s *Server) purge(ctx context.Context, in *purgeInput) (springtide.Purge, error) {
	purge := springtide.Purge{Environment: in.id(), Tag: in.Body.Tag, Path: in.Body.Path}
	if in.Body.All == (purge.Tag != "" || purge.Path != "") {
		return purge, springtide.Errorf(springtide.Invalid, "a purge is of a tag, of a path, or of all").WithHint("say which one")
	}
	if err := purge.Validate(); err != nil {
		return purge, err
	}
	if _, err := s.platform.Environments.Environment(ctx, purge.Environment); err != nil {
		return purge, err
	}
	return s.platform.Caches.Purge(ctx, purge)
}
