package control

import (
	"context"
	"maps"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/internal/service"
)

// listed tells of the databases that the cluster keeps for an environment; the zero
// value: for all.
func (s services) listed(ctx context.Context, id springtide.EnvironmentID) (all []api.ServiceStatus, err error) {
	if s.cluster == nil {
		return nil, nil
	}
	databases, err := s.cluster.databases.List(ctx)
	for _, d := range databases {
		if id == (springtide.EnvironmentID{}) || d.ID.Environment == id {
			all = append(all, s.toldOf(d))
		}
	}
	return all, err
}

func (s services) toldOf(d kubernetes.KeptDatabase) api.ServiceStatus {
	_, namespace := s.cluster.Where()
	told := api.ServiceStatus{
		ID: d.ID, Spec: springtide.Service{Kind: springtide.ServicePostgres}, Version: d.Version, State: string(service.StateStarting),
		Reason: d.Phase, Cluster: d.Cluster, Created: d.Created, Servers: []api.ServiceServer{}, Variables: []string{},
	}
	switch {
	case d.Asleep:
		told.State = string(service.StateStopped)
	case d.Ready:
		told.State, told.Reason = string(service.StateReady), ""
	case d.Serving > 0:
		told.State = string(service.StateDegraded)
	}
	told.Orphan = true
	if _, release, err := s.fleet.Environment(d.ID.Environment); err == nil {
		if spec, named := release.App.Services[d.ID.Name]; named && spec.External == "" {
			told.Spec, told.Orphan = spec, false
			told.Address = d.Cluster + "-rw." + namespace + ":5432"
			told.Variables = slices.Sorted(maps.Keys(service.Leading(release.App.Services, d.ID.Name, "")))
		}
	}
	return told
}

// listedAs tells of one of them; nil if the cluster does not keep it.
func (s services) listedAs(ctx context.Context, id springtide.ServiceID) (*api.ServiceStatus, error) {
	all, err := s.listed(ctx, id.Environment)
	for _, told := range all {
		if told.ID == id {
			return &told, nil
		}
	}
	return nil, err
}

// ours refuses what only the operator of the cluster does with a database that it keeps.
func (s services) ours(ctx context.Context, id springtide.ServiceID) error {
	told, err := s.listedAs(ctx, id)
	if told == nil {
		return err
	}
	_, namespace := s.cluster.Where()
	return springtide.Errorf(springtide.Invalid, "%s is kept by the cluster's operator, CloudNativePG, and not by the platform", id).
		WithHint("kubectl -n %s describe clusters.postgresql.cnpg.io %s", namespace, told.Cluster)
}

// claims tells of the shared folders that the cluster keeps for the active releases of
// an environment; the zero value: of all. How full they are the cluster knows.
func (f sharedFiles) claims(ctx context.Context, id springtide.EnvironmentID) (all []api.FilesUsage, err error) {
	if f.cluster == nil {
		return nil, nil
	}
	for _, environment := range f.fleet.Environments() {
		if id != (springtide.EnvironmentID{}) && environment.ID != id {
			continue
		}
		_, release, err := f.fleet.Environment(environment.ID)
		if err != nil {
			continue // it was just destroyed
		}
		for _, name := range slices.Sorted(maps.Keys(release.App.Files)) {
			spec := release.App.Files[name]
			if !isClaim(spec) {
				continue
			}
			kept, err := f.cluster.Claimed(ctx, environment.ID, name)
			if err != nil {
				return nil, err
			}
			told := api.FilesUsage{Environment: environment.ID, Name: name, Path: spec.Path, Quota: kept.Capacity, Claim: kept.Claim}
			switch kept.Phase {
			case "Bound":
			case "":
				told.Reason = "the claim is not there"
			default:
				told.Reason = "the claim is " + kept.Phase + ": no volume is bound to it"
			}
			all = append(all, told)
		}
	}
	return all, nil
}

// seen refuses to look into files that only instances and tasks see.
func (f sharedFiles) seen(id springtide.EnvironmentID, name springtide.FilesName) error {
	if f.cluster == nil {
		return nil
	}
	_, release, err := f.fleet.Environment(id)
	if spec, named := release.App.Files[name]; err == nil && named && isClaim(spec) {
		return springtide.Errorf(springtide.Invalid, "the files %s are the claim %s of the cluster, which only instances and tasks see", name, kubernetes.ClaimName(id, name)).
			WithHint("tide run --app %s --env %s -- ls -l %s", id.App, id.Name, spec.Path)
	}
	return nil
}
