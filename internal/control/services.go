package control

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/service"
)

// services implements api.Services.
type services struct {
	manager  *service.Manager
	fleet    *deploy.Fleet
	deployer *deploy.Deployer
	cluster  *cluster // nil: there is none
	logger   *slog.Logger
}

func (p *plane) services() services {
	return services{manager: p.kept.services, fleet: p.fleet, deployer: p.deployer, cluster: p.cluster, logger: p.Logger}
}

// Services implements api.Services.
func (s services) Services(ctx context.Context, id springtide.EnvironmentID) ([]api.ServiceStatus, error) {
	own := s.manager.All
	if id != (springtide.EnvironmentID{}) {
		own = func() []service.Status { return s.manager.List(id) }
	}
	all := []api.ServiceStatus{}
	for _, status := range own() {
		all = append(all, s.status(status))
	}
	listed, err := s.listed(ctx, id)
	return append(all, listed...), err
}

func (s services) status(status service.Status) api.ServiceStatus {
	told := api.ServiceStatus{
		ID: status.ID, Spec: status.Spec, Version: status.Version, State: string(status.State), Reason: status.Reason,
		Folder: status.Folder, Orphan: status.Orphan, Created: status.Created, Servers: []api.ServiceServer{}, Variables: []string{},
	}
	if status.Address.IsValid() {
		told.Address = status.Address.String()
	}
	for _, server := range status.Servers {
		told.Servers = append(told.Servers, api.ServiceServer{
			Role: string(server.Role), State: string(server.State), PID: server.PID, LagSeconds: server.Lag.Time.Seconds(),
		})
	}
	if _, release, err := s.fleet.Environment(status.ID.Environment); err == nil {
		if spec, named := release.App.Services[status.ID.Name]; named {
			// Which variables lead to it: those that would be gone without it.
			with, err1 := s.manager.Variables(status.ID.Environment, release.App.Services)
			own, err2 := s.manager.Variables(status.ID.Environment, map[springtide.ServiceName]springtide.Service{status.ID.Name: spec})
			if err1 == nil && err2 == nil {
				maps.DeleteFunc(with, func(name, value string) bool { return own[name] != value })
				told.Variables = slices.Sorted(maps.Keys(with))
			}
		}
	}
	return told
}

func (s services) find(id springtide.ServiceID) (service.Status, error) {
	for _, status := range s.manager.List(id.Environment) {
		if status.ID == id {
			return status, nil
		}
	}
	return service.Status{}, springtide.Errorf(springtide.NotFound, "%s has no service %s", id.Environment, id.Name).WithHint("see: tide services")
}

// Service implements api.Services.
func (s services) Service(ctx context.Context, id springtide.ServiceID) (api.ServiceDetails, error) {
	listed, err := s.listedAs(ctx, id)
	if err != nil {
		return api.ServiceDetails{}, err
	}
	if listed != nil {
		return api.ServiceDetails{ServiceStatus: *listed, Details: map[string]string{}, Statements: []api.Statement{}}, nil
	}
	status, err := s.find(id)
	if err != nil {
		return api.ServiceDetails{}, err
	}
	told := api.ServiceDetails{ServiceStatus: s.status(status), Details: map[string]string{}, Statements: []api.Statement{}}
	if environment, release, err := s.fleet.Environment(id.Environment); err == nil && !status.Orphan {
		told.MostInstances = deploy.MostInstances(environment, release.App)
		if err := service.Fit(id.Name, status.Spec, told.MostInstances); err != nil {
			told.Misfit = err.Error()
		}
	}
	if status.State != service.StateReady && status.State != service.StateDegraded || status.Spec.External != "" {
		return told, nil
	}
	server, driver, err := s.manager.Server(id)
	if err != nil {
		return told, err
	}
	info, err := driver.Inspect(ctx, server)
	if err != nil {
		return told, err
	}
	told.Size, told.Connections, told.MaxConnections = info.Size, info.Connections, info.MaxConnections
	if info.Details != nil {
		told.Details = info.Details
	}
	for _, statement := range info.Statements {
		told.Statements = append(told.Statements, api.Statement{Text: statement.Text, Calls: statement.Calls, MeanSeconds: statement.Mean.Seconds()})
	}
	return told, nil
}

// RestartService implements api.Services.
func (s services) RestartService(ctx context.Context, id springtide.ServiceID) error {
	if err := s.ours(ctx, id); err != nil {
		return err
	}
	return s.manager.Restart(ctx, id)
}

// PromoteService implements api.Services.
func (s services) PromoteService(ctx context.Context, id springtide.ServiceID) error {
	if err := s.ours(ctx, id); err != nil {
		return err
	}
	return s.manager.Promote(ctx, id)
}

// RotateService implements api.Services: instances get the new login one after
// the other, as in any rollout, and only then the old one is worth nothing.
func (s services) RotateService(ctx context.Context, id springtide.ServiceID) error {
	if err := s.ours(ctx, id); err != nil {
		return err
	}
	if err := s.manager.Rotate(ctx, id); err != nil {
		return err
	}
	if err := s.restart(ctx, id.Environment); err != nil {
		return springtide.Errorf(springtide.KindOf(err), "%s has a new login, but not all instances use it: %w", id, err).
			WithHint("the old one works until `tide services rotate %s` succeeds", id.Name)
	}
	return s.manager.Retire(ctx, id)
}

