package deploy

import (
	"context"

	"github.com/springtide/springtide"
)

// Environments is what is wanted of environments apart from their releases.
// Implemented by the store.
type Environments interface {
	CreateEnvironment(ctx context.Context, id springtide.EnvironmentID) (springtide.Environment, error)
	Environments(ctx context.Context) ([]springtide.Environment, error)
	DestroyEnvironment(ctx context.Context, id springtide.EnvironmentID) error
	SetConfig(ctx context.Context, id springtide.EnvironmentID, set map[string]string, unset []string) (springtide.Environment, error)
	SetDomains(ctx context.Context, id springtide.EnvironmentID, add, remove []string) (springtide.Environment, error)
	SetScale(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, scale *springtide.ScaleRange) (springtide.Environment, error)
	SetOccasions(ctx context.Context, id springtide.EnvironmentID, change func([]springtide.Occasion) ([]springtide.Occasion, error)) (springtide.Environment, error)
	SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) (springtide.Environment, error)
	SetMaintenance(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) (springtide.Environment, error)
}

// Groups is what the engine is to run. Implemented by the store.
type Groups interface {
	PutGroup(ctx context.Context, group springtide.Group) error
	SetReplicas(ctx context.Context, id springtide.GroupID, replicas int) error
	DeleteGroup(ctx context.Context, id springtide.GroupID) error
	Groups(ctx context.Context) ([]springtide.Group, error)
}

// Releases is what was made to be run. Implemented by the store.
type Releases interface {
	AddRelease(ctx context.Context, release springtide.Release) (springtide.Release, error)
	Release(ctx context.Context, id springtide.ReleaseID) (springtide.Release, error)
	Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error)
	FailRelease(ctx context.Context, id springtide.ReleaseID, reason string) error
	DeleteRelease(ctx context.Context, id springtide.ReleaseID) error
	Artifacts(ctx context.Context) ([]springtide.Digest, error)
}

// Rollouts is how far each rollout has come. Implemented by the store.
type Rollouts interface {
	CheckDomains(ctx context.Context, id springtide.EnvironmentID, domains []string) error
	BeginRollout(ctx context.Context, rollout springtide.Rollout) (springtide.Rollout, error)
	SaveRollout(ctx context.Context, rollout springtide.Rollout) error
	SwitchRollout(ctx context.Context, rollout springtide.Rollout) error
	FinishRollout(ctx context.Context, rollout springtide.Rollout) error
	FailRollout(ctx context.Context, rollout springtide.Rollout) error
	OpenRollouts(ctx context.Context) ([]springtide.Rollout, error)
	RolloutOf(ctx context.Context, deploy string) (springtide.Rollout, error)
}

// Store is what a fleet and its deploys need to remember.
type Store interface {
	Environments
	Groups
	Releases
	Rollouts
}
