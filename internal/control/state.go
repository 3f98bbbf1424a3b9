package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/build"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/secret"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/mariadb"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/redis"
	"github.com/springtide/springtide/internal/store"
)

// state is what instances do not keep themselves. It implements deploy.State,
// and gives each instance what is its own of it.
type state struct {
	store    store.Store
	engine   hosting
	machine  *process.Engine // for what is made here
	cluster  *cluster        // nil: instances run here too
	host     netip.Addr      // by which instances reach what this machine serves
	fleet    *deploy.Fleet
	services *service.Manager
	files    *files.Store
	gateway  *gateway
	mover    *mover
	secrets  *secret.Keyring
	drivers  map[springtide.ServiceKind]service.Driver
	logger   *slog.Logger
	smokes   smokes
	// place begins the launch template of a release.
	place func(context.Context, springtide.Release) (springtide.Template, error)
	// push copies an artifact to where its nodes pull it from.
	push func(context.Context, build.PushRequest) error
}

// drivers are of all kinds of services.
func drivers(logger *slog.Logger) map[springtide.ServiceKind]service.Driver {
	return map[springtide.ServiceKind]service.Driver{
		springtide.ServicePostgres: postgres.New(postgres.Options{Logger: logger}),
		springtide.ServiceMariaDB:  mariadb.Driver{},
		springtide.ServiceRedis:    redis.Driver{},
	}
}

// joinState joins what instances do not keep themselves.
func (p *plane) joinState(ctx context.Context) error {
	s := &state{store: p.store, engine: p.engine, machine: p.machine, cluster: p.cluster, fleet: p.fleet, logger: p.Logger, drivers: drivers(p.Logger)}
	var err error
	if s.secrets, err = secret.Open(ctx, secret.Options{Folder: p.DataFolder, Store: p.store, Logger: p.Logger, Written: func() error { return p.keepShared(ctx) }}); err != nil {
		return err
	}
	s.host = netip.AddrFrom4([4]byte{127, 0, 0, 1}) // no pod uses what is served here
	if p.cluster == nil {
		if s.host, err = p.machine.Host(); err != nil {
			return err
		}
	}
	s.files, err = files.New(files.Options{Folder: filepath.Join(p.DataFolder, "files"), Logger: p.Logger, Happened: p.events.Publish})
	if err != nil {
		return err
	}
	s.gateway = newGateway(p.DataFolder, s.host, func() []byte { return sign(p.access.key, []byte("shared files")) }, p.publisher.Refresh, p.Logger)
	s.mover = &mover{
		store: s.files, fleet: p.fleet, events: p.events, bucket: s.bucketOf, logger: p.Logger,
		wanted: make(chan carry), current: map[files.FolderID]context.CancelFunc{},
	}
	s.services, err = service.New(service.Options{
		Folder: filepath.Join(p.DataFolder, "services"), Drivers: s.drivers, Sealer: s.secrets, Host: s.host,
		Logger: p.Logger, Happened: p.events.Publish, Secret: s.secret, Scrub: s.scrub,
		Limiter: p.machine.Limiter(),
	})
	if err != nil {
		return err
	}
	p.kept, p.samples = s, newSamples(s.services, p.Logger)
	p.metrics.Services(p.samples.all)
	return nil
}

// run keeps services and shared files as they should be until ctx ends; the
// servers go on.
func (s *state) run(ctx context.Context) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return s.services.Run(ctx) })
	all.Go(func() error { return s.files.Run(ctx) })
	all.Go(func() error { return s.gateway.Run(ctx) })
	all.Go(func() error { return s.mover.Run(ctx) })
	return all.Wait()
}

// provisionAll has what the releases that have the traffic need as it should be:
// another version of the platform may want it in another way, and a platform that
// was restored lacks what nobody kept safe. The fleet must be loaded.
func (s *state) provisionAll(ctx context.Context) error {
	for _, environment := range s.fleet.Environments() {
		_, release, err := s.fleet.Environment(environment.ID)
		if err == nil && release.Number != 0 {
			err = s.provision(ctx, release, func(line string) { s.logger.Info("services", "environment", environment.ID, "what", line) })
		}
		if err != nil && ctx.Err() == nil {
			s.logger.Error("not all that an environment needs is there", "environment", environment.ID, "error", err)
		}
	}
	return nil
}

