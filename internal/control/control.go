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
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/demand"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/socket"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/ledger"
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
	// Store is the URL of a PostgreSQL database that keeps the platform's own state,
	// and the jobs unless Ledger says otherwise: control planes that name the same
	// have one of them lead. Empty: the state is kept in the data folder.
	Store string
	// SharedKey seals what control planes of a store share besides it; empty: they share
	// nothing else.
	SharedKey string
	// Advertise is the host by which other control planes of the store reach this one;
	// empty: they do not.
	Advertise string
	// Edges says how edges that run elsewhere connect.
	Edges EdgesOptions
	// AllowCalls are private networks that jobs of kind http may call.
	AllowCalls []netip.Prefix
	// Engine says where instances run.
	Engine EngineOptions
	// Backups is where backups are kept.
	Backups BackupTarget
	// ACME is who is asked for certificates of public names.
	ACME    cert.ACME
	Version string
	Logger  *slog.Logger
}

// plane is every part of the control plane, joined step by step.
type plane struct {
	Options
	// all are the parts that run; url gives the URL of a host.
	all *errgroup.Group
	url func(host string) string

	store store.Store
	// copies write copies of those databases that are files, by their names.
	copies map[string]func(context.Context, string) error
	// resign lets another control plane lead at once, when nothing runs any more; nil:
	// there is none. killed is what ends this one if it does not end by itself.
	resign func(context.Context) error
	shelf  *shelf // nil: nothing but the store is shared
	killed *time.Timer

	book       *ledger.Ledger
	location   string // of the ledger
	events     *observe.Events
	metrics    *observe.Metrics
	authority  *cert.Authority
	ticketKeys *cert.TicketKeys

	publisher *routing.Publisher
	busy      *busy
	// machine is what runs builds here and, without a cluster, is the engine.
	machine *process.Engine
	cluster *cluster // nil: there is none
	engine  hosting
	started bool // the engine runs, or did
	fleet   *deploy.Fleet
	scaler  *scale.Scaler
	demand  *demand.Recorder
	// targets, work and queued are rung when there is another wish, of the fleet
	// or of its workers, and another queue.
	targets, work, queued chan struct{}
	outside               *outsideQueues
	lessons               *lessons

	kept         *state
	samples      *samples
	certificates *cert.Keeper
	instances    instanceListeners
	access       *access
	mails        mails
	duties       *duties
	service      *jobs.Service
	keeper       *backup.Keeper
	builds       builder
	deployer     *deploy.Deployer
}

