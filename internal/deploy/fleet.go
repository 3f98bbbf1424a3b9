package deploy

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
)

// Fleet holds what is wanted of every environment and makes the engine run it.
// What it holds in memory is a copy of the store; every change is written
// there first.
type Fleet struct {
	store  Store
	engine engine.Engine
	logger *slog.Logger
	// changed is called after every change of what is wanted; it must not block.
	changed func()

	// changing is held from the check of a change, over its write to the store, to
	// its effect on the engine; mu only to look at or set what is below, so that
	// a slow disk does not keep anybody from looking. It is taken first.
	changing     sync.Mutex
	mu           sync.Mutex
	environments map[springtide.EnvironmentID]springtide.Environment
	releases     map[springtide.ReleaseID]springtide.Release // those that have the traffic
	groups       map[springtide.GroupID]springtide.Group
	rolling      map[springtide.EnvironmentID]rolling
	removing     map[springtide.GroupID]bool
	draining     bool // nothing is started any more

	removals sync.WaitGroup

	watch    sync.Mutex
	snapshot springtide.Snapshot
	observed chan struct{} // closed and replaced at every snapshot
}

// NewFleet makes a Fleet; it is empty until Load.
func NewFleet(store Store, engine engine.Engine, changed func(), logger *slog.Logger) *Fleet {
	return &Fleet{
		store: store, engine: engine, changed: changed, logger: logger,
		environments: make(map[springtide.EnvironmentID]springtide.Environment),
		releases:     make(map[springtide.ReleaseID]springtide.Release),
		groups:       make(map[springtide.GroupID]springtide.Group),
		rolling:      make(map[springtide.EnvironmentID]rolling),
		removing:     make(map[springtide.GroupID]bool),
		observed:     make(chan struct{}),
	}
}

// reload copies environments and their active releases from the store.
func (f *Fleet) reload(ctx context.Context) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	return f.read(ctx)
}

// read is reload while changing is held, which alone writes the releases.
func (f *Fleet) read(ctx context.Context) error {
	environments, err := f.store.Environments(ctx)
	if err != nil {
		return err
	}
	known := make(map[springtide.EnvironmentID]springtide.Environment, len(environments))
	active := make(map[springtide.ReleaseID]springtide.Release, len(environments))
	for _, environment := range environments {
		known[environment.ID] = environment
		if environment.Active == 0 {
			continue
		}
		id := springtide.ReleaseID{Environment: environment.ID, Number: environment.Active}
		release, have := f.releases[id]
		if !have {
			if release, err = f.store.Release(ctx, id); err != nil {
				return err
			}
		}
		active[id] = release
	}
	f.mu.Lock()
	f.environments, f.releases = known, active
	f.mu.Unlock()
	return nil
}

// Active is a group that has the traffic of its process, or does its work.
type Active struct {
	Group springtide.Group
	// Process is that of the template with the scale that is in force.
	Process springtide.Process
	Stopped bool
	// Occasions are announced of the environment, besides its manifest.
	Occasions []springtide.Occasion
}

// Active lists the groups of all active releases, in order.
func (f *Fleet) Active() []Active {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Active, 0, len(f.groups))
	for id := range f.environments {
		list = append(list, f.activeOf(id)...)
	}
	slices.SortFunc(list, func(a, b Active) int { return inOrder(a.Group.ID, b.Group.ID) })
	return list
}

// ActiveOf lists the groups of an environment's active release, in order.
func (f *Fleet) ActiveOf(id springtide.EnvironmentID) []Active {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.activeOf(id)
	slices.SortFunc(list, func(a, b Active) int { return inOrder(a.Group.ID, b.Group.ID) })
	return list
}

func (f *Fleet) activeOf(id springtide.EnvironmentID) (list []Active) {
	environment := f.environments[id]
	release := f.releases[springtide.ReleaseID{Environment: id, Number: environment.Active}]
	for name := range release.App.Processes {
		group, known := f.groups[springtide.GroupID{Environment: id, Release: environment.Active, Process: name, Generation: environment.Generation}]
		if !known {
			continue
		}
		process := group.Template.Process
		process.Scale = inForce(environment, name, process.Scale)
		list = append(list, Active{group, process, environment.Stopped, environment.Occasions})
	}
	return list
}

