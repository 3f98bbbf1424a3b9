package control

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/calendar"
	"github.com/springtide/springtide/internal/demand"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/manifest"
	"github.com/springtide/springtide/internal/observe"
)

// environments implements api.Environments and api.Settings.
type environments struct {
	*deploy.Fleet
	deployer *deploy.Deployer
	edges    deploy.Edges
	metrics  *observe.Metrics
	url      func(host string) string
	logs     string // the folder with a folder for each app
	duties   *duties
	mails    mails
	kept     *state
	demand   *demand.Recorder
	logger   *slog.Logger
}

// settleLimit is how long the edges may take to route by a change.
const settleLimit = 5 * time.Second

// Environments implements api.Environments.
func (e environments) Environments(ctx context.Context, app springtide.AppName) ([]api.EnvironmentStatus, error) {
	list := []api.EnvironmentStatus{}
	for _, environment := range e.Fleet.Environments() {
		if app != "" && environment.ID.App != app {
			continue
		}
		status, err := e.Environment(ctx, environment.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, status)
	}
	return list, nil
}

// Environment implements api.Environments.
func (e environments) Environment(_ context.Context, id springtide.EnvironmentID) (api.EnvironmentStatus, error) {
	environment, release, err := e.Fleet.Environment(id)
	if err != nil {
		return api.EnvironmentStatus{}, err
	}
	status := api.EnvironmentStatus{Environment: environment, URLs: []string{}, Processes: []api.ProcessStatus{}}
	for _, host := range deploy.Hosts(environment, release) {
		status.URLs = append(status.URLs, e.url(host))
	}
	snapshot, _ := e.Snapshot()
	for _, active := range e.ActiveOf(id) {
		_, fixed := environment.Scale[active.Group.ID.Process]
		process := api.ProcessStatus{
			Name: active.Group.ID.Process, Min: active.Process.Scale.Min, Max: active.Process.Scale.Max,
			Wanted: active.Group.Replicas, Fixed: fixed,
		}
		for _, instance := range snapshot.Of(active.Group.ID) {
			if instance.State == springtide.InstanceReady {
				process.Ready++
			}
		}
		status.Processes = append(status.Processes, process)
	}
	return status, nil
}

// Destroy implements api.Environments.
func (e environments) Destroy(ctx context.Context, id springtide.EnvironmentID) error {
	defer e.kept.cluster.forget(id)
	if err := e.deployer.Destroy(ctx, id); err != nil {
		return err
	}
	e.metrics.Forget(id)
	e.demand.Forget(id)
	// What is left of its jobs makes no difference to anybody: it is forgotten at
	// the next start if it cannot be now.
	if err := errors.Join(e.duties.forget(ctx, id), e.mails.forget(id), e.kept.keep(ctx, id, nil)); err != nil {
		e.logger.Error("an environment is destroyed, but not its jobs and mails, or its services run on", "environment", id, "error", err)
	}
	if err := os.RemoveAll(filepath.Join(e.logs, string(id.App), string(id.Name))); err != nil {
		return springtide.Errorf(springtide.Failed, "%s is destroyed, but not its logs: %w", id, err)
	}
	_ = os.Remove(filepath.Join(e.logs, string(id.App))) // not while there is another environment
	return nil
}

// ChangeConfig implements api.Settings: an environment that runs gets a new
// release with the config at once.
func (e environments) ChangeConfig(ctx context.Context, id springtide.EnvironmentID, change api.ConfigChange) (map[string]string, error) {
	before, _, err := e.Fleet.Environment(id)
	if err != nil && springtide.KindOf(err) != springtide.NotFound {
		return nil, err
	}
	config, err := e.SetConfig(ctx, id, change.Set, change.Remove)
	if err == nil && !maps.Equal(before.Config, config) {
		e.deployer.Reconfigure(id, "config: "+describeChange(change))
	}
	return config, err
}

// describeChange names the variables, never their values.
func describeChange(change api.ConfigChange) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(change.Set)) {
		text += " set " + name
	}
	for _, name := range change.Remove {
		text += " unset " + name
	}
	return text[min(1, len(text)):]
}

// ChangeDomains implements api.Settings: whoever is told so is routed so.
func (e environments) ChangeDomains(ctx context.Context, id springtide.EnvironmentID, change api.DomainsChange) ([]string, error) {
	domains, err := e.SetDomains(ctx, id, change.Add, change.Remove)
	if err == nil {
		e.settle(ctx)
	}
	return domains, err
}

// Stop implements api.Environments: once it returns, requests are refused.
func (e environments) Stop(ctx context.Context, id springtide.EnvironmentID) error {
	err := e.Fleet.Stop(ctx, id)
	if err == nil {
		e.settle(ctx)
	}
	return err
}

// Start implements api.Environments: once it returns, requests are held until
// an instance is ready.
func (e environments) Start(ctx context.Context, id springtide.EnvironmentID) error {
	err := e.Fleet.Start(ctx, id)
	if err == nil {
		e.settle(ctx)
	}
	return err
}

// Maintain implements api.Environments: once it returns, the edges do so.
func (e environments) Maintain(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) error {
	err := e.SetMaintenance(ctx, id, maintenance)
	if err == nil {
		e.settle(ctx)
	}
	return err
}

// settle waits until the edges route by what was just changed. What was changed
// stays so if one of them hangs.
func (e environments) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	if err := e.edges.Settle(ctx); err != nil {
		e.logger.Warn("an edge did not take a change of the routing in time", "error", err)
	}
}

// ChangeScale implements api.Settings: either all of it or nothing.
func (e environments) ChangeScale(ctx context.Context, id springtide.EnvironmentID, change api.ScaleChange) error {
	_, release, err := e.Fleet.Environment(id)
	if err != nil {
		return err
	}
	for _, process := range slices.AppendSeq(slices.Clone(change.Reset), maps.Keys(change.Set)) {
		if _, known := release.App.Processes[process]; !known {
			return noProcess(id, release, process)
		}
	}
	for process, scale := range change.Set {
		if err := e.SetScale(ctx, id, process, &scale); err != nil {
			return err
		}
	}
	for _, process := range change.Reset {
		if err := e.SetScale(ctx, id, process, nil); err != nil {
			return err
		}
	}
	return nil
}

func noProcess(id springtide.EnvironmentID, release springtide.Release, process springtide.ProcessName) error {
	if release.Number == 0 {
		return springtide.Errorf(springtide.NotFound, "%s has no release yet", id).WithHint("make one with `tide deploy`")
	}
	return springtide.Errorf(springtide.NotFound, "%s has no process %q", id, process).WithHint("it has %v", release.App.ProcessNames())
}

// Plan implements api.Settings.
func (e environments) Plan(_ context.Context, id springtide.EnvironmentID, app springtide.App) (api.Plan, error) {
	environment, release, err := e.Fleet.Environment(id)
	if err != nil && springtide.KindOf(err) != springtide.NotFound {
		return api.Plan{}, err
	}
	plan := api.Plan{Environment: id, Release: environment.Active, Changes: []api.Change{}}
	for _, change := range manifest.Difference(release.App, app) {
		plan.Changes = append(plan.Changes, asChange(change))
	}
	plan.Warnings = append(e.kept.misfits(id, app), calendar.Over(app, time.Now())...)
	return plan, nil
}
