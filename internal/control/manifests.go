package control

import (
	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/manifest"
)

// manifests implements deploy.Manifests.
type manifests struct{}

// Read implements deploy.Manifests.
func (manifests) Read(source string, environment springtide.EnvironmentName) (springtide.App, error) {
	app, _, err := manifest.Load(source, environment)
	return app, err
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
