package control

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/store"
)

// observer implements api.Observer.
type observer struct {
	fleet  *deploy.Fleet
	store  store.Store
	engine engine.Engine
	events *observe.Events
	scaler *scale.Scaler
	edges  *routing.Publisher
	url    func(host string) string
}

// Releases implements api.Observer.
func (o observer) Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error) {
	if _, err := o.store.Environment(ctx, id); err != nil {
		return nil, err
	}
	releases, err := o.store.Releases(ctx, id)
	return slices.Concat([]springtide.Release{}, releases), err
}

// Instances implements api.Observer.
func (o observer) Instances(_ context.Context, id springtide.EnvironmentID) ([]springtide.Instance, error) {
	if _, _, err := o.fleet.Environment(id); err != nil {
		return nil, err
	}
	return o.instances(id), nil
}

func (o observer) instances(id springtide.EnvironmentID) []springtide.Instance {
	list := []springtide.Instance{}
	snapshot, _ := o.fleet.Snapshot()
	for _, instance := range snapshot.Instances {
		if instance.Group.Environment == id {
			if load := o.edges.Seen(instance.ID); !load.Ejected.IsZero() {
				instance.Ejected = load.Ejected
				instance.Reason = cmp.Or(instance.Reason, "given no requests until "+load.Ejected.UTC().Format(time.TimeOnly)+": "+load.Failing)
			}
			list = append(list, instance)
		}
	}
	return list
}

// Decisions implements api.Observer.
func (o observer) Decisions(ctx context.Context, id springtide.EnvironmentID, limit int) ([]springtide.Decision, error) {
	if _, _, err := o.fleet.Environment(id); err != nil {
		return nil, err
	}
	decisions, err := o.store.Decisions(ctx, id, "", limit)
	return slices.Concat([]springtide.Decision{}, replayed(decisions)), err
}

// Events implements api.Observer.
func (o observer) Events(ctx context.Context, query api.EventQuery) iter.Seq2[springtide.Event, error] {
	return func(yield func(springtide.Event, error) bool) {
		var environment *springtide.EnvironmentID
		if query.Environment != (springtide.EnvironmentID{}) {
			environment = &query.Environment
		}
		for event := range o.events.Subscribe(ctx, query.After, environment) {
			if query.Deploy != "" && event.Fields["deploy"] != string(query.Deploy) {
				continue
			}
			if !yield(event, nil) {
				return
			}
		}
	}
}

// Live implements api.Observer.
func (o observer) Live(ctx context.Context, id springtide.EnvironmentID) iter.Seq2[api.Figures, error] {
	return func(yield func(api.Figures, error) bool) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			figures, err := o.figures(id)
			if !yield(figures, err) || err != nil {
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// figures are what an environment did in the last second.
func (o observer) figures(id springtide.EnvironmentID) (api.Figures, error) {
	environment, release, err := o.fleet.Environment(id)
	if err != nil {
		return api.Figures{}, err
	}
	figures := api.Figures{
		Time: time.Now(), Environment: id, Release: environment.Active,
		URL:    o.url(deploy.Hosts(environment, release)[0]),
		States: make(map[springtide.InstanceState]int), Instances: o.instances(id),
	}
	for _, instance := range figures.Instances {
		figures.States[instance.State]++
	}
	for _, active := range o.fleet.ActiveOf(id) {
		if !active.Process.HTTP {
			continue
		}
		live := o.scaler.Live(active.Group.ID)
		figures.RequestsPerSecond = live.Second.Requests
		figures.ErrorsPerSecond = float64(live.Second.Errors)
		figures.P50, figures.P99 = live.Second.P50, live.Second.P99
		figures.Held, figures.Busy, figures.Streams = live.Held, live.Busy, live.Streams
		if decision, ok := o.scaler.Last(active.Group.ID); ok {
			figures.Decision = decision.Sentence
		}
	}
	return figures, nil
}

// Logs implements api.Observer.
func (o observer) Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error) {
	if _, _, err := o.fleet.Environment(query.Environment); err != nil {
		return nil, err
	}
	return o.engine.Logs(ctx, query)
}