// restart restarts what runs in an environment, and waits for that.
func (s services) restart(ctx context.Context, id springtide.EnvironmentID) error {
	restart, err := s.deployer.Restart(id)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil // nothing runs
	}
	for err == nil {
		var work deploy.Work
		if work, err = s.deployer.Work(ctx, restart); err == nil && work.Done {
			return work.Err
		}
		if err == nil {
			err = pauseFor(ctx, 50*time.Millisecond)
		}
	}
	return err
}

// moveRetry is when instances that do not know where a service is are started
// again, where that failed or the service does not serve yet.
const moveRetry = 5 * time.Second

// followMoves starts instances again whose services have another address, until
// ctx ends. It goes by what the services' records say, so that it is done although
// a control plane is killed on the way.
func (s services) followMoves(ctx context.Context) error {
	for ctx.Err() == nil {
		for _, status := range s.manager.All() {
			if !status.Moved || !isUp(status) {
				continue
			}
			err := s.restart(ctx, status.ID.Environment)
			if err == nil {
				err = s.manager.Learned(status.ID)
			}
			if err != nil && ctx.Err() == nil {
				s.logger.Warn("instances do not know yet where a service is", "service", status.ID.String(), "error", err)
			}
		}
		_ = pauseFor(ctx, moveRetry)
	}
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ForkService implements api.Services. Instances that run get a new start, since
// what they are connected to is another server.
func (s services) ForkService(ctx context.Context, from, to springtide.ServiceID, scrub string) error {
	if err := s.ours(ctx, from); err != nil {
		return err
	}
	if from == to {
		return springtide.Errorf(springtide.Invalid, "%s cannot be a copy of itself", to).WithHint("name another environment with --to")
	}
	if _, err := s.find(from); err != nil {
		return err
	}
	if err := s.manager.Fork(ctx, from, to, scrub); err != nil {
		return err
	}
	return s.restart(ctx, to.Environment)
}

// UpgradeService implements api.Services.
func (s services) UpgradeService(ctx context.Context, id springtide.ServiceID, version string, rehearse bool) (time.Duration, error) {
	if err := s.ours(ctx, id); err != nil {
		return 0, err
	}
	return s.manager.Upgrade(ctx, id, version, rehearse)
}

// DestroyService implements api.Services.
func (s services) DestroyService(ctx context.Context, id springtide.ServiceID) error {
	if err := s.ours(ctx, id); err != nil {
		return err
	}
	status, err := s.find(id)
	if err != nil {
		return err
	}
	if _, release, err := s.fleet.Environment(id.Environment); err == nil && !status.Orphan {
		if _, named := release.App.Services[id.Name]; named {
			return springtide.Errorf(springtide.Conflict, "%s is in use by v%d", id, release.Number).
				WithHint("take it out of the manifest and deploy, or destroy the environment, first")
		}
	}
	return s.manager.Destroy(ctx, id)
}

// ServiceShell implements api.Services.
func (s services) ServiceShell(ctx context.Context, id springtide.ServiceID, arguments []string) (*exec.Cmd, error) {
	if err := s.ours(ctx, id); err != nil {
		return nil, err
	}
	server, driver, err := s.manager.Server(id)
	if err != nil {
		return nil, err
	}
	shell := driver.Shell(server)
	shell.Args = append(slices.Clone(shell.Args), arguments...)
	if len(arguments) > 0 {
		shell.Env = append(slices.Clone(shell.Env), "PAGER=cat") // it answers, and nobody turns pages
	}
	return server.Command(ctx, shell), nil
}

// logTail is how much of the end of each log is shown, in bytes.
const logTail = 256 << 10

// ServiceLog implements api.Services.
func (s services) ServiceLog(ctx context.Context, id springtide.ServiceID) (io.ReadCloser, error) {
	if err := s.ours(ctx, id); err != nil {
		return nil, err
	}
	status, err := s.find(id)
	if err != nil {
		return nil, err
	}
	newest, modified := "", time.Time{}
	for _, server := range status.Servers {
		if server.Role != service.RolePrimary {
			continue
		}
		found, err := filepath.Glob(filepath.Join(server.Folder, "log", "*"))
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.ModTime().After(modified) {
				newest, modified = path, info.ModTime()
			}
		}
	}
	if newest == "" {
		return nil, springtide.Errorf(springtide.NotFound, "%s has written nothing yet", id)
	}
	file, err := os.Open(newest)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(-logTail, io.SeekEnd); err != nil { // it is shorter
		_, err = file.Seek(0, io.SeekStart)
		return file, err
	}
	return file, nil
}

// passwordOf gives the password in a URL, to be hidden from output; nil: none.
func passwordOf(text string) []byte {
	parsed, err := url.Parse(text)
	if err != nil || parsed.User == nil {
		return nil
	}
	password, has := parsed.User.Password()
	if !has {
		return nil
	}
	return []byte(password)
}
