package api

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/springtide/springtide"
)

func (s *Server) listAllServices(ctx context.Context, _ *struct{}) ([]ServiceStatus, error) {
	return s.platform.Services.Services(ctx, springtide.EnvironmentID{})
}

func (s *Server) listServices(ctx context.Context, in *EnvironmentPath) ([]ServiceStatus, error) {
	return s.platform.Services.Services(ctx, in.id())
}

// ServicePath is the part of a path that names a service.
type ServicePath struct {
	EnvironmentPath
	Name springtide.ServiceName `path:"service" maxLength:"40" pattern:"^[a-z0-9-]+$"`
}

func (p ServicePath) service() springtide.ServiceID {
	return springtide.ServiceID{Environment: p.id(), Name: p.Name}
}

func (s *Server) getService(ctx context.Context, in *ServicePath) (ServiceDetails, error) {
	return s.platform.Services.Service(ctx, in.service())
}

// What takes long is not left half done when its client goes away.

func (s *Server) restartService(ctx context.Context, in *ServicePath) error {
	return s.platform.Services.RestartService(context.WithoutCancel(ctx), in.service())
}

func (s *Server) promoteService(ctx context.Context, in *ServicePath) error {
	return s.platform.Services.PromoteService(context.WithoutCancel(ctx), in.service())
}

func (s *Server) rotateService(ctx context.Context, in *ServicePath) error {
	return s.platform.Services.RotateService(context.WithoutCancel(ctx), in.service())
}

// ForkRequest asks for a copy of a service.
type ForkRequest struct {
	Environment springtide.EnvironmentName `json:"environment" doc:"the environment of the same app that gets the copy"`
	Scrub       string                     `json:"scrub,omitempty" doc:"a command of the release there, which finds the copy in DATABASE_URL and changes it before anybody else has it"`
}

type forkInput struct {
	ServicePath
	Body ForkRequest
}

func (s *Server) forkService(ctx context.Context, in *forkInput) error {
	to := springtide.ServiceID{Environment: springtide.EnvironmentID{App: in.App, Name: in.Body.Environment}, Name: in.Name}
	return s.platform.Services.ForkService(context.WithoutCancel(ctx), in.service(), to, in.Body.Scrub)
}

// UpgradeRequest asks for another version of a service.
type UpgradeRequest struct {
	Version  string `json:"version" minLength:"1"`
	Rehearse bool   `json:"rehearse,omitempty" doc:"do it with a copy, and change nothing"`
}

// Upgraded tells how long an upgrade took.
type Upgraded struct {
	TookSeconds float64 `json:"took_seconds"`
}

type upgradeInput struct {
	ServicePath
	Body UpgradeRequest
}

func (s *Server) upgradeService(ctx context.Context, in *upgradeInput) (Upgraded, error) {
	took, err := s.platform.Services.UpgradeService(context.WithoutCancel(ctx), in.service(), in.Body.Version, in.Body.Rehearse)
	return Upgraded{took.Seconds()}, err
}

type destroyServiceInput struct {
	ServicePath
	Confirm string `query:"confirm" required:"true" doc:"app/environment/service, typed out"`
}

func (s *Server) destroyService(ctx context.Context, in *destroyServiceInput) error {
	if in.Confirm != in.service().String() {
		return springtide.Errorf(springtide.Invalid, "%q is not the name of what would be deleted", in.Confirm).
			WithHint("all data of the service is deleted for good; to do that, name it as %s", in.service())
	}
	return s.platform.Services.DestroyService(context.WithoutCancel(ctx), in.service())
}

func (s *Server) serviceLog(ctx context.Context, in *ServicePath) (func(huma.Context), error) {
	text, err := s.platform.Services.ServiceLog(ctx, in.service())
	if err != nil {
		return nil, err
	}
	return sendText(text, "text/plain; charset=utf-8"), nil
}

// sendText answers with a text as it comes.
func sendText(text io.ReadCloser, contentType string) func(huma.Context) {
	return func(ctx huma.Context) {
		defer text.Close()
		_, w := humago.Unwrap(ctx)
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(http.StatusOK)
		_, _ = io.Copy(w, text) // the client sees that the answer stops
	}
}
