package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"net"
	"os"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/registry"
	"github.com/springtide/springtide/internal/store"
)

// images implements registry.Images: the releases that are kept, those that are
// being rolled out among them.
type images struct {
	*build.Builder
	store store.Store
}

// Tags implements registry.Images.
func (i images) Tags(ctx context.Context, app springtide.AppName) (map[string]springtide.Digest, error) {
	environments, err := i.store.Environments(ctx)
	if err != nil {
		return nil, err
	}
	tags := map[string]springtide.Digest{}
	for _, environment := range environments {
		if environment.ID.App != app {
			continue
		}
		releases, err := i.store.Releases(ctx, environment.ID)
		if err != nil {
			return nil, err
		}
		for _, release := range releases {
			tags[release.ID().Tag()] = release.Artifact
		}
	}
	if len(tags) == 0 {
		return nil, springtide.Errorf(springtide.NotFound, "no release of %s is here", app)
	}
	return tags, nil
}

// registry is what nodes pull images from, where the API listens for them.
func (p *plane) registry() api.Registry {
	if p.API == "" {
		return api.Registry{}
	}
	token := p.pullToken()
	return api.Registry{
		Host: p.registryHost(), User: registry.User, Token: token,
		Handler: registry.New(registry.Options{Images: images{p.builds.Builder, p.store}, Token: token, Logger: p.Logger}),
	}
}

// pullToken is the same on all servers that share a ledger.
func (p *plane) pullToken() string {
	return "tide_pull_" + base64.RawURLEncoding.EncodeToString(sign(p.access.shared, []byte("pull images")))
}

// registryHost is how nodes reach the registry; empty: there is none.
func (p *plane) registryHost() string {
	if p.API == "" {
		return ""
	}
	return cmp.Or(p.Engine.RegistryHost, registryHost(p.API))
}

// registryHost is how others reach an address that this machine listens on.
func registryHost(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host != "" && !net.ParseIP(host).IsUnspecified() {
		return address
	}
	if host, err = os.Hostname(); err != nil {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// login gives the value of the secret that says how a registry is logged in to;
// without a name none.
func (s *state) login(id springtide.EnvironmentID, name springtide.SecretName) (string, error) {
	if name == "" {
		return "", nil
	}
	return s.secret(id, name)
}

// withLogin are the secrets that an app cannot be released without.
func withLogin(app springtide.App) []springtide.SecretName {
	if app.Build.Login == "" || slices.Contains(app.Secrets, app.Build.Login) {
		return app.Secrets
	}
	return append(slices.Clone(app.Secrets), app.Build.Login)
}

// pushRelease has the user's own registry hold the release, where there is one.
func (s *state) pushRelease(ctx context.Context, release springtide.Release, say func(string)) error {
	if release.App.Build.Push == "" {
		return nil
	}
	login, err := s.login(release.Environment, release.App.Build.Login)
	if err != nil {
		return err
	}
	s.cluster.logIn(release.App.Build.Push, login)
	say("pushing " + release.ID().Tag() + " to " + release.App.Build.Push)
	return s.push(ctx, build.PushRequest{App: release.App, Artifact: release.Artifact, Tag: release.ID().Tag(), Login: login, Say: say})
}
