package store

import (
	"context"

	"github.com/springtide/springtide"
)

// Arrival is an environment as it was on another platform.
type Arrival struct {
	// Environment has what was set by hand. Its Active is the number of the release
	// that is to have the traffic, which is rolled out; 0: none is.
	Environment springtide.Environment
	// Releases keep their numbers.
	Releases []springtide.Release
	// SecretKey is what Secrets are sealed with, sealed by this platform's root key.
	// nil: there are no secrets.
	SecretKey []byte
	Secrets   []Secret
	// Deploy names the request that its rollout carries out.
	Deploy string
}

// Arrivals takes in what comes from other platforms.
type Arrivals interface {
	// Receive records environments, all of them or none, each with a rollout that is
	// recorded, and gives those rollouts. An environment that is here and never
	// served is replaced. It is a Conflict if one serves or is being rolled out, or
	// if one of the domains belongs to another environment.
	Receive(ctx context.Context, arrivals []Arrival) ([]springtide.Rollout, error)
}
