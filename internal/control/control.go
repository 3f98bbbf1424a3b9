// Package control is the control plane: the one place where everything is
// joined, and the API's view of it.
//
//	              ┌────────── api ◀── tide CLI, over run/api.sock or TLS
//	              ▼
//	build ◀── deploy.Deployer ──▶ deploy.Fleet ──▶ engine/process ──▶ instances
//	              │                ▲    │               │
//	              │        replicas│    │routes         │snapshots
//	              │                │    ▼               ▼
//	              └─settle─▶ scale.Scaler  routing.Publisher ──▶ edges, over run/feed.sock
//	                         ▲     ▲               │
//	                   queues│     └─── reports ───┘
//	                         │
//	              jobs.Service ◀── runners in instances, over HTTP
//	                         │
//	                         ▼
//	              store/ledger: SQLite, or PostgreSQL shared by several servers
//
// What is wanted is in the store before it is acted upon. The control plane can
// be killed at any instruction: a new one reads the store, adopts the instances
// that run, and takes up every rollout that is not over.
package control

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/socket"
	"github.com/springtide/springtide/internal/store/ledger"
	"github.com/springtide/springtide/internal/store/sqlite"
	"github.com/springtide/springtide/internal/supervisor"
)

// Options configure a control plane.
type Options struct {
	// DataFolder holds all state. It exists.
	DataFolder string
	// HTTPS and HTTP are the addresses that the edges serve: for URLs to show.
	HTTPS, HTTP []string
	// API is an address for clients with tokens; empty: only the Unix socket.
	API string
	// Metrics is a private address for Prometheus; empty: only the Unix socket.
	Metrics string
	// Ledger is the URL of a PostgreSQL database that keeps the jobs, maybe of
	// several platforms; empty: they are kept in the data folder.
	Ledger string
	// AllowCalls are private networks that jobs of kind http may call.
	AllowCalls []netip.Prefix
	// Backups is where backups are kept.
	Backups BackupTarget
	Version string
	Logger  *slog.Logger
}

// lockLimit is how long an earlier control plane may take to end.
const lockLimit = 15 * time.Second

