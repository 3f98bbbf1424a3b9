package control

import (
	"context"
	"io"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/store"
)

// builder implements deploy.Builder.
type builder struct {
	*build.Builder
	metrics *observe.Metrics
	// registry is where a cluster's nodes pull images from; nil: instances run on this
	// machine.
	registry *string
	store    store.Store
	// login gives what a secret of the environment says of a registry.
	login func(id springtide.EnvironmentID, name springtide.SecretName) (string, error)
}

// newBuilder joins the builds with the machine, whose limits and users they get.
func newBuilder(p *plane) builder {
	b := builder{metrics: p.metrics, store: p.store, login: p.kept.login}
	if p.cluster != nil {
		b.registry = new(p.registryHost())
	}
	b.Builder = build.New(build.Options{
		Data: p.DataFolder, Limiter: p.machine.Limiter(), User: p.machine.User, NeedsBase: p.cluster != nil,
	})
	return b
}

// Place implements deploy.Builder.
func (b builder) Place(ctx context.Context, release springtide.Release) (springtide.Template, error) {
	template := springtide.Template{Artifact: release.Artifact}
	if b.registry != nil {
		template.Image = release.Image(*b.registry)
		return template, nil
	}
	var err error
	template.Root, err = b.Root(ctx, release.Artifact)
	return template, err
}

// placeAgain says where the instances of a group get their artifact from now.
func (b builder) placeAgain(ctx context.Context, group springtide.Group) (springtide.Template, error) {
	if b.registry != nil && group.Template.Image != "" {
		return group.Template, nil
	}
	release := springtide.Release{Artifact: group.Template.Artifact}
	if b.registry != nil { // it ran on one machine
		var err error
		if release, err = b.store.Release(ctx, springtide.ReleaseID{Environment: group.ID.Environment, Number: group.ID.Release}); err != nil {
			return springtide.Template{}, err
		}
	}
	return b.Place(ctx, release)
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
