package api

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/springtide/springtide"
)

type deployInput struct {
	EnvironmentPath
	Description string `query:"description" maxLength:"500" doc:"what the source is: a commit, for example"`
	Source      wholeBody
}

func (s *Server) deploy(ctx context.Context, in *deployInput) (Deploy, error) {
	source := &limitedSource{reader: in.Source.reader}
	id, err := s.platform.Deploys.Deploy(ctx, DeployRequest{Environment: in.id(), Source: source, Description: in.Description})
	if source.tooLarge {
		return Deploy{}, springtide.Errorf(springtide.Invalid, "the source is larger than %d GiB", largestBody>>30).
			WithHint("leave out what the build can make or fetch: name it in .gitignore")
	}
	if err != nil {
		return Deploy{}, err
	}
	return s.platform.Deploys.DeployStatus(ctx, id)
}

// limitedSource remembers that the source was cut because of its size.
type limitedSource struct {
	reader   io.Reader
	tooLarge bool
}

// Read passes on what is read.
func (l *limitedSource) Read(b []byte) (int, error) {
	n, err := l.reader.Read(b)
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		l.tooLarge = true
	}
	return n, err
}

type rollbackInput struct {
	EnvironmentPath
	Body struct {
		Release int `json:"release,omitempty" minimum:"0" doc:"its number; 0 is the one that had the traffic before"`
	}
}

func (s *Server) rollback(ctx context.Context, in *rollbackInput) (Deploy, error) {
	id, err := s.platform.Deploys.Rollback(ctx, in.id(), in.Body.Release)
	if err != nil {
		return Deploy{}, err
	}
	return s.platform.Deploys.DeployStatus(ctx, id)
}

func (s *Server) restart(ctx context.Context, in *EnvironmentPath) (Deploy, error) {
	id, err := s.platform.Deploys.Restart(ctx, in.id())
	if err != nil {
		return Deploy{}, err
	}
	return s.platform.Deploys.DeployStatus(ctx, id)
}

type deployPath struct {
	Deploy DeployID `path:"deploy"`
}

func (s *Server) getDeploy(ctx context.Context, in *deployPath) (Deploy, error) {
	return s.platform.Deploys.DeployStatus(ctx, in.Deploy)
}

type planInput struct {
	EnvironmentPath
	Body springtide.App
}

func (s *Server) plan(ctx context.Context, in *planInput) (Plan, error) {
	plan, err := s.platform.Settings.Plan(ctx, in.id(), in.Body)
	plan.Changes = emptyNotNull(plan.Changes)
	return plan, err
}
