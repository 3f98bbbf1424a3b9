package deploy

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
)

// Load reads what is wanted from the store and tells the engine all of it.
// place says where the instances of a group get their artifact from now.
func (f *Fleet) Load(ctx context.Context, place func(context.Context, springtide.Group) (springtide.Template, error)) error {
	rollouts, err := f.store.OpenRollouts(ctx)
	if err != nil {
		return err
	}
	groups, err := f.store.Groups(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	for _, rollout := range rollouts {
		f.rolling[rollout.Release.Environment] = rolling{generation: rollout.Generation}
	}
	for _, group := range groups {
		f.groups[group.ID] = group
	}
	f.mu.Unlock()
	if err := f.reload(ctx); err != nil {
		return err
	}
	var wanted []springtide.Group
	for _, group := range groups {
		if placed, err := place(ctx, group); err != nil {
			f.logger.Error("an artifact is not there; what runs of it goes on, but nothing new can start", "group", group.ID, "error", err)
		} else if placed.Root != group.Template.Root || placed.Image != group.Template.Image { // the platform was restored elsewhere
			group.Template.Root, group.Template.Image = placed.Root, placed.Image
			f.keep(group)
		}
		if group.Replicas > 0 && f.isStopped(group.ID.Environment) && f.rolling[group.ID.Environment].generation != group.ID.Generation {
			// It was being stopped when the control plane was killed.
			if err := f.store.SetReplicas(ctx, group.ID, 0); err != nil {
				return err
			}
			group.Replicas = 0
			f.keep(group)
		}
		wanted = append(wanted, group)
	}
	away := f.applyAll(ctx, wanted)
	f.removals.Go(func() { f.applyLater(ctx, away) })
	f.collect(ctx)
	return nil
}

// atOnce is how many groups an engine is told of at the same time: a cluster answers
// one after the other slowly, and nobody sees anything of the platform before.
const atOnce = 16

// applyAll tells the engine of groups, and gives those that it could not take as it
// was away.
func (f *Fleet) applyAll(ctx context.Context, groups []springtide.Group) (away []springtide.GroupID) {
	var all errgroup.Group
	all.SetLimit(atOnce)
	var mu sync.Mutex // of away
	for _, group := range groups {
		all.Go(func() error {
			mu.Lock()
			isAway := len(away) > 0 // the others would only be waited for too
			mu.Unlock()
			var err error
			if !isAway {
				err = f.applyFirst(ctx, group)
			}
			if err != nil { // the others are to run all the same
				f.logger.Error("a group cannot be run", "group", group.ID, "error", err)
			}
			if isAway || springtide.KindOf(err) == springtide.Unavailable {
				mu.Lock()
				defer mu.Unlock()
				away = append(away, group.ID)
			}
			return nil
		})
	}
	_ = all.Wait() // what failed is told
	return away
}

const (
	// applyAgain is when an engine that was away is asked again.
	applyAgain = time.Second
	// applyWithin is how long the engine may take for a group while everything, the
	// schedules too, waits for it.
	applyWithin = 2 * time.Second
)

func (f *Fleet) applyFirst(ctx context.Context, group springtide.Group) error {
	ctx, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	return f.engine.Apply(ctx, group)
}

// applyLater tells the engine of groups that it could not take as it was away,
// until it has taken all that are still wanted.
func (f *Fleet) applyLater(ctx context.Context, groups []springtide.GroupID) {
	for len(groups) > 0 {
		select {
		case <-time.After(applyAgain):
		case <-ctx.Done():
			return
		}
		for len(groups) > 0 {
			err := f.applyNow(ctx, groups[0])
			if springtide.KindOf(err) == springtide.Unavailable {
				break
			}
			if err != nil && ctx.Err() == nil {
				f.logger.Error("a group cannot be run", "group", groups[0], "error", err)
			}
			groups = groups[1:]
		}
	}
}

// applyNow tells the engine of a group, if it is still wanted.
func (f *Fleet) applyNow(ctx context.Context, id springtide.GroupID) error {
	f.changing.Lock()
	defer f.changing.Unlock()
	group, known := f.group(id)
	if !known || f.isRemoving(id) {
		return nil
	}
	return f.engine.Apply(ctx, group)
}

// Disown removes, in the background, groups that the engine still runs although
// nothing is known of them: their environment was destroyed as this machine
// went down. The engine must have observed what runs.
func (f *Fleet) Disown(ctx context.Context, running []springtide.GroupID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range running {
		if _, known := f.groups[id]; known {
			continue
		}
		f.removals.Go(func() {
			if err := f.engine.Remove(ctx, id); err != nil && ctx.Err() == nil {
				f.logger.Error("a group that nobody knows could not be removed", "group", id, "error", err)
			}
		})
	}
}
