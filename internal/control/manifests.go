package control

import (
	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/manifest"
)

// manifests implements deploy.Manifests.
type manifests struct {
	// needsBase says that apps run in an image: they have to name what it begins with.
	needsBase bool
}

// Read implements deploy.Manifests.
func (m manifests) Read(source string, environment springtide.EnvironmentName) (springtide.App, error) {
	app, _, err := manifest.Load(source, environment)
	if err != nil || !m.needsBase || app.Build.Base != "" {
		return app, err
	}
	read, err := manifest.Read(source)
	if err != nil {
		return app, err
	}
	return app, springtide.Errorf(springtide.Invalid, "%s: build.base is missing: a cluster has nothing to run %s in", read.BuildPlace(), app.Name).
		WithHint("name an image, like build: { base: debian:12-slim }")
}

// asChange is a change as the API tells it.
func asChange(change manifest.Change) api.Change {
	action := api.ChangeValue
	switch change.Kind {
	case manifest.Added:
		action = api.ChangeAdd
	case manifest.Removed:
		action = api.ChangeRemove
	}
	return api.Change{Action: action, What: change.Path, From: change.From, To: change.To, Effect: change.Effect}
}