// rolloutOver stops the services that nothing needs any more, once the release
// that had them has let go of the traffic, and forgets secrets that no release
// has. The data of services is kept.
func (s *state) rolloutOver(ctx context.Context, rollout springtide.Rollout) {
	_, release, err := s.fleet.Environment(rollout.Release.Environment)
	if err == nil {
		s.mover.over(rollout.Release.Environment, release.App.Files)
	}
	if rollout.Step != springtide.RolloutDone {
		return
	}
	if err == nil {
		err = s.keep(ctx, rollout.Release.Environment, release.App.Services)
	}
	if err == nil {
		err = s.files.Publish(rollout.Release.Environment, s.cluster.others(release.App.Files))
	}
	if err == nil {
		_, err = s.secrets.Forget(ctx, rollout.Release.Environment)
	}
	if err != nil && ctx.Err() == nil {
		s.logger.Warn("what nothing needs any more could not be put away", "environment", rollout.Release.Environment, "error", err)
	}
}

// secret gives the newest value of a secret that something else refers to.
func (s *state) secret(id springtide.EnvironmentID, name springtide.SecretName) (string, error) {
	ctx := context.Background() // it is a look into the store
	latest, err := s.secrets.Latest(ctx, id)
	if err != nil {
		return "", err
	}
	if latest[name] == 0 {
		return "", springtide.Errorf(springtide.NotFound, "%s has no secret %s", id, name)
	}
	values, err := s.secrets.Values(ctx, id, map[springtide.SecretName]int{name: latest[name]})
	return string(values[name]), err
}

// scrub runs a command of an environment's active release with other variables
// than its instances have.
func (s *state) scrub(ctx context.Context, id springtide.EnvironmentID, command string, variables map[string]string) error {
	_, release, err := s.fleet.Environment(id)
	if err != nil {
		return err
	}
	if release.Number == 0 {
		return springtide.Errorf(springtide.Invalid, "%s has no release to run %q in", id, command).WithHint("make one with `tide deploy`")
	}
	template, err := s.place(ctx, release)
	if err != nil {
		return err
	}
	template.Env, template.Process.Limits = release.Env(template.Process), release.App.Build.Limits
	maps.Copy(template.Env, variables)
	exit, err := s.engine.Exec(ctx, springtide.Task{
		ID: "scrub-" + strings.ToLower(rand.Text()), Environment: id, Release: release.Number, Command: command,
		Template: template, Timeout: release.App.Build.Timeout,
	})
	if err == nil && exit.Code != 0 {
		err = springtide.Errorf(springtide.Failed, "%q failed: %s", command, exit.Reason)
	}
	return err
}

// Check implements deploy.State: what is missing is said before anything is built.
func (s *state) Check(ctx context.Context, id springtide.EnvironmentID, app springtide.App) error {
	latest, err := s.secrets.Latest(ctx, id)
	if err != nil {
		return err
	}
	var missing []string
	for _, name := range withLogin(app) {
		if latest[name] == 0 {
			missing = append(missing, string(name))
		}
	}
	if len(missing) > 0 {
		return springtide.Errorf(springtide.Invalid, "%s has no secret %s", id, strings.Join(missing, ", ")).
			WithHint("set it: tide secrets set %s --app %s --env %s", missing[0], id.App, id.Name)
	}
	if err := cmp.Or(s.checkFiles(id, app), s.cluster.check(ctx, app)); err != nil {
		return err
	}
	for _, name := range app.ServiceNames() {
		spec := app.Services[name]
		if spec.External != "" {
			if named, is := strings.CutPrefix(spec.External, "secret:"); is && latest[springtide.SecretName(named)] == 0 {
				return springtide.Errorf(springtide.Invalid, "%s has no secret %s, which is the URL of its service %s", id, named, name).
					WithHint("set it: tide secrets set %s --app %s --env %s", named, id.App, id.Name)
			}
			continue
		}
		if s.cluster != nil {
			continue // it was looked at
		}
		driver := s.drivers[spec.Kind]
		if versions := driver.Versions(); len(versions) == 0 || spec.Version != "" && !slices.ContainsFunc(versions, func(version string) bool { return service.Matches(spec.Version, version) }) {
			return springtide.Errorf(springtide.Invalid, "%s %s is not installed on this machine", spec.Kind, spec.Version).
				WithHint("%s", driver.Hint(spec.Version))
		}
	}
	return nil
}

