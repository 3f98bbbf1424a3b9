package deploy

import (
	"context"
	"sync"

	"github.com/springtide/springtide"
)

// change writes one change to the store, reads back what is wanted and tells
// whoever acts on it.
func (f *Fleet) change(ctx context.Context, write func() error) error {
	defer f.changed()
	f.changing.Lock()
	defer f.changing.Unlock()
	if err := write(); err != nil {
		return err
	}
	return f.read(ctx)
}

// create makes an environment known, unless it is.
func (f *Fleet) create(ctx context.Context, id springtide.EnvironmentID) error {
	return f.change(ctx, func() error {
		_, err := f.store.CreateEnvironment(ctx, id)
		return err
	})
}

// SetConfig sets and unsets variables. An environment that is unknown is made,
// so that its first release can have config.
func (f *Fleet) SetConfig(ctx context.Context, id springtide.EnvironmentID, set map[string]string, unset []string) (map[string]string, error) {
	var environment springtide.Environment
	err := f.change(ctx, func() (err error) {
		if _, err = f.store.CreateEnvironment(ctx, id); err == nil {
			environment, err = f.store.SetConfig(ctx, id, set, unset)
		}
		return err
	})
	return environment.Config, err
}

// SetDomains adds and removes host names; they are routed at once.
func (f *Fleet) SetDomains(ctx context.Context, id springtide.EnvironmentID, add, remove []string) ([]string, error) {
	var environment springtide.Environment
	err := f.change(ctx, func() (err error) {
		environment, err = f.store.SetDomains(ctx, id, add, remove)
		return err
	})
	return environment.Domains, err
}

// SetScale sets how many instances a process may have; nil leaves it to the
// manifest. It acts at once.
func (f *Fleet) SetScale(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, scale *springtide.ScaleRange) error {
	return f.change(ctx, func() error {
		_, err := f.store.SetScale(ctx, id, process, scale)
		return err
	})
}

// SetMaintenance has edges answer all requests themselves, or ends that: nil. What
// runs and what is rolled out goes on.
func (f *Fleet) SetMaintenance(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) error {
	return f.change(ctx, func() error {
		_, err := f.store.SetMaintenance(ctx, id, maintenance)
		return err
	})
}

// SetOccasions changes what is announced besides the manifest; the scaler goes by
// it at once.
func (f *Fleet) SetOccasions(ctx context.Context, id springtide.EnvironmentID, change func([]springtide.Occasion) ([]springtide.Occasion, error)) error {
	return f.change(ctx, func() error {
		_, err := f.store.SetOccasions(ctx, id, change)
		return err
	})
}

// Stop holds the environment at no instances and refuses its requests. While a
// rollout is under way it is refused, since the rollout would start it again.
func (f *Fleet) Stop(ctx context.Context, id springtide.EnvironmentID) error {
	if f.isRolling(id) {
		return springtide.Errorf(springtide.Conflict, "a release of %s is being rolled out", id).WithHint("stop it when that is over; see `tide releases`")
	}
	return f.hold(ctx, id, true)
}

// Start ends what Stop began.
func (f *Fleet) Start(ctx context.Context, id springtide.EnvironmentID) error {
	return f.hold(ctx, id, false)
}

func (f *Fleet) hold(ctx context.Context, id springtide.EnvironmentID, stopped bool) error {
	if _, _, err := f.Environment(id); err != nil {
		return err
	}
	err := f.change(ctx, func() error {
		_, err := f.store.SetStopped(ctx, id, stopped)
		return err
	})
	if err != nil {
		return err
	}
	for _, active := range f.ActiveOf(id) {
		replicas := 0
		if !stopped {
			replicas = active.Process.Scale.Min
			if active.Process.Worker == nil && active.Process.Scale.Queue == nil { // which the first run, or message, starts
				replicas = max(replicas, min(1, active.Process.Scale.Max))
			}
		}
		if err := f.SetReplicas(ctx, active.Group.ID, replicas); err != nil {
			return err
		}
	}
	return nil
}

// Destroy lets go of every instance of the environment and forgets it. Cut
// short, it leaves a stopped environment that can be destroyed again.
func (f *Fleet) Destroy(ctx context.Context, id springtide.EnvironmentID) error {
	if err := f.hold(ctx, id, true); err != nil {
		return err
	}
	if err := f.removeAll(ctx, func(group springtide.GroupID) bool { return group.Environment == id }); err != nil {
		return err
	}
	return f.change(ctx, func() error { return f.store.DestroyEnvironment(ctx, id) })
}

// removeAll removes the groups that are chosen, all at the same time.
func (f *Fleet) removeAll(ctx context.Context, chosen func(springtide.GroupID) bool) error {
	list := f.mark(chosen)
	errs := make([]error, len(list))
	var removals sync.WaitGroup
	for i, id := range list {
		removals.Go(func() { errs[i] = f.remove(ctx, id) })
	}
	removals.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Drain lets go of every instance of every environment; it returns when nothing
// runs. Nothing is started any more, and a rollout waits where it is. What is
// wanted stays as it is in the store: it comes back when the fleet is loaded
// again.
func (f *Fleet) Drain(ctx context.Context) error {
	f.mu.Lock()
	f.draining = true
	f.mu.Unlock()
	list := f.mark(func(springtide.GroupID) bool { return true })
	errs := make(chan error, len(list))
	for _, id := range list {
		go func() { errs <- f.engine.Remove(ctx, id) }()
	}
	var first error
	for range list {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}
