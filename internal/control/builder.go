package control

import (
	"context"
	"io"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/observe"
)

// builder implements deploy.Builder.
type builder struct {
	*build.Builder
	metrics *observe.Metrics
	// login gives what a secret of the environment says of a registry.
	login func(id springtide.EnvironmentID, name springtide.SecretName) (string, error)
}

// newBuilder joins the builds with the engine, whose limits and users they get.
func newBuilder(o Options, engine *process.Engine, kept *state, metrics *observe.Metrics) builder {
	return builder{Builder: build.New(build.Options{Data: o.DataFolder, Limiter: engine.Limiter(), User: engine.User}), metrics: metrics, login: kept.login}
}

// Build implements deploy.Builder.
func (b builder) Build(ctx context.Context, id springtide.EnvironmentID, app springtide.App, source string, output io.Writer) (springtide.Digest, error) {
	began := time.Now()
	login, err := b.login(id, app.Build.Login)
	if err != nil {
		return "", err
	}
	artifact, err := b.Builder.Build(ctx, build.Request{App: app, Source: source, Take: true, Output: output, Login: login})
	b.metrics.BuildOver(time.Since(began), err)
	return artifact.Digest, err
}

// Collect implements deploy.Builder.
func (b builder) Collect(ctx context.Context, keep []springtide.Digest) error {
	_, _, err := b.Builder.Collect(ctx, keep)
	return err
}
