package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// settleLimit is how long the edges may take to acknowledge the new routing. It
// is bounded because an edge that hangs must not hold up a deploy.
const settleLimit = 10 * time.Second

// roll takes a rollout to its end, one recorded step after the other. It can
// begin at any of them. When ctx ends it leaves the rollout where it is, to be
// taken up again.
func (d *Deployer) roll(ctx context.Context, w *work, rollout springtide.Rollout) error {
	d.note(w, func(w *work) { w.Release = rollout.Release.Number })
	var release springtide.Release
	err := d.insist(ctx, rollout, func() (err error) {
		release, err = d.Store.Release(ctx, rollout.Release)
		return err
	})
	if err != nil {
		return err
	}
	d.Fleet.begin(rollout, release)
	var failure *springtide.Error
	for !rollout.Step.Over() {
		d.note(w, func(w *work) { w.Step = string(rollout.Step) })
		if rollout.Step != springtide.RolloutReleasing || commanded(release) {
			d.tell(w, "rollout.step", describe(rollout))
		}
		next, stepErr := d.step(ctx, w, release, rollout)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		rollout = next
		if stepErr != nil {
			failure = asFailure(stepErr, "v%d of %s", rollout.Release.Number, w.Environment)
			rollout.Step, rollout.Reason = springtide.RolloutUndoing, failure.Message
		}
		if err := d.insist(ctx, rollout, func() error { return d.record(ctx, rollout) }); err != nil {
			return err
		}
	}
	d.note(w, func(w *work) { w.Step = string(rollout.Step) })
	d.Fleet.finish(d.ctx, rollout)
	d.Finished(rollout, max(0, time.Since(rollout.Started)))
	if rollout.Step == springtide.RolloutFailed {
		if failure == nil { // it failed before this control plane was started
			failure = springtide.Errorf(springtide.Failed, "%s", rollout.Reason)
		}
		return failure
	}
	if err := d.clean(ctx, release.App.KeepReleases, w.Environment); err != nil && ctx.Err() == nil {
		d.Logger.Warn("old releases could not be removed; it is tried again after the next deploy", "environment", w.Environment, "error", err)
	}
	return nil
}

// step takes one step and gives the rollout with the next one.
func (d *Deployer) step(ctx context.Context, w *work, release springtide.Release, rollout springtide.Rollout) (springtide.Rollout, error) {
	var err error
	switch rollout.Step {
	case springtide.RolloutRecorded:
		rollout.Step = springtide.RolloutReleasing
	case springtide.RolloutReleasing:
		err = d.State.Provision(ctx, release, func(line string) { d.tell(w, "release.line", line) })
		if err == nil {
			err = d.runReleaseCommand(ctx, w, release, rollout)
		}
		rollout.Step = springtide.RolloutStarting
	case springtide.RolloutStarting:
		rollout.Step, err = springtide.RolloutSwitched, d.bringUp(ctx, w, release, rollout)
	case springtide.RolloutSwitched:
		d.settle(ctx, w, rollout)
		rollout.Step, rollout.Switched = springtide.RolloutDone, time.Now()
	case springtide.RolloutUndoing:
		rollout.Step, err = springtide.RolloutFailed, d.insist(ctx, rollout, func() error { return d.Fleet.undo(ctx, rollout) })
	}
	return rollout, err
}

