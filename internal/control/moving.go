package control

import (
	"context"
	"crypto/rand"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/moving"
	"github.com/springtide/springtide/internal/secret"
	"github.com/springtide/springtide/internal/store"
)

// movers implements api.Moving.
type movers struct {
	version  string
	store    store.Store
	fleet    *deploy.Fleet
	deployer *deploy.Deployer
	builds   builder
	kept     *state
	service  *jobs.Service
	// ownLedger says that no other platform knows the ledger: what is paused there
	// has to be brought along.
	ownLedger bool
}

// Export implements api.Moving.
func (m movers) Export(ctx context.Context, apps []springtide.AppName, recipients []string) (func(io.Writer) error, error) {
	to, err := moving.Recipients(recipients)
	if err != nil {
		return nil, err
	}
	inventory := moving.Inventory{Format: moving.Format, Version: m.version, Created: time.Now().UTC(), Environments: []moving.Packed{}, Blobs: []moving.Blob{}}
	var secrets []moving.Secrets
	for _, environment := range m.fleet.Environments() {
		if len(apps) > 0 && !slices.Contains(apps, environment.ID.App) {
			continue
		}
		packed, its, err := m.pack(ctx, environment)
		if err != nil {
			return nil, err
		}
		inventory.Environments = append(inventory.Environments, packed)
		secrets = append(secrets, its)
	}
	for _, app := range apps {
		if !slices.Contains(inventory.Apps(), app) {
			return nil, springtide.Errorf(springtide.NotFound, "there is no %s here", app).WithHint("see all apps with `tide ps --all`")
		}
	}
	if inventory.Blobs, err = m.blobs(inventory); err != nil {
		return nil, err
	}
	return func(w io.Writer) error {
		sealed, err := moving.Seal(w, to...)
		if err != nil {
			return err
		}
		if err := moving.Write(sealed, inventory, secrets, m.builds.OpenBlob); err != nil {
			return err
		}
		return sealed.Close()
	}, nil
}

// pack gives what moves of an environment, and its secrets.
func (m movers) pack(ctx context.Context, environment springtide.Environment) (moving.Packed, moving.Secrets, error) {
	id := environment.ID
	packed := moving.Packed{
		ID: id, Active: environment.Active, Config: environment.Config, Domains: environment.Domains,
		Scale: environment.Scale, Occasions: environment.Occasions, Releases: []springtide.Release{},
	}
	releases, err := m.store.Releases(ctx, id)
	if err != nil {
		return packed, moving.Secrets{}, err
	}
	for _, release := range slices.Backward(releases) {
		if release.State == springtide.ReleaseActive || release.State == springtide.ReleaseSuperseded {
			packed.Releases = append(packed.Releases, release)
		}
	}
	versions, err := m.kept.secrets.Versions(ctx, id)
	if err != nil {
		return packed, moving.Secrets{}, err
	}
	secrets := moving.Secrets{Environment: id}
	for _, version := range versions {
		secrets.Versions = append(secrets.Versions, moving.Secret(version))
		packed.Secrets = append(packed.Secrets, version.Name)
	}
	packed.Secrets = slices.Compact(packed.Secrets) // they are in order
	schedules, err := m.service.Schedules(ctx, id)
	if err != nil {
		return packed, secrets, err
	}
	for _, schedule := range schedules {
		if schedule.Paused {
			packed.PausedSchedules = append(packed.PausedSchedules, schedule.Name)
		}
	}
	queues, err := m.service.Queues(ctx, id)
	for _, queue := range queues {
		if queue.Paused {
			packed.PausedQueues = append(packed.PausedQueues, queue.Name)
		}
	}
	return packed, secrets, err
}

// blobs lists what the artifacts of all releases consist of, each once.
func (m movers) blobs(inventory moving.Inventory) ([]moving.Blob, error) {
	wanted := map[springtide.Digest]bool{}
	for _, environment := range inventory.Environments {
		for _, release := range environment.Releases {
			_, parts, err := m.builds.Manifest(release.Artifact)
			if err != nil {
				return nil, err
			}
			for _, part := range append(parts, release.Artifact) {
				wanted[part] = true
			}
		}
	}
	blobs := []moving.Blob{}
	for _, digest := range slices.Sorted(maps.Keys(wanted)) {
		content, err := m.builds.OpenBlob(digest)
		if err != nil {
			return nil, err
		}
		size, err := content.Seek(0, io.SeekEnd)
		content.Close()
		if err != nil {
			return nil, err
		}
		blobs = append(blobs, moving.Blob{Digest: digest, Size: size})
	}
	return blobs, nil
}

// PlanImport implements api.Moving.
func (m movers) PlanImport(ctx context.Context, inventory moving.Inventory) (moving.ImportPlan, error) {
	if err := inventory.Validate(); err != nil {
		return moving.ImportPlan{}, err
	}
	plan := moving.ImportPlan{Steps: []moving.Step{}}
	for _, blob := range inventory.Blobs {
		plan.Bytes += blob.Size
	}
	for _, arriving := range inventory.Environments {
		here := moving.Here{Rolling: m.deployer.Rolling(arriving.ID), Unfit: m.unfit(ctx, arriving)}
		if _, release, err := m.fleet.Environment(arriving.ID); err == nil {
			here.Known, here.Active = true, release
		}
		plan.Steps = append(plan.Steps, moving.Compare(arriving, here))
	}
	return plan, nil
}

