package deploy

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

const (
	// crashLimit is how often an instance may end before it was ever ready.
	crashLimit = 3
	// startSlack is what a start may take beyond what the health check allows, unless
	// Options.PlaceWithin is longer.
	startSlack = 10 * time.Second
	// stuckFor is how long an instance may be stuck before its release is given up:
	// what it waits for may have been away for a moment.
	stuckFor = 30 * time.Second
	// crowdedFor is how long the machine must have been full before fewer
	// instances than wanted are enough.
	crowdedFor = 5 * time.Second
)

// bringUp starts the groups of a release beside those that have the traffic,
// and returns when they are ready. As long as it waits it keeps up with the old
// groups, which may grow meanwhile.
func (d *Deployer) bringUp(ctx context.Context, w *work, release springtide.Release, rollout springtide.Rollout) error {
	began := time.Now()
	limit, slack := time.Duration(0), max(startSlack, d.PlaceWithin)
	for _, process := range release.App.Processes {
		limit = max(limit, process.Health.Start+slack)
	}
	deadline := time.After(limit)
	var crowded time.Time
	for {
		away := ""
		if err := d.applyGroups(ctx, release, rollout); err != nil && !d.isAway(err) {
			return err
		} else if err != nil {
			away = err.Error()
		}
		if d.Fleet.isDraining() { // it is taken up at the next start
			<-ctx.Done()
			return ctx.Err()
		}
		snapshot, newer := d.Fleet.Snapshot()
		if snapshot.Capacity == "" {
			crowded = time.Time{}
		} else if crowded.IsZero() {
			crowded = time.Now()
		}
		waiting, err := d.examine(release, rollout, snapshot, !crowded.IsZero() && time.Since(crowded) > crowdedFor)
		if err != nil {
			return err
		}
		if waiting = cmp.Or(away, waiting); waiting == "" {
			d.note(w, func(w *work) { w.Start = time.Since(began) })
			return nil
		}
		select {
		case <-newer:
		case <-time.After(time.Second):
		case <-deadline:
			return springtide.Errorf(springtide.Failed, "v%d did not become ready within %s: %s", release.Number, limit, waiting).
				WithHint("see `tide logs`, or raise health.start in the manifest")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isAway reports whether an error says that the cluster does not answer, which is
// waited for.
func (d *Deployer) isAway(err error) bool {
	return d.PlaceWithin > 0 && springtide.KindOf(err) == springtide.Unavailable
}

// applyGroups makes the new groups, or those of them that are missing.
func (d *Deployer) applyGroups(ctx context.Context, release springtide.Release, rollout springtide.Rollout) error {
	for _, name := range release.App.ProcessNames() {
		if err := d.applyGroup(ctx, release, rollout, name); err != nil {
			return err
		}
	}
	return nil
}

// applyGroup makes a process's new group as large as the one it takes over from.
func (d *Deployer) applyGroup(ctx context.Context, release springtide.Release, rollout springtide.Rollout, name springtide.ProcessName) error {
	process := release.App.Processes[name]
	template, err := d.template(ctx, release, process)
	if err != nil {
		return err
	}
	environment, _, err := d.Fleet.Environment(release.Environment)
	if err != nil {
		return err
	}
	scale := inForce(environment, name, process.Scale)
	replicas := min(max(scale.Min, d.Fleet.replicas(release.Environment, name)), scale.Max)
	if process.HTTP {
		replicas = max(replicas, 1) // nothing else proves that it can serve
	}
	return d.Fleet.put(ctx, springtide.Group{ID: groupID(rollout, name), Replicas: replicas, Template: template})
}

func groupID(rollout springtide.Rollout, process springtide.ProcessName) springtide.GroupID {
	return springtide.GroupID{
		Environment: rollout.Release.Environment, Release: rollout.Release.Number,
		Process: process, Generation: rollout.Generation,
	}
}

// examine says what the rollout still waits for; nothing when all is ready. An
// instance that keeps ending, or never became healthy, is an error. On a
// machine that is full, one ready instance of each group has to do.
func (d *Deployer) examine(release springtide.Release, rollout springtide.Rollout, snapshot springtide.Snapshot, full bool) (waiting string, err error) {
	for _, name := range release.App.ProcessNames() {
		id := groupID(rollout, name)
		wanted, ready := d.Fleet.wanted(id), 0
		for _, instance := range snapshot.Of(id) {
			if instance.State == springtide.InstanceReady {
				ready++
				continue
			}
			if instance.Ready.IsZero() && (instance.Restarts >= crashLimit || instance.Stuck && time.Since(instance.Ordered) > stuckFor) {
				return "", notReady(release, rollout, instance)
			}
			if instance.Reason != "" {
				waiting = fmt.Sprintf("%s: %s", instance.ID, instance.Reason)
			}
		}
		if ready < wanted && !(full && ready > 0) {
			if waiting == "" {
				waiting = fmt.Sprintf("%d of %d %s instances are ready", ready, wanted, name)
			}
			if !strings.Contains(waiting, snapshot.Capacity) {
				waiting += "; " + snapshot.Capacity
			}
			return waiting, nil
		}
	}
	return "", nil
}

// notReady says why a release was given up, with what its instance said last.
func notReady(release springtide.Release, rollout springtide.Rollout, instance springtide.Instance) error {
	failure := springtide.Errorf(springtide.Failed, "v%d does not start: %s", release.Number, strings.TrimSuffix(instance.Reason, ".")).
		WithHint("nothing was changed; the release before has the traffic")
	if len(rollout.Previous) == 0 {
		failure = failure.WithHint("mend it and deploy again")
	}
	failure.Lines = instance.LastLines
	return failure
}

// rolling is an open rollout. Its release is not known until the rollout is
// taken up.
type rolling struct {
	generation int
	release    springtide.Release
}

// begin marks a rollout as open, so that its groups are kept.
func (f *Fleet) begin(rollout springtide.Rollout, release springtide.Release) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rolling[rollout.Release.Environment] = rolling{rollout.Generation, release}
}

// isRolling reports whether a rollout of the environment is open.
func (f *Fleet) isRolling(id springtide.EnvironmentID) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, rolling := f.rolling[id]
	return rolling
}

// finish ends what begin did, and lets go of the groups that lost the traffic.
func (f *Fleet) finish(ctx context.Context, rollout springtide.Rollout) {
	f.mu.Lock()
	delete(f.rolling, rollout.Release.Environment)
	f.mu.Unlock()
	f.collect(ctx)
}

// undo removes the groups of a rollout that failed.
func (f *Fleet) undo(ctx context.Context, rollout springtide.Rollout) error {
	return f.removeAll(ctx, func(id springtide.GroupID) bool {
		return id.Environment == rollout.Release.Environment && id.Generation == rollout.Generation
	})
}

// activeGroups are the groups that have the traffic of an environment.
func (f *Fleet) activeGroups(id springtide.EnvironmentID) []springtide.GroupID {
	var list []springtide.GroupID
	for _, active := range f.ActiveOf(id) {
		list = append(list, active.Group.ID)
	}
	return list
}

// replicas is how many instances a process has now; 0 if it has no group.
func (f *Fleet) replicas(id springtide.EnvironmentID, process springtide.ProcessName) int {
	for _, active := range f.ActiveOf(id) {
		if active.Group.ID.Process == process {
			return active.Group.Replicas
		}
	}
	return 0
}

// wanted is how many instances a group should have.
func (f *Fleet) wanted(id springtide.GroupID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.groups[id].Replicas
}
