package control

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/demand"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
)

// joinFleet joins the edges, the instances, and what is wanted of them.
func (p *plane) joinFleet(ctx context.Context) (err error) {
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
		Logger:    p.Logger,
	})
	p.busy = &busy{Publisher: p.publisher}
	p.engine, err = process.New(process.Options{
		Data: p.DataFolder, Router: p.busy, Log: p.Logger,
		Access: func(subject process.Subject) (process.Grant, error) {
			return p.kept.grant(ctx, subject, p.access.variables(subject, p.instances))
		},
	})
	if err != nil {
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

// watch tells everybody what becomes of instances, until ctx ends.
func (p *plane) watch(ctx context.Context) error {
	var seen changes
	for snapshot, err := range p.engine.Watch(ctx) {
		if err != nil {
			return err
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