// insist does what a rollout cannot go on without until it succeeds: it waits
// out a full disk, say. The old release has the traffic meanwhile. What would
// be the same at every try is given up.
func (d *Deployer) insist(ctx context.Context, rollout springtide.Rollout, do func() error) error {
	for {
		err := do()
		switch springtide.KindOf(err) {
		case "", springtide.Invalid, springtide.NotFound, springtide.Conflict:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.Logger.Error("a rollout cannot go on; it is tried again", "release", rollout.Release, "step", rollout.Step, "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// record makes a step durable before it is taken.
func (d *Deployer) record(ctx context.Context, rollout springtide.Rollout) error {
	switch rollout.Step {
	case springtide.RolloutSwitched:
		if err := d.Store.SwitchRollout(ctx, rollout); err != nil {
			return err
		}
		return d.Fleet.reload(ctx)
	case springtide.RolloutDone:
		return d.Store.FinishRollout(ctx, rollout)
	case springtide.RolloutFailed:
		return d.Store.FailRollout(ctx, rollout)
	default:
		return d.Store.SaveRollout(ctx, rollout)
	}
}

func describe(rollout springtide.Rollout) string {
	name := fmt.Sprintf("v%d", rollout.Release.Number)
	switch rollout.Step {
	case springtide.RolloutRecorded:
		return name + " is recorded"
	case springtide.RolloutReleasing:
		return name + ": release command"
	case springtide.RolloutStarting:
		return name + ": starting instances"
	case springtide.RolloutSwitched:
		return name + " has the traffic"
	case springtide.RolloutUndoing:
		return name + " is undone: " + rollout.Reason
	default:
		return name + " " + string(rollout.Step)
	}
}

// commanded reports whether a release has a command that is still to be run: a
// release that had the traffic before ran it when it was new.
func commanded(release springtide.Release) bool {
	return release.App.ReleaseCommand != "" && release.State != springtide.ReleaseActive && release.State != springtide.ReleaseSuperseded
}

// runReleaseCommand runs the release's command, or learns how it ended: the
// task's ID makes the engine attach to it after a crash, and never run it twice.
func (d *Deployer) runReleaseCommand(ctx context.Context, w *work, release springtide.Release, rollout springtide.Rollout) error {
	if !commanded(release) {
		return nil
	}
	template, err := d.template(ctx, release, springtide.Process{Limits: release.App.Build.Limits})
	if err != nil {
		return err
	}
	task := springtide.Task{
		ID:          fmt.Sprintf("release-%s-%s-%d", release.Environment.App, release.Environment.Name, rollout.Generation),
		Environment: release.Environment,
		Release:     release.Number,
		Command:     release.App.ReleaseCommand,
		Template:    template,
		Timeout:     release.App.Build.Timeout,
	}
	exit, err := d.Engine.Exec(ctx, task)
	if err != nil {
		return err
	}
	lines := d.output(ctx, task)
	for _, line := range lines {
		d.tell(w, "release.line", line)
	}
	if exit.Code != 0 {
		failure := springtide.Errorf(springtide.Failed, "the release command of v%d failed: %s", release.Number, exit.Reason).
			WithHint("nothing was changed; mend `%s` and deploy again", task.Command)
		failure.Lines = lines[max(0, len(lines)-20):]
		return failure
	}
	return nil
}

// output gives what a task wrote.
func (d *Deployer) output(ctx context.Context, task springtide.Task) []string {
	log, err := d.Engine.Logs(ctx, springtide.LogQuery{Environment: task.Environment, Task: task.ID})
	if err != nil {
		return []string{"its output cannot be read: " + err.Error()}
	}
	defer log.Close()
	var lines []string
	for decoder := json.NewDecoder(log); ; {
		var line springtide.LogLine
		if decoder.Decode(&line) != nil {
			return lines
		}
		lines = append(lines, line.Text)
	}
}

// template makes the launch template of a process of a release.
func (d *Deployer) template(ctx context.Context, release springtide.Release, process springtide.Process) (springtide.Template, error) {
	template, err := d.Builder.Place(ctx, release)
	if err != nil {
		return springtide.Template{}, err
	}
	template.Process, template.Env = process, release.Env(process)
	return template, nil
}

// settle waits until every edge routes to the new release: until the table is
// made, however long that takes, but not for ever until an edge that hangs has
// taken it. The old instances are let go only when it has, or after their drain.
func (d *Deployer) settle(ctx context.Context, w *work, rollout springtide.Rollout) {
	began := time.Now()
	d.Fleet.changed()
	err := d.insist(ctx, rollout, func() error {
		bounded, cancel := context.WithTimeout(ctx, settleLimit)
		defer cancel()
		err := d.Edges.Settle(bounded)
		if errors.Is(err, context.DeadlineExceeded) {
			d.Logger.Warn("an edge did not take the new routing in time", "release", rollout.Release, "error", err)
			return nil
		}
		return err
	})
	if err != nil && ctx.Err() == nil {
		d.Logger.Error("the new routing could not be made", "release", rollout.Release, "error", err)
	}
	d.note(w, func(w *work) { w.Switch = time.Since(began) })
}

// clean forgets releases beyond those that are kept, and their artifacts.
func (d *Deployer) clean(ctx context.Context, keep int, id springtide.EnvironmentID) error {
	releases, err := d.Store.Releases(ctx, id)
	if err != nil {
		return err
	}
	deleted := false
	for _, release := range releases[min(max(keep, 2), len(releases)):] {
		err := d.Store.DeleteRelease(ctx, release.ID())
		if err != nil && springtide.KindOf(err) != springtide.Conflict { // one that still runs is kept
			return err
		}
		deleted = deleted || err == nil
	}
	if !deleted {
		return nil
	}
	return d.collectArtifacts(ctx)
}

func (d *Deployer) collectArtifacts(ctx context.Context) error {
	keep, err := d.Store.Artifacts(ctx)
	if err != nil {
		return err
	}
	return d.Builder.Collect(ctx, keep)
}
