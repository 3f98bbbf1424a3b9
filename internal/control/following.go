package control

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/supervisor"
)

// following is the API of a control plane that does not lead, or not yet: what
// the store knows is told, and tokens are made and revoked. All else is for the
// leader, and refused before it gets to what is embedded.
type following struct {
	environments
	observer
	machine
	options Options
	holder  string // what this one is called
	started time.Time
	store   store.Store // nil: it has not answered yet

	mutex     sync.Mutex
	authority *cert.Authority    // the platform's own; one that nobody knows until it was brought
	leader    store.Leader       // the last that was known
	lead      context.Context    // until another leads than leader
	deposed   context.CancelFunc // ends lead; nil: nobody led yet
	trouble   error              // why there is no leader known
}

// serve serves it where the API will be, until end is called. Without the store
// nobody's token is known, and only the owner is served.
func (f *following) serve(ctx context.Context) (end func(), err error) {
	authority, err := cert.OpenAuthority(filepath.Join(f.options.DataFolder, "ca"))
	if err != nil {
		return nil, err
	}
	f.learn(authority)
	server := api.New(api.Options{
		Platform: api.Platform{Environments: f, Observer: f, Machine: f, Tokens: tokens{f.store}},
		Logger:   f.options.Logger, Available: f.available,
	})
	ctx, cancel := context.WithCancel(ctx)
	all, ctx := errgroup.WithContext(ctx)
	end = func() {
		cancel()
		_ = all.Wait()
	}
	where := f.options
	where.API = ""
	err = serve(ctx, all, server, authority, where)
	if err == nil && f.store != nil {
		err = f.serveElsewhere(ctx, all, server)
	}
	if err != nil {
		end()
		return nil, err
	}
	return end, nil
}

// serveElsewhere serves who comes from other machines: the control plane that leads
// does, where that can be reached. Edges have nothing to do with another one.
func (f *following) serveElsewhere(ctx context.Context, all *errgroup.Group, server *api.Server) error {
	if address := f.options.API; address != "" {
		config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			current, err := apiTLS(f.knownBy(), address, f.options.Engine.RegistryHost) // it was our own until the leader's was brought
			if err != nil {
				return nil, err
			}
			return current.GetCertificate(hello)
		}}
		listener, err := f.listen(ctx, address)
		if err != nil {
			return err
		}
		if f.options.Advertise != "" {
			all.Go(func() error { return listener.Run(ctx) })
			all.Go(func() error { return server.ServeTokens(ctx, listener, config) })
		} else {
			all.Go(func() error { return server.ServeTokens(ctx, listener.Listener, config) })
		}
	}
	if f.options.Advertise == "" {
		return nil
	}
	for _, address := range f.options.leadersOwn() {
		listener, err := f.listen(ctx, address)
		if err != nil {
			return err
		}
		all.Go(func() error { return listener.Run(ctx) })
		all.Go(listener.refuse)
	}
	return nil
}

// leadersOwn are the addresses where only the control plane that leads serves: edges,
// and instances of a cluster with their mails.
func (o Options) leadersOwn() (addresses []string) {
	if o.Edges.Address != "" {
		addresses = append(addresses, o.Edges.Address)
	}
	if _, port, err := net.SplitHostPort(o.Engine.InstanceAddress); err == nil && o.Engine.onCluster() {
		if number, err := strconv.Atoi(port); err == nil {
			addresses = append(addresses, net.JoinHostPort("", port), net.JoinHostPort("", strconv.Itoa(number+1)))
		}
	}
	return addresses
}

// learn has f tell of an authority, and be known by it.
func (f *following) learn(authority *cert.Authority) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.authority = authority
}

func (f *following) knownBy() *cert.Authority {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.authority
}

// CertificateAuthority implements api.Machine.
func (f *following) CertificateAuthority(context.Context) (string, error) {
	return string(f.knownBy().PEM()), nil
}

// available refuses what only the leader can do.
func (f *following) available(r *http.Request) error {
	const env = "/v1/apps/{app}/environments/{environment}"
	patterns := []string{"GET /v1/status", "POST /v1/platform/drain"}
	if f.store != nil {
		patterns = append(patterns, "GET /v1/ca", "/v1/tokens", "/v1/tokens/", "GET /v1/apps", "GET /v1/apps/{app}/environments", "GET "+env,
			"GET "+env+"/config", "GET "+env+"/domains", "GET "+env+"/scale", "GET "+env+"/releases", "GET "+env+"/decisions")
	}
	served := http.NewServeMux()
	for _, pattern := range patterns {
		served.HandleFunc(pattern, http.NotFound)
	}
	if _, pattern := served.Handler(r); pattern != "" {
		return nil
	}
	leader, trouble := f.told()
	if trouble != nil {
		return trouble
	}
	return springtide.Errorf(springtide.Unavailable, "this control plane waits for its turn: %s leads", leader.Holder).
		WithHint("ask that one; if it is gone, this one takes over after %s", takeOverAfter)
}