// unfit says what the release that arrives cannot have here. Its secrets come with
// it, and are not asked for.
func (m movers) unfit(ctx context.Context, arriving moving.Packed) error {
	app := arriving.Release().App
	app.Secrets, app.Build.Login = nil, ""
	app.Services = maps.Clone(app.Services)
	maps.DeleteFunc(app.Services, func(_ springtide.ServiceName, service springtide.Service) bool { return service.External != "" })
	domains := slices.Concat(app.Domains, arriving.Domains)
	if err := m.store.CheckDomains(ctx, arriving.ID, domains); err != nil {
		return err
	}
	return m.kept.Check(ctx, arriving.ID, app)
}

// Import implements api.Moving.
func (m movers) Import(ctx context.Context, apps []springtide.AppName, file io.Reader) (moving.ImportPlan, error) {
	reader, inventory, err := moving.Open(file)
	if err != nil {
		return moving.ImportPlan{}, err
	}
	chosen, err := inventory.Only(apps)
	if err != nil {
		return moving.ImportPlan{}, err
	}
	plan, err := m.PlanImport(ctx, chosen)
	if err == nil {
		err = plan.Err()
	}
	if err != nil {
		return plan, err
	}
	secrets, err := reader.Secrets()
	if err != nil {
		return plan, err
	}
	cargo, err := m.builds.Receive()
	if err != nil {
		return plan, err
	}
	defer cargo.Close()
	if err := reader.Blobs(func(blob moving.Blob, content io.Reader) error {
		return cargo.Add(ctx, blob.Digest, blob.Size, content)
	}); err != nil {
		return plan, err
	}
	for _, app := range chosen.Apps() {
		var arriving []moving.Packed
		for _, environment := range chosen.Of(app) {
			if plan.Step(environment.ID).Action != moving.Keep {
				arriving = append(arriving, environment)
			}
		}
		if err := m.take(ctx, arriving, secrets, cargo.Keep, plan); err != nil {
			return plan, err
		}
	}
	return plan, nil
}

// take records the environments of one app, all or none, and has their releases
// rolled out.
func (m movers) take(ctx context.Context, arriving []moving.Packed, secrets map[springtide.EnvironmentID][]moving.Secret, keep func(springtide.Digest) error, plan moving.ImportPlan) error {
	versions := map[springtide.EnvironmentID][]secret.Version{}
	for _, environment := range arriving {
		for _, release := range environment.Releases {
			if err := keep(release.Artifact); err != nil {
				return err
			}
		}
		if err := m.pause(ctx, environment); err != nil {
			return err
		}
		for _, version := range secrets[environment.ID] {
			versions[environment.ID] = append(versions[environment.ID], secret.Version(version))
		}
	}
	return m.kept.secrets.Adopt(versions, func(seal func(springtide.EnvironmentID) ([]byte, []store.Secret, error)) error {
		var arrivals []store.Arrival
		for _, environment := range arriving {
			arrival := arrivalOf(environment)
			var err error
			if arrival.SecretKey, arrival.Secrets, err = seal(environment.ID); err != nil {
				return err
			}
			plan.Step(environment.ID).Deploy = arrival.Deploy
			arrivals = append(arrivals, arrival)
		}
		return m.deployer.Arrive(ctx, func() ([]springtide.Rollout, error) { return m.store.Receive(ctx, arrivals) })
	})
}

// arrivalOf says how an environment is to be recorded: the release that had the
// traffic is as one that was just made.
func arrivalOf(environment moving.Packed) store.Arrival {
	arrival := store.Arrival{
		Environment: springtide.Environment{
			ID: environment.ID, Active: environment.Active, Config: environment.Config, Domains: environment.Domains,
			Scale: environment.Scale, Occasions: environment.Occasions,
		},
	}
	if environment.Active != 0 {
		arrival.Deploy = strings.ToLower(rand.Text()[:12])
	}
	for _, release := range environment.Releases {
		release.State, release.Reason = springtide.ReleaseSuperseded, ""
		if release.Number == environment.Active {
			release.State = springtide.ReleasePending
		}
		arrival.Releases = append(arrival.Releases, release)
	}
	return arrival
}

// pause has schedules and queues paused as they were, before anything of the
// environment runs: until its release has the traffic, the ledger takes it as
// stopped.
func (m movers) pause(ctx context.Context, environment moving.Packed) error {
	if !m.ownLedger || len(environment.PausedSchedules)+len(environment.PausedQueues) == 0 {
		return nil
	}
	all, err := withBackups(environment.ID, environment.Release().App, jobsOf(environment.Release().App))
	if err != nil {
		return err
	}
	if err := m.service.SetStopped(ctx, environment.ID, true); err != nil {
		return err
	}
	if err := m.service.SetJobs(ctx, environment.ID, environment.Active, all); err != nil {
		return err
	}
	for _, name := range environment.PausedSchedules {
		if err := m.service.PauseSchedule(ctx, environment.ID, name, true); err != nil {
			return err
		}
	}
	for _, name := range environment.PausedQueues {
		if err := m.service.PauseQueue(ctx, environment.ID, name, true); err != nil {
			return err
		}
	}
	return nil
}