// Secrets implements deploy.State.
func (s *state) Secrets(ctx context.Context, id springtide.EnvironmentID) (map[springtide.SecretName]int, error) {
	return s.secrets.Latest(ctx, id)
}

// Provision implements deploy.State.
func (s *state) Provision(ctx context.Context, release springtide.Release, say func(string)) error {
	if err := s.cluster.check(ctx, release.App); err != nil { // it may come from one machine
		return err
	}
	if err := s.pushRelease(ctx, release, say); err != nil {
		return err
	}
	return s.provision(ctx, release, say)
}

func (s *state) provision(ctx context.Context, release springtide.Release, say func(string)) error {
	if err := s.provisionFiles(ctx, release, say); err != nil {
		return err
	}
	if len(release.App.Services) == 0 {
		return nil
	}
	for _, misfit := range s.misfits(release.Environment, release.App) {
		say("warning: " + misfit)
	}
	if err := s.cluster.provide(ctx, release, say); err != nil {
		return err
	}
	return s.services.Provision(ctx, release.Environment, s.cluster.external(release.App.Services), say)
}

// misfits says of which services the instances of an app may want more
// connections than there are, and how to mend it.
func (s *state) misfits(id springtide.EnvironmentID, app springtide.App) []string {
	environment, _, err := s.fleet.Environment(id)
	if err != nil {
		environment = springtide.Environment{} // it is new
	}
	var all []string
	for _, name := range app.ServiceNames() {
		if err := service.Fit(name, app.Services[name], deploy.MostInstances(environment, app)); err != nil {
			all = append(all, err.Error())
		}
	}
	return all
}

// grant gives an instance, or a task, what its release has: the addresses of
// services, secrets, shared folders. What the platform itself gives comes in base.
func (s *state) grant(ctx context.Context, subject process.Subject, base map[string]string) (process.Grant, error) {
	grant := process.Grant{Env: base, Credentials: map[string][]byte{}}
	for _, own := range []string{tokenVariable, webhookVariable} {
		if base[own] != "" {
			grant.Hide = append(grant.Hide, []byte(base[own]))
		}
	}
	release, err := s.store.Release(ctx, springtide.ReleaseID{Environment: subject.Environment, Number: subject.Release})
	if err != nil {
		return grant, err
	}
	if strings.HasPrefix(subject.Task, smokeTask) {
		return s.grantSmoke(ctx, subject.Task, release)
	}
	if authority := base[authorityVariable]; authority != "" {
		grant.Credentials[authorityVariable] = []byte(authority)
		grant.Env[authorityVariable] = kubernetes.CredentialsFolder + "/" + authorityVariable
	}
	if err := s.grantSecrets(ctx, release, &grant); err != nil {
		return grant, err
	}
	variables, err := s.serviceVariables(ctx, release)
	if err != nil {
		return grant, err
	}
	for name, value := range variables {
		if _, secret := release.Secrets[springtide.SecretName(name)]; secret {
			continue // the app's own word
		}
		grant.Env[name] = value
		if password := passwordOf(value); password != nil {
			grant.Credentials[name] = []byte(value)
			grant.Hide = append(grant.Hide, password)
		}
	}
	return grant, s.grantFiles(release, &grant)
}

// resolveLimit is how long other places may take to tell what secrets refer to.
const resolveLimit = 10 * time.Second

func (s *state) grantSecrets(ctx context.Context, release springtide.Release, grant *process.Grant) error {
	if len(release.Secrets) == 0 {
		return nil
	}
	values, err := s.secrets.Values(ctx, release.Environment, release.Secrets)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	if values, err = s.secrets.Resolve(ctx, values); err != nil {
		return err
	}
	delete(values, release.App.Build.Login) // the platform's, not the app's
	for name, value := range values {
		grant.Env[string(name)] = string(value)
		grant.Credentials[string(name)] = value
		grant.Hide = append(grant.Hide, value)
	}
	return nil
}