// tell is told who leads, or why that is not known. What is new is logged.
func (f *following) tell(leader store.Leader, trouble error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	switch {
	case trouble != nil && f.trouble == nil:
		f.options.Logger.Warn("the store is away; it is tried again", "error", trouble)
	case trouble == nil && leader.Holder != f.leader.Holder:
		f.options.Logger.Info("this control plane waits for its turn", "leader", leader.Holder)
	}
	if f.trouble = trouble; trouble != nil {
		return
	}
	if f.deposed == nil || leader.Holder != f.leader.Holder {
		if f.deposed != nil {
			f.deposed()
		}
		f.lead, f.deposed = context.WithCancel(context.Background())
	}
	f.leader = leader
}

// told gives who leads, or why that is not known.
func (f *following) told() (store.Leader, error) {
	leader, _, err := f.led()
	return leader, err
}

// led is told, with what ends when another leads.
func (f *following) led() (store.Leader, context.Context, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.leader, f.lead, f.trouble
}

// Status implements api.Machine.
func (f *following) Status(context.Context) (api.Status, error) {
	leader, trouble := f.told()
	status := api.Status{
		Version: f.options.Version, APIVersion: api.Version, Data: f.options.DataFolder, Executable: executable(), Started: f.started,
		Edges: []api.EdgeStatus{}, Listeners: []string{}, Backups: []api.Safety{}, Certificates: []api.Certificate{},
		Cache: api.CacheTotals{Requests: map[springtide.CacheResult]int64{}},
		Store: api.StoreStatus{Location: ledgerPlace(f.options.Store), Leader: leader.Holder},
		Processes: api.PlatformProcesses{
			Supervisor: supervisor.Holder(filepath.Join(f.options.DataFolder, "lock")),
			Control:    os.Getpid(),
			Edges:      []int{},
		},
	}
	if trouble != nil {
		status.Store.Trouble = trouble.Error()
	}
	return status, nil
}

// Drain implements api.Machine: who follows has nothing that runs.
func (f *following) Drain(context.Context) error { return nil }

// Environments implements api.Environments.
func (f *following) Environments(ctx context.Context, app springtide.AppName) ([]api.EnvironmentStatus, error) {
	all, err := f.store.Environments(ctx)
	list := []api.EnvironmentStatus{}
	for _, environment := range all {
		if err == nil && (app == "" || environment.ID.App == app) {
			var status api.EnvironmentStatus
			status, err = f.status(ctx, environment)
			list = append(list, status)
		}
	}
	return list, err
}

// Environment implements api.Environments.
func (f *following) Environment(ctx context.Context, id springtide.EnvironmentID) (api.EnvironmentStatus, error) {
	environment, err := f.store.Environment(ctx, id)
	if err != nil {
		return api.EnvironmentStatus{}, err
	}
	return f.status(ctx, environment)
}

// status is what the store knows of an environment: how many instances are ready
// only the leader does.
func (f *following) status(ctx context.Context, environment springtide.Environment) (api.EnvironmentStatus, error) {
	status := api.EnvironmentStatus{Environment: environment, URLs: []string{}, Processes: []api.ProcessStatus{}}
	var release springtide.Release
	if environment.Active != 0 {
		var err error
		if release, err = f.store.Release(ctx, springtide.ReleaseID{Environment: environment.ID, Number: environment.Active}); err != nil {
			return status, err
		}
	}
	url := urls(f.options.HTTPS)
	for _, host := range deploy.Hosts(environment, release) {
		status.URLs = append(status.URLs, url(host))
	}
	groups, err := f.store.GroupsOf(ctx, environment.ID)
	for _, group := range groups {
		if group.ID.Generation != environment.Generation || group.ID.Release != environment.Active {
			continue
		}
		scale := group.Template.Process.Scale
		process := api.ProcessStatus{Name: group.ID.Process, Min: scale.Min, Max: scale.Max, Wanted: group.Replicas}
		if set, fixed := environment.Scale[process.Name]; fixed {
			process.Min, process.Max, process.Fixed = set.Min, set.Max, true
		}
		status.Processes = append(status.Processes, process)
	}
	return status, err
}

// Releases implements api.Observer.
func (f *following) Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error) {
	return observer{store: f.store}.Releases(ctx, id)
}

// Decisions implements api.Observer.
func (f *following) Decisions(ctx context.Context, id springtide.EnvironmentID, limit int) ([]springtide.Decision, error) {
	if _, err := f.store.Environment(ctx, id); err != nil {
		return nil, err
	}
	decisions, err := f.store.Decisions(ctx, id, "", limit)
	return append([]springtide.Decision{}, decisions...), err
}
