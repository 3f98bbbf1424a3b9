package control

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/socket"
)

// serveAPI serves owners, holders of tokens, and instances.
func (p *plane) serveAPI(ctx context.Context) error {
	platform, err := p.platform(ctx)
	if err != nil {
		return err
	}
	server := api.New(api.Options{
		Platform: platform, Logger: p.Logger, Metrics: p.metrics.Handler(), InstanceTokens: p.access,
		Recordings: filepath.Join(p.DataFolder, "shells"), Registry: p.registry(),
	})
	switch {
	case p.instances.tls != nil:
		p.all.Go(func() error { return server.ServeInstancesElsewhere(ctx, p.instances.api, p.instances.tls) })
	case p.instances.api != nil:
		p.all.Go(func() error { return server.ServeInstances(ctx, p.instances.api) })
	}
	return serve(ctx, p.all, server, p.authority, p.Options)
}

// platform is the API's view of all parts.
func (p *plane) platform(ctx context.Context) (api.Platform, error) {
	uploads, err := emptyFolder(p.DataFolder, "uploads")
	if err != nil {
		return api.Platform{}, err
	}
	runs, err := newRuns(ctx, p.fleet, p.engine, p.builds.Place, p.DataFolder, p.Logger)
	if err != nil {
		return api.Platform{}, err
	}
	environments := environments{
		Fleet: p.fleet, deployer: p.deployer, edges: p.publisher, metrics: p.metrics, url: p.url,
		logs: filepath.Join(p.DataFolder, "logs"), logger: p.Logger, duties: p.duties, mails: p.mails, kept: p.kept, demand: p.demand,
	}
	services := p.services()
	return api.Platform{
		Deploys:       deploys{deployer: p.deployer, uploads: uploads, url: p.url},
		Environments:  environments,
		Settings:      environments,
		Observer:      observer{fleet: p.fleet, store: p.store, engine: p.engine, events: p.events, scaler: p.scaler, edges: p.publisher, url: p.url},
		OneOffs:       runs,
		Shells:        shells{p.engine},
		Ledger:        p.book,
		Jobs:          p.service,
		Leases:        p.service,
		Schedules:     p.service,
		Locks:         p.service,
		Mail:          p.mails,
		Announcements: occasions{fleet: p.fleet, now: time.Now},
		History:       history{fleet: p.fleet, recorder: p.demand},
		Caches:        caches{fleet: p.fleet, store: p.store, edges: p.publisher, metrics: p.metrics},
		Tokens:        tokens{p.store},
		Secrets:       secrets{keyring: p.kept.secrets, fleet: p.fleet, deployer: p.deployer, changed: func() { go keepState(ctx, p.keeper, p.Logger) }},
		Services:      services,
		Backups:       backups{keeper: p.keeper, fleet: p.fleet, jobs: p.service, services: services},
		Moving: movers{
			version: p.Version, store: p.store, fleet: p.fleet, deployer: p.deployer, builds: p.builds, kept: p.kept,
			service: p.service, ownLedger: p.Ledger == "",
		},
		Files:        sharedFiles{store: p.kept.files, fleet: p.fleet, mover: p.kept.mover, cluster: p.cluster},
		Certificates: certificates{keeper: p.certificates, fleet: p.fleet, keep: p.keepShared},
		Machine: machine{
			options: p.Options, started: time.Now(), fleet: p.fleet, kept: p.kept, publisher: p.publisher, scaler: p.scaler,
			authority: string(p.authority.PEM()), isolation: p.isolation(), notes: p.isolationNotes(),
			ledger:       ledgerPlace(p.location),
			certificates: certificates{keeper: p.certificates, fleet: p.fleet, keep: p.keepShared},
			outside:      p.outside,
			metrics:      p.metrics,
			safety:       func() []api.Safety { return toldSafety(p.keeper, p.fleet) },
			ask: func(ctx context.Context) error {
				_, err := p.book.Key(ctx)
				return err
			},
		},
	}, nil
}

// serve opens the API's listeners.
func serve(ctx context.Context, all *errgroup.Group, server *api.Server, authority *cert.Authority, o Options) error {
	owner, err := socket.Listen(filepath.Join(o.DataFolder, "run", "api.sock"))
	if err != nil {
		return err
	}
	all.Go(func() error { return server.ServeOwner(ctx, owner) })
	var config net.ListenConfig
	if o.API != "" {
		listener, err := config.Listen(ctx, "tcp", o.API)
		if err != nil {
			return springtide.Errorf(springtide.Conflict, "the API cannot listen on %s: %w", o.API, err).WithHint("choose another address with --api")
		}
		tls, err := apiTLS(authority, o.API, o.Engine.RegistryHost)
		if err != nil {
			return err
		}
		all.Go(func() error { return server.ServeTokens(ctx, listener, tls) })
	}
	if o.Metrics != "" {
		listener, err := config.Listen(ctx, "tcp", o.Metrics)
		if err != nil {
			return springtide.Errorf(springtide.Conflict, "metrics cannot be served on %s: %w", o.Metrics, err).WithHint("choose another address with --metrics")
		}
		all.Go(func() error { return server.ServeMetrics(ctx, listener) })
	}
	return nil
}

// emptyFolder makes a folder anew, without what a killed process left in it.
func emptyFolder(data, name string) (string, error) {
	path := filepath.Join(data, name)
	if err := os.RemoveAll(path); err != nil {
		return "", err
	}
	return path, os.MkdirAll(path, 0o700)
}

// urls gives the URL of a host on the first HTTPS address.
func urls(https []string) func(host string) string {
	suffix := ""
	if len(https) > 0 {
		if _, port, err := net.SplitHostPort(https[0]); err == nil && port != "443" {
			suffix = ":" + port
		}
	}
	return func(host string) string { return "https://" + host + suffix }
}