// WorkersOf lists the worker processes of an environment's active release, and
// of the one that is being rolled out: its release command may have work for them.
func (f *Fleet) WorkersOf(id springtide.EnvironmentID) (list []springtide.Process) {
	f.mu.Lock()
	defer f.mu.Unlock()
	active := f.releases[springtide.ReleaseID{Environment: id, Number: f.environments[id].Active}]
	for _, release := range []springtide.Release{active, f.rolling[id].release} {
		for _, process := range release.App.Processes {
			if process.Worker != nil {
				list = append(list, process)
			}
		}
	}
	return list
}

// inOrder compares groups by environment, process, release and generation.
func inOrder(a, b springtide.GroupID) int {
	return cmp.Or(
		cmp.Compare(a.Environment.App, b.Environment.App), cmp.Compare(a.Environment.Name, b.Environment.Name),
		cmp.Compare(a.Process, b.Process), cmp.Compare(a.Release, b.Release), cmp.Compare(a.Generation, b.Generation),
	)
}

// inForce gives a process's scale with what `tide scale` set.
func inForce(environment springtide.Environment, process springtide.ProcessName, scale springtide.Scale) springtide.Scale {
	if set, ok := environment.Scale[process]; ok {
		scale.Min, scale.Max = set.Min, set.Max
	}
	return scale
}

// MostInstances is how many instances of all of an app's processes there may be.
func MostInstances(environment springtide.Environment, app springtide.App) (most int) {
	for name, process := range app.Processes {
		most += inForce(environment, name, process.Scale).Max
	}
	return most
}

// Environments gives a copy of all environments, in order.
func (f *Fleet) Environments() []springtide.Environment {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.environments), func(a, b springtide.Environment) int {
		return cmp.Or(cmp.Compare(a.ID.App, b.ID.App), cmp.Compare(a.ID.Name, b.ID.Name))
	})
}

// Environment gives an environment and its active release; the release is the
// zero value if there is none.
func (f *Fleet) Environment(id springtide.EnvironmentID) (springtide.Environment, springtide.Release, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	environment, known := f.environments[id]
	if !known {
		return environment, springtide.Release{}, f.unknown(id)
	}
	return environment, f.releases[springtide.ReleaseID{Environment: id, Number: environment.Active}], nil
}

func (f *Fleet) unknown(id springtide.EnvironmentID) error {
	err := springtide.Errorf(springtide.NotFound, "there is no %s here", id)
	for other := range f.environments {
		if other.App == id.App {
			return err.WithHint("see its environments with `tide ps --all`")
		}
	}
	return err.WithHint("see all apps with `tide ps --all`, or deploy it with `tide deploy`")
}

// Hosts gives the names that an environment is served by, its own first.
func Hosts(environment springtide.Environment, release springtide.Release) []string {
	own := string(environment.ID.App)
	if environment.ID.Name != springtide.Production {
		own += "--" + string(environment.ID.Name)
	}
	hosts := []string{own + ".localhost"}
	for _, domain := range slices.Concat(release.App.Domains, environment.Domains) {
		if !slices.Contains(hosts, domain) {
			hosts = append(hosts, domain)
		}
	}
	return hosts
}

// Routes implements routing.Routes.
func (f *Fleet) Routes(context.Context) ([]springtide.Route, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	routes := []springtide.Route{}
	for id, release := range f.releases {
		environment := f.environments[id.Environment]
		for name, process := range release.App.Processes {
			if !process.HTTP {
				continue
			}
			routes = append(routes, springtide.Route{
				Hosts:         Hosts(environment, release),
				Environment:   id.Environment,
				Group:         springtide.GroupID{Environment: id.Environment, Release: id.Number, Process: name, Generation: environment.Generation},
				Concurrency:   process.Scale.Concurrency,
				HoldFor:       springtide.HoldFor,
				HoldLimit:     springtide.HoldLimit,
				AnswerWithin:  process.Timeout,
				TryWithin:     process.TryTimeout,
				SlowStart:     process.SlowStart,
				Sticky:        process.Sticky,
				Drain:         process.Drain,
				FinishStreams: process.FinishStreams,
				Stopped:       environment.Stopped,
				Cache:         release.App.Cache,
				Protection:    release.App.Protection,
				Maintenance:   environment.Maintenance,
			})
		}
	}
	slices.SortFunc(routes, func(a, b springtide.Route) int { return inOrder(a.Group, b.Group) })
	return routes, nil
}

