package control

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/deploy"
)

// deploys implements api.Deploys.
type deploys struct {
	deployer *deploy.Deployer
	uploads  string // the folder for sources on their way to a build
	url      func(host string) string
}

// Deploy implements api.Deploys.
func (d deploys) Deploy(ctx context.Context, request api.DeployRequest) (api.DeployID, error) {
	upload, err := os.MkdirTemp(d.uploads, "source-")
	if err != nil {
		return "", err
	}
	discard := func() { os.RemoveAll(upload) }
	source := filepath.Join(upload, string(request.Environment.App)) // without a name in it, a manifest is of the app its folder is named for
	if err := errors.Join(os.Mkdir(source, 0o700), build.Unpack(ctx, request.Source, source)); err != nil {
		discard()
		return "", err
	}
	return api.DeployID(d.deployer.Deploy(request.Environment, source, request.Description, discard)), nil
}

// Rollback implements api.Deploys.
func (d deploys) Rollback(ctx context.Context, environment springtide.EnvironmentID, number int) (api.DeployID, error) {
	id, err := d.deployer.Rollback(ctx, environment, number)
	return api.DeployID(id), err
}

// Restart implements api.Deploys.
func (d deploys) Restart(_ context.Context, environment springtide.EnvironmentID) (api.DeployID, error) {
	id, err := d.deployer.Restart(environment)
	return api.DeployID(id), err
}

// DeployStatus implements api.Deploys.
func (d deploys) DeployStatus(ctx context.Context, id api.DeployID) (api.Deploy, error) {
	work, err := d.deployer.Work(ctx, string(id))
	if err != nil {
		return api.Deploy{}, err
	}
	status := api.Deploy{
		ID: id, Environment: work.Environment, Release: work.Release, Step: work.Step, Done: work.Done, Started: work.Started,
		Timings: api.Timings{
			BuildSeconds: work.Build.Seconds(), StartSeconds: work.Start.Seconds(),
			SwitchSeconds: work.Switch.Seconds(), TotalSeconds: work.Total.Seconds(),
		},
		URL: d.url(deploy.Hosts(springtide.Environment{ID: work.Environment}, springtide.Release{})[0]),
	}
	if work.Err != nil {
		if failure, ok := errors.AsType[*springtide.Error](work.Err); ok {
			status.Error = failure
		} else {
			status.Error = springtide.Errorf(springtide.Internal, "%w", work.Err)
		}
	}
	return status, nil
}