// Run is the control plane until ctx ends. Edges and instances go on without it.
func Run(ctx context.Context, o Options) (err error) {
	lock, err := takeLock(ctx, filepath.Join(o.DataFolder, "run", "control.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	ctx, cancel := context.WithCancel(ctx)
	p := &plane{
		Options: o, url: urls(o.HTTPS), copies: map[string]func(context.Context, string) error{},
		targets: make(chan struct{}, 1), work: make(chan struct{}, 1), queued: make(chan struct{}, 1),
	}
	p.all, ctx = errgroup.WithContext(ctx)
	// The parts that run use the store and the ledger: when one of them fails the
	// others end too, and then they are closed.
	defer func() {
		cancel()
		err = errors.Join(err, p.all.Wait())
		if p.machine != nil && (!p.started || p.cluster != nil) { // that takes away what nobody uses
			_ = p.machine.Run(ctx)
		}
		p.close()
	}()
	for _, join := range []func(context.Context) error{
		p.openStore,        // what is remembered, and whose turn it is
		p.openBooks,        // what is told
		p.joinFleet,        // the edges, the instances, and what is wanted of them
		p.joinState,        // what instances do not keep themselves
		p.joinCertificates, // what public names are served with
		p.joinJobs,         // jobs, backups among them, and how instances reach them
		p.joinDeploys,      // from a source to its traffic
		p.start,            // what there is first, so that the first routing table is whole
		p.serveAPI,         // how it is used
	} {
		if err := join(ctx); err != nil {
			return err
		}
	}
	o.Logger.Info("the control plane is up", "data", o.DataFolder, "isolation", p.isolation())
	<-ctx.Done()
	return nil
}

// openBooks opens what is told.
func (p *plane) openBooks(ctx context.Context) (err error) {
	p.location = cmp.Or(p.Ledger, p.Store, filepath.Join(p.DataFolder, "jobs.db"))
	if p.book, err = ledger.Open(ctx, p.location, ledger.Options{Logger: p.Logger, Patient: true}); err != nil {
		return err
	}
	p.events = observe.NewEvents(p.store, p.Logger)
	if p.Ledger == "" && p.Store == "" {
		p.copies["jobs.db"] = p.book.Copy
	}
	p.metrics = observe.NewMetrics(p.events)
	if p.authority, err = cert.OpenAuthority(filepath.Join(p.DataFolder, "ca")); err != nil {
		return err
	}
	p.ticketKeys, err = cert.OpenTicketKeys(filepath.Join(p.DataFolder, "ticket-keys"), p.Logger)
	return err
}

// close closes what was opened, when nothing runs any more.
func (p *plane) close() {
	if p.kept != nil {
		p.kept.services.Close()
	}
	if p.book != nil {
		p.book.Close()
	}
	if p.store == nil {
		return
	}
	if p.resign != nil {
		ctx, cancel := context.WithTimeout(context.Background(), resignLimit)
		defer cancel()
		if err := p.resign(ctx); err != nil {
			p.Logger.Warn("the next control plane has to wait for its turn", "error", err)
		}
	}
	p.store.Close()
	if p.killed != nil {
		p.killed.Stop()
	}
}

// joinDeploys joins what takes a source to its traffic.
func (p *plane) joinDeploys(ctx context.Context) error {
	p.builds = newBuilder(p)
	p.kept.place, p.kept.push = p.builds.Place, p.builds.Push
	p.deployer = deploy.NewDeployer(ctx, deploy.Options{
		Fleet: p.fleet, Store: p.store, Engine: p.engine, Builder: p.builds, Manifests: manifests{needsBase: p.cluster != nil}, State: p.kept,
		Edges: p.publisher, Events: p.events, Logger: p.Logger, PlaceWithin: p.placeWithin(),
		Finished: func(rollout springtide.Rollout, took time.Duration) {
			p.metrics.RolloutOver(rollout, took)
			p.kept.rolloutOver(ctx, rollout)
		},
	})
	return nil
}

// start has all parts run: what there is first, so that the first routing table
// is whole.
func (p *plane) start(ctx context.Context) error {
	run := func(parts ...func(context.Context) error) {
		for _, part := range parts {
			p.all.Go(func() error { return part(ctx) })
		}
	}
	if err := p.keepShared(ctx); err != nil {
		return err
	}
	if p.shelf != nil {
		run(p.shelf.Run)
	}
	p.started = true
	run(p.events.Run, p.kept.run, p.samples.Run, p.keeper.Run, p.engine.Run)
	if err := p.recallLogins(ctx); err != nil {
		return err
	}
	if err := p.fleet.Load(ctx, p.builds.placeAgain); err != nil {
		return err
	}
	run(p.kept.provisionAll, p.services().followMoves, p.watch)
	feed, err := socket.Listen(filepath.Join(p.DataFolder, "run", "feed.sock"))
	if err != nil {
		return err
	}
	p.all.Go(func() error { return p.publisher.Serve(ctx, feed) })
	if err := p.serveEdges(ctx); err != nil {
		return err
	}
	run(p.publisher.Run, p.certificates.Run, p.scaler.Run, p.demand.Run, p.lookAhead, p.outside.Run, p.lessons.Run, p.deployer.Run, p.runJobs)
	run((&uploads{store: p.kept.files, jobs: p.service, logger: p.Logger}).Run)
	p.all.Go(func() error { return p.duties.Run(ctx, p.book) })
	p.all.Go(func() error { return reportWork(ctx, p.service, p.scaler, p.queued) })
	if p.cluster == nil {
		run(p.measure)
	}
	if p.instances.smtp != nil {
		p.all.Go(func() error { return p.mails.catcher.Serve(ctx, p.instances.smtp) })
	}
	return nil
}

// ring leaves word in a channel that holds one value.
func ring(bell chan<- struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}

// lockLimit is how long an earlier control plane may take to end.
const lockLimit = 15 * time.Second

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
