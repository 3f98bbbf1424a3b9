package api

import (
	"context"

	"github.com/springtide/springtide"
)

// AppPath is the part of a path that names an app.
type AppPath struct {
	App springtide.AppName `path:"app" maxLength:"40" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"`
}

// EnvironmentPath is the part of a path that names an environment.
type EnvironmentPath struct {
	AppPath
	Environment springtide.EnvironmentName `path:"environment" maxLength:"40" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"`
}

func (p EnvironmentPath) id() springtide.EnvironmentID {
	return springtide.EnvironmentID{App: p.App, Name: p.Environment}
}

func (s *Server) listApps(ctx context.Context, _ *struct{}) ([]EnvironmentStatus, error) {
	return s.platform.Environments.Environments(ctx, "")
}

func (s *Server) listEnvironments(ctx context.Context, in *AppPath) ([]EnvironmentStatus, error) {
	return s.platform.Environments.Environments(ctx, in.App)
}

func (s *Server) getEnvironment(ctx context.Context, in *EnvironmentPath) (EnvironmentStatus, error) {
	return s.platform.Environments.Environment(ctx, in.id())
}

func (s *Server) destroy(ctx context.Context, in *EnvironmentPath) error {
	return s.platform.Environments.Destroy(ctx, in.id())
}

func (s *Server) stop(ctx context.Context, in *EnvironmentPath) error {
	return s.platform.Environments.Stop(ctx, in.id())
}

func (s *Server) start(ctx context.Context, in *EnvironmentPath) error {
	return s.platform.Environments.Start(ctx, in.id())
}