// Run is the control plane until ctx ends. Edges and instances go on without it.
func Run(ctx context.Context, o Options) (err error) {
	lock, err := takeLock(ctx, filepath.Join(o.DataFolder, "run", "control.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	all, ctx := errgroup.WithContext(ctx)

	// What is remembered, and what is told. The parts that run use the store and
	// the ledger: when one of them fails the others end too, and then they are closed.
	store, err := sqlite.Open(ctx, filepath.Join(o.DataFolder, "tide.db"), o.Logger)
	if err != nil {
		return err
	}
	defer store.Close()
	location := cmp.Or(o.Ledger, filepath.Join(o.DataFolder, "jobs.db"))
	book, err := ledger.Open(ctx, location, ledger.Options{Logger: o.Logger, Patient: true})
	if err != nil {
		return err
	}
	defer book.Close()
	defer func() {
		cancel()
		err = errors.Join(err, all.Wait())
	}()
	events := observe.NewEvents(store, o.Logger)
	metrics := observe.NewMetrics(events)
	authority, err := cert.OpenAuthority(filepath.Join(o.DataFolder, "ca"))
	if err != nil {
		return err
	}
	ticketKeys, err := cert.OpenTicketKeys(filepath.Join(o.DataFolder, "ticket-keys"), o.Logger)
	if err != nil {
		return err
	}

	// The edges, the instances, and what is wanted of them.
	var fleet *deploy.Fleet
	var scaler *scale.Scaler
	publisher := routing.New(routing.Options{
		Routes:       func(ctx context.Context) ([]springtide.Route, error) { return fleet.Routes(ctx) },
		Versions:     store,
		Certificates: authority,
		TicketKeys:   ticketKeys.Current,
		Report: func(report springtide.EdgeReport) {
			scaler.Report(report)
			metrics.EdgeReport(report)
		},
		Published: metrics.TableVersion,
		Connected: metrics.Edges,
		Logger:    o.Logger,
	})
	var access *access
	var kept *state
	var instances instanceListeners
	busy := &busy{Publisher: publisher}
	engine, err := process.New(process.Options{
		Data: o.DataFolder, Router: busy, Log: o.Logger,
		Access: func(subject process.Subject) (process.Grant, error) {
			return kept.grant(ctx, subject, access.variables(subject, instances))
		},
	})
	if err != nil {
		return err
	}
	targets, work := make(chan struct{}, 1), make(chan struct{}, 1)
	fleet = deploy.NewFleet(store, engine, func() {
		publisher.Refresh()
		metrics.Groups(fleet.Groups())
		ring(targets)
		ring(work)
	}, o.Logger)
	scaling := scaling{Fleet: fleet, changed: targets, decisions: store, events: events, metrics: metrics}
	scaler = scale.New(scale.Options{Targets: scaling, Applier: scaling, Recorder: scaling, Logger: o.Logger})

	// What instances do not keep themselves.
	if kept, err = newState(ctx, o, store, engine, fleet, events); err != nil {
		return err
	}
	defer kept.services.Close()

	// Jobs, and how instances reach them.
	if instances, err = listenForInstances(ctx, o.DataFolder, engine); err != nil {
		return err
	}
	key, err := sharedKey(ctx, filepath.Join(o.DataFolder, "ledger-key"), book.Key)
	if err != nil {
		return err
	}
	if access, err = openAccess(fleet, filepath.Join(o.DataFolder, "instance-key"), key); err != nil {
		return err
	}
	url := urls(o.HTTPS)
	outside := newOutside(fleet, o.HTTPS, url, authority)
	caller := call.New(call.Options{
		App: outside.app, Rate: outside.rate, AllowPrivate: o.AllowCalls, Logger: o.Logger,
		Secret: access.webhookSecret,
	})
	mails, err := newMails(fleet, access, caller, o.DataFolder, o.AllowCalls, o.Logger)
	if err != nil {
		return err
	}
	var service *jobs.Service
	keeper, err := newKeeper(o, kept, fleet, events, book, func(ctx context.Context, of backup.Subject) error {
		_, err := enqueueBackup(ctx, service, of, springtide.RunBackup)
		return err
	})
	if err != nil {
		return err
	}
	duties := &duties{fleet: fleet, own: o.Ledger == "", logger: o.Logger, changed: work}
	queued := make(chan struct{}, 1)
	service = jobs.New(jobs.Options{
		Ledger: book, Folder: filepath.Join(o.DataFolder, "output"), Logger: o.Logger,
		Admit: duties.Admit, Served: duties.Served, Next: nextSlot,
		Happened: tellOf(events), Changed: func() { ring(queued) }, Observer: metrics,
		Executors: map[springtide.RunKind]jobs.Executor{
			springtide.RunHTTP: here{fleet, caller}, springtide.RunMail: here{fleet, mails.sender},
			springtide.RunBackup: here{fleet, keeper}, springtide.RunDrill: here{fleet, keeper},
		},
	})
	duties.ledger, duties.told = service, service.Readmit
	busy.runs = service
	metrics.Queues(service.Statuses)
	metrics.Backups(func() []observe.Safety { return safety(keeper) })

	// From a source to its traffic.
	builds := newBuilder(o, engine, metrics)
	deployer := deploy.NewDeployer(ctx, deploy.Options{
		Fleet: fleet, Store: store, Engine: engine, Builder: builds, Manifests: manifests{}, State: kept,
		Edges: publisher, Events: events, Logger: o.Logger,
		Finished: func(rollout springtide.Rollout, took time.Duration) {
			metrics.RolloutOver(rollout, took)
			kept.rolloutOver(ctx, rollout)
		},
	})

	// Running: what there is first, so that the first routing table is whole.
	kept.roots = builds.Root
	all.Go(func() error { return events.Run(ctx) })
	all.Go(func() error { return kept.run(ctx) })
	all.Go(func() error { return keeper.Run(ctx) })
	all.Go(func() error { return engine.Run(ctx) })
	if err := fleet.Load(ctx, builds.Root); err != nil {
		return err
	}
	fleet.Disown(ctx, engine.Groups())
	all.Go(func() error {
		kept.provisionAll(ctx)
		return nil
	})
	all.Go(func() error {
		var seen changes
		for snapshot, err := range engine.Watch(ctx) {
			if err != nil {
				return err
			}
			publisher.Observe(snapshot) // before those that act on readiness
			scaler.Observe(snapshot)
			fleet.Observe(snapshot)
			metrics.Snapshot(snapshot)
			for _, event := range seen.observe(snapshot) {
				events.Publish(event)
			}
		}
		return nil
	})
	feed, err := socket.Listen(filepath.Join(o.DataFolder, "run", "feed.sock"))
	if err != nil {
		return err
	}
	all.Go(func() error { return publisher.Serve(ctx, feed) })
	all.Go(func() error { return publisher.Run(ctx) })
	all.Go(func() error { return scaler.Run(ctx) })
	all.Go(func() error { return deployer.Run(ctx) })
	all.Go(func() error {
		defer mails.sender.Close() // which runs use to their end
		return service.Run(ctx)
	})
	all.Go(func() error { return duties.Run(ctx, book) })
	all.Go(func() error { return reportWork(ctx, service, scaler, queued) })
	all.Go(func() error { return mails.catcher.Serve(ctx, instances.smtp) })

	// The API.
	uploads, err := emptyFolder(o.DataFolder, "uploads")
	if err != nil {
		return err
	}
	runs, err := newRuns(ctx, fleet, engine, builds.Root, o.DataFolder, o.Logger)
	if err != nil {
		return err
	}
	environments := environments{
		Fleet: fleet, deployer: deployer, edges: publisher, metrics: metrics, url: url,
		logs: filepath.Join(o.DataFolder, "logs"), logger: o.Logger, duties: duties, mails: mails, kept: kept,
	}
	ofServices := services{manager: kept.services, fleet: fleet, deployer: deployer}
	server := api.New(api.Options{
		Platform: api.Platform{
			Deploys:      deploys{deployer: deployer, uploads: uploads, url: url},
			Environments: environments,
			Settings:     environments,
			Observer:     observer{fleet: fleet, store: store, engine: engine, events: events, scaler: scaler, url: url},
			OneOffs:      runs,
			Shells:       shells{engine},
			Ledger:       book,
			Jobs:         service,
			Leases:       service,
			Schedules:    service,
			Locks:        service,
			Mail:         mails,
			Tokens:       tokens{store},
			Secrets:      secrets{keyring: kept.secrets, fleet: fleet, deployer: deployer, changed: func() { go keepState(ctx, keeper, o.Logger) }},
			Services:     ofServices,
			Backups:      backups{keeper: keeper, fleet: fleet, jobs: service, services: ofServices},
			Files:        sharedFiles{store: kept.files, fleet: fleet},
			Machine: machine{
				options: o, started: time.Now(), fleet: fleet, services: kept.services, publisher: publisher,
				authority: string(authority.PEM()), isolation: engine.Isolation().String(), notes: engine.Isolation().Notes(),
				ledger: ledgerPlace(location),
				ask: func(ctx context.Context) error {
					_, err := book.Key(ctx)
					return err
				},
			},
		},
		Logger:         o.Logger,
		Metrics:        metrics.Handler(),
		InstanceTokens: access,
		Recordings:     filepath.Join(o.DataFolder, "shells"),
	})
	all.Go(func() error { return server.ServeInstances(ctx, instances.api) })
	if err := serve(ctx, all, server, authority, o); err != nil {
		return err
	}
	o.Logger.Info("the control plane is up", "data", o.DataFolder, "isolation", engine.Isolation().String())
	<-ctx.Done()
	return nil
}

// ring leaves word in a channel that holds one value.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// takeLock waits for an earlier control plane to end.
func takeLock(ctx context.Context, path string) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	for {
		lock, err := supervisor.Lock(path)
		if err == nil || springtide.KindOf(err) != springtide.Conflict {
			return lock, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
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
		tls, err := apiTLS(authority, o.API)
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
