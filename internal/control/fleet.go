package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/demand"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/registry"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
)

// joinFleet joins the edges, the instances, and what is wanted of them.
func (p *plane) joinFleet(ctx context.Context) error {
	p.publisher = routing.New(routing.Options{
		Routes: func(ctx context.Context) ([]springtide.Route, error) {
			routes, err := p.kept.routes(ctx)
			p.access.sessions(routes)
			return routes, err
		},
		Versions:     p.store,
		Certificates: p.authority,
		Purges:       p.store.Purges,
		TicketKeys:   p.ticketKeys.Current,
		Public:       func() ([]springtide.Certificate, []springtide.Challenge) { return p.certificates.Current() },
		Report: func(report springtide.EdgeReport) {
			p.scaler.Report(report)
			p.demand.Report(report)
			p.metrics.EdgeReport(report)
		},
		Published: p.metrics.TableVersion,
		Connected: p.metrics.Edges,
		LostAfter: p.Edges.lostAfter(),
		Logger:    p.Logger,
	})
	p.busy = &busy{Publisher: p.publisher}
	if err := p.joinEngine(ctx); err != nil {
		return err
	}
	p.outside = &outsideQueues{
		guard: call.NewGuard(p.AllowCalls), changed: make(chan struct{}, 1),
		values: func(ctx context.Context, release springtide.Release, process springtide.ProcessName) (all, services map[string]string, err error) {
			return p.kept.valuesOf(ctx, release, process)
		},
	}
	p.fleet = deploy.NewFleet(p.store, p.engine, func() {
		p.publisher.Refresh()
		p.certificates.Changed()
		p.metrics.Groups(p.fleet.Groups())
		ring(p.targets)
		ring(p.work)
		ring(p.outside.changed)
	}, p.Logger)
	scaling := scaling{Fleet: p.fleet, changed: p.targets, decisions: p.store, events: p.events, metrics: p.metrics, coming: &coming{}}
	p.demand = demand.New(demand.Options{Store: p.store, Limits: p.limitsOf, Logger: p.Logger, Now: time.Now})
	p.scaler = scale.New(scale.Options{Targets: scaling, Applier: scaling, Recorder: scaling, Logger: p.Logger, Past: p.demand})
	p.lessons = &lessons{store: p.store, scaler: p.scaler, logger: p.Logger}
	p.lessons.recall(ctx)
	p.outside.fleet, p.outside.scaler = p.fleet, p.scaler
	p.metrics.Outside(p.outside.samples)
	return nil
}

// joinEngine joins what runs instances.
func (p *plane) joinEngine(ctx context.Context) (err error) {
	grant := func(subject process.Subject) (process.Grant, error) {
		return p.kept.grant(ctx, subject, p.access.variables(subject, p.instances))
	}
	if p.machine, err = process.New(process.Options{Data: p.DataFolder, Router: p.busy, Log: p.Logger, Access: grant}); err != nil {
		return err
	}
	p.engine = p.machine
	if !p.Engine.onCluster() {
		return nil
	}
	if left := p.machine.Groups(); len(left) > 0 {
		return springtide.Errorf(springtide.Conflict, "instances of %s still run on this machine, which a cluster is to run", left[0].Environment).
			WithHint("start `tide serve` once more with --engine process, and end it: that lets go of them")
	}
	if p.cluster, err = newCluster(p.Engine, p.busy, p.Logger, grant); err != nil {
		return err
	}
	p.cluster.platform, p.cluster.secrets = p.platformName, func(ctx context.Context, id springtide.ReleaseID) ([][]byte, error) {
		granted, err := p.kept.grant(ctx, process.Subject{Environment: id.Environment, Release: id.Number}, map[string]string{})
		return append(granted.Hide, p.access.hidden(id.Environment)...), err
	}
	p.engine = p.cluster
	return nil
}

// isolation tells in words how instances are kept apart.
func (p *plane) isolation() string {
	if p.cluster != nil {
		return p.cluster.describe()
	}
	return p.machine.Isolation().String()
}

func (p *plane) isolationNotes() []string {
	if p.cluster != nil {
		return nil
	}
	return p.machine.Isolation().Notes()
}

// placeWithin is how long a start may take beyond the health check's own time.
func (p *plane) placeWithin() time.Duration {
	if p.cluster == nil {
		return 0
	}
	return cmp.Or(p.Engine.PlaceWithin, standardPlaceWithin)
}

// platformName is how the platform knows its namespace again: all that share a store
// are one.
func (p *plane) platformName() string {
	if p.Store != "" {
		return platformNameOf(p.access.shared)
	}
	return platformNameOf(p.access.key)
}

func platformNameOf(key []byte) string {
	return base64.RawURLEncoding.EncodeToString(sign(key, []byte("platform"))[:12])
}

// recallLogins has nodes be able to pull what runs.
func (p *plane) recallLogins(ctx context.Context) error {
	if p.cluster == nil {
		return nil
	}
	if p.API != "" {
		p.cluster.registry = p.registryHost()
		p.cluster.logIn(p.cluster.registry, registry.User+":"+p.pullToken())
	}
	groups, err := p.store.Groups(ctx)
	for _, group := range groups {
		release, missing := p.store.Release(ctx, springtide.ReleaseID{Environment: group.ID.Environment, Number: group.ID.Release})
		if missing != nil || release.App.Build.Push == "" {
			continue
		}
		login, unknown := p.kept.login(release.Environment, release.App.Build.Login)
		if unknown != nil {
			p.Logger.Warn("nodes cannot log in where a release is pulled from", "release", release.ID(), "error", unknown)
		}
		p.cluster.logIn(release.App.Build.Push, login)
	}
	return err
}

// watch tells everybody what becomes of instances, until ctx ends.
func (p *plane) watch(ctx context.Context) error {
	var seen changes
	owned := false
	for snapshot, err := range p.engine.Watch(ctx) {
		if err != nil {
			return err
		}
		if !owned { // what runs has been observed now
			p.fleet.Disown(ctx, p.engine.Groups())
			owned = true
		}
		p.publisher.Observe(snapshot) // before those that act on readiness
		p.scaler.Observe(snapshot)
		p.demand.Observe(snapshot)
		p.fleet.Observe(snapshot)
		p.metrics.Snapshot(snapshot)
		for _, event := range seen.observe(snapshot) {
			p.events.Publish(event)
		}
	}
	return nil
}