// SetReplicas changes how many instances a group should have. A group that is
// unknown by now is no error.
func (f *Fleet) SetReplicas(ctx context.Context, id springtide.GroupID, replicas int) error {
	defer f.changed()
	f.changing.Lock()
	defer f.changing.Unlock()
	group, known := f.group(id)
	if !known || group.Replicas == replicas || f.isRemoving(id) {
		return nil
	}
	if replicas > 0 && f.isStopped(id.Environment) {
		return nil // decided before it was stopped
	}
	if err := f.store.SetReplicas(ctx, id, replicas); err != nil {
		return err
	}
	group.Replicas = replicas
	f.keep(group)
	return f.engine.Apply(ctx, group)
}

// put makes a group wanted.
func (f *Fleet) put(ctx context.Context, group springtide.Group) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	if f.isDraining() {
		return nil // whoever waits for it goes on after the next start
	}
	if known, have := f.group(group.ID); have && known.Replicas >= group.Replicas {
		return f.engine.Apply(ctx, known)
	}
	if err := f.store.PutGroup(ctx, group); err != nil {
		return err
	}
	f.keep(group)
	return f.engine.Apply(ctx, group)
}

func (f *Fleet) group(id springtide.GroupID) (group springtide.Group, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	group, known = f.groups[id]
	return group, known
}

func (f *Fleet) keep(group springtide.Group) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.groups[group.ID] = group
}

func (f *Fleet) isStopped(id springtide.EnvironmentID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.environments[id].Stopped
}

func (f *Fleet) isRemoving(id springtide.GroupID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.removing[id]
}

// isDraining reports whether nothing is started any more.
func (f *Fleet) isDraining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.draining
}

// mark chooses groups that are to be removed: from now on nothing else changes
// them.
func (f *Fleet) mark(chosen func(springtide.GroupID) bool) (list []springtide.GroupID) {
	f.changing.Lock()
	defer f.changing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id := range f.groups {
		if chosen(id) {
			f.removing[id] = true
			list = append(list, id)
		}
	}
	return list
}

// collect removes, in the background, every group that neither is active nor
// belongs to an open rollout.
func (f *Fleet) collect(ctx context.Context) {
	unneeded := f.mark(func(id springtide.GroupID) bool {
		environment, known := f.environments[id.Environment]
		active := known && environment.Active == id.Release && environment.Generation == id.Generation
		return !active && !f.removing[id] && f.rolling[id.Environment].generation != id.Generation
	})
	for _, id := range unneeded {
		f.removals.Go(func() {
			if err := f.remove(ctx, id); err != nil && ctx.Err() == nil {
				f.logger.Error("a group that is not needed any more could not be removed; it is tried again at the next start", "group", id, "error", err)
			}
		})
	}
}

// remove retires a group's instances and forgets it.
func (f *Fleet) remove(ctx context.Context, id springtide.GroupID) error {
	if err := f.engine.Remove(ctx, id); err != nil {
		return err
	}
	f.changing.Lock()
	defer f.changing.Unlock()
	if err := f.store.DeleteGroup(ctx, id); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.groups, id)
	delete(f.removing, id)
	return nil
}

// Groups lists all groups that the engine is to run, in order.
func (f *Fleet) Groups() []springtide.Group {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.SortedFunc(maps.Values(f.groups), func(a, b springtide.Group) int { return inOrder(a.ID, b.ID) })
}

// Observe takes what the engine observes.
func (f *Fleet) Observe(snapshot springtide.Snapshot) {
	f.watch.Lock()
	defer f.watch.Unlock()
	f.snapshot = snapshot
	close(f.observed)
	f.observed = make(chan struct{})
}

// Snapshot gives what was observed last, and a channel that is closed when
// there is something newer.
func (f *Fleet) Snapshot() (springtide.Snapshot, <-chan struct{}) {
	f.watch.Lock()
	defer f.watch.Unlock()
	return f.snapshot, f.observed
}
