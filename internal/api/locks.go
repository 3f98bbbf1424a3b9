package api

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func (s *Server) listLocks(ctx context.Context, in *EnvironmentPath) ([]jobs.Lock, error) {
	return s.platform.Locks.Locks(ctx, in.id())
}

// LockPath is the part of a path that names a lock.
type LockPath struct {
	EnvironmentPath
	Name string `path:"name" minLength:"1" maxLength:"200"`
}

// LockRequest asks for a lock.
type LockRequest struct {
	Owner       string  `json:"owner" minLength:"1" maxLength:"200" doc:"who has it, for others to read; who asks again as the same has it already"`
	TTLSeconds  float64 `json:"ttl_seconds,omitempty" default:"30" minimum:"1" maximum:"3600" doc:"for how long, if it is not renewed"`
	WaitSeconds float64 `json:"wait_seconds,omitempty" minimum:"0" maximum:"30" doc:"how long to wait while it is somebody else's"`
}

type takeLockInput struct {
	LockPath
	Body LockRequest
}

func (s *Server) takeLock(ctx context.Context, in *takeLockInput) (jobs.Lock, error) {
	serving, done := whileServing(ctx)
	defer done()
	lock, err := s.platform.Locks.TakeLock(serving, in.id(), in.Name, in.Body.Owner, duration(in.Body.TTLSeconds), duration(in.Body.WaitSeconds))
	return lock, unlessEnding(serving, err)
}

// LockRenewal keeps a lock.
type LockRenewal struct {
	Fence      springtide.Fence `json:"fence"`
	TTLSeconds float64          `json:"ttl_seconds,omitempty" default:"30" minimum:"1" maximum:"3600"`
}

type renewLockInput struct {
	LockPath
	Body LockRenewal
}

func (s *Server) renewLock(ctx context.Context, in *renewLockInput) (jobs.Lock, error) {
	return s.platform.Locks.RenewLock(ctx, in.id(), in.Name, in.Body.Fence, duration(in.Body.TTLSeconds))
}

type releaseLockInput struct {
	LockPath
	Fence springtide.Fence `query:"fence" required:"true"`
}

func (s *Server) releaseLock(ctx context.Context, in *releaseLockInput) error {
	return s.platform.Locks.ReleaseLock(ctx, in.id(), in.Name, in.Fence)
}
