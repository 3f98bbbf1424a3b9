package api

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func (s *Server) listSchedules(ctx context.Context, in *EnvironmentPath) ([]jobs.ScheduleStatus, error) {
	return s.platform.Schedules.Schedules(ctx, in.id())
}

type comingInput struct {
	EnvironmentPath
	Count int `query:"count" default:"10" minimum:"1" maximum:"1000"`
}

func (s *Server) comingSlots(ctx context.Context, in *comingInput) ([]jobs.Coming, error) {
	return s.platform.Schedules.Coming(ctx, in.id(), in.Count)
}

type schedulePath struct {
	EnvironmentPath
	Schedule springtide.ScheduleName `path:"schedule"`
}

func (s *Server) triggerSchedule(ctx context.Context, in *schedulePath) (jobs.Enqueued, error) {
	run, err := s.platform.Schedules.Trigger(ctx, in.id(), in.Schedule)
	return jobs.Enqueued{Run: run}, err
}

func (s *Server) pauseSchedule(ctx context.Context, in *schedulePath) error {
	return s.platform.Schedules.PauseSchedule(ctx, in.id(), in.Schedule, true)
}

func (s *Server) resumeSchedule(ctx context.Context, in *schedulePath) error {
	return s.platform.Schedules.PauseSchedule(ctx, in.id(), in.Schedule, false)
}
