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
}

// newBuilder joins the builds with the engine, whose limits and users they get.
func newBuilder(o Options, engine *process.Engine, metrics *observe.Metrics) builder {
	return builder{build.New(build.Options{Data: o.DataFolder, Limiter: engine.Limiter(), User: engine.User}), metrics}
}

// Build implements deploy.Builder.
func (b builder) Build(ctx context.Context, app springtide.App, source string, output io.Writer) (springtide.Digest, error) {
	began := time.Now()
	artifact, err := b.Builder.Build(ctx, build.Request{App: app, Source: source, Take: true, Output: output})
	b.metrics.BuildOver(time.Since(began), err)
	return artifact.Digest, err
}

// Collect implements deploy.Builder.
func (b builder) Collect(ctx context.Context, keep []springtide.Digest) error {
	_, _, err := b.Builder.Collect(ctx, keep)
	return err
}
