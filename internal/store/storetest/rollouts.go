package storetest

import (
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

var rolloutTests = []test{
	{"A rollout comes back as it was saved", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		r := f.release(production)
		rollout, err := f.BeginRollout(ctx, springtide.Rollout{Release: r.ID(), Previous: []springtide.GroupID{group(r, 1).ID}})
		f.check(err)
		if rollout.Step != springtide.RolloutRecorded || rollout.Generation != 1 || rollout.Started.IsZero() {
			f.Errorf("got %+v", rollout)
		}
		f.reopen()
		open, err := f.OpenRollouts(ctx)
		f.check(err)
		if diff := cmp.Diff([]springtide.Rollout{rollout}, open); diff != "" {
			f.Errorf("begun and open differ:\n%s", diff)
		}
		rollout.Step, rollout.Reason = springtide.RolloutUndoing, "not ready after 60 s"
		f.check(f.SaveRollout(ctx, rollout))
		last, err := f.LastRollout(ctx, production)
		f.check(err)
		if last.Updated.Before(rollout.Updated) {
			f.Errorf("updated %s, before it was %s", last.Updated, rollout.Updated)
		}
		rollout.Updated = last.Updated
		if diff := cmp.Diff(rollout, last); diff != "" {
			f.Errorf("saved and last differ:\n%s", diff)
		}
	}},
	{"A rollout is found by the request it carries out", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.roll(f.release(production)) // that of no request
		r := f.release(production)
		rollout, err := f.BeginRollout(ctx, springtide.Rollout{Release: r.ID(), Deploy: "asked"})
		f.check(err)
		found, err := f.RolloutOf(ctx, "asked")
		f.check(err)
		if diff := cmp.Diff(rollout, found); diff != "" {
			f.Errorf("begun and found differ:\n%s", diff)
		}
		for _, unknown := range []string{"", "another"} {
			f.wantKind(second(f.RolloutOf(ctx, unknown)), springtide.NotFound)
		}
	}},
	{"One rollout of an environment at a time", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(staging)
		r := f.release(production)
		rollout := f.begin(r)
		_, err := f.BeginRollout(ctx, springtide.Rollout{Release: r.ID()})
		f.wantKind(err, springtide.Conflict)
		f.begin(f.release(staging))
		f.check(f.FailRollout(ctx, rollout))
		if next := f.begin(r); next.Generation != 2 {
			f.Errorf("the next generation is %d, want 2", next.Generation)
		}
	}},
	{"Of many rollouts begun at once exactly one begins", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		r := f.release(production)
		results := make([]error, 16)
		var group sync.WaitGroup
		for i := range results {
			group.Go(func() { results[i] = second(f.BeginRollout(ctx, springtide.Rollout{Release: r.ID()})) })
		}
		group.Wait()
		begun := 0
		for _, err := range results {
			if err == nil {
				begun++
			} else {
				f.wantKind(err, springtide.Conflict)
			}
		}
		if begun != 1 {
			f.Errorf("%d begun, want 1", begun)
		}
	}},
	{"Switching changes rollout, releases and environment together", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		first := f.release(production)
		f.roll(first)
		_, err := f.SetStopped(ctx, production, true)
		f.check(err)
		next := f.release(production)
		rollout := f.begin(next)
		f.check(f.SwitchRollout(ctx, rollout))
		f.check(f.SwitchRollout(ctx, rollout))

		f.wantStates(springtide.ReleaseActive, springtide.ReleaseSuperseded)
		e, err := f.Environment(ctx, production)
		f.check(err)
		if e.Active != next.Number || e.Generation != rollout.Generation || e.Stopped {
			f.Errorf("got %+v", e)
		}
		open, err := f.OpenRollouts(ctx)
		f.check(err)
		if len(open) != 1 || open[0].Step != springtide.RolloutSwitched {
			f.Errorf("got %v", open)
		}
		rollout.Step, rollout.Switched = springtide.RolloutSwitched, time.Now()
		f.check(f.SaveRollout(ctx, rollout))
		f.check(f.FinishRollout(ctx, rollout))
		f.check(f.FinishRollout(ctx, rollout))
		last, err := f.LastRollout(ctx, production)
		f.check(err)
		if last.Step != springtide.RolloutDone || !last.Switched.Equal(rollout.Switched) {
			f.Errorf("got %+v", last)
		}
	}},
	{"A failed rollout fails a release that never was active", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.roll(f.release(production))
		rollout := f.begin(f.release(production))
		rollout.Reason = "not ready after 60 s"
		f.check(f.FailRollout(ctx, rollout))
		f.check(f.FailRollout(ctx, rollout))
		f.wantStates(springtide.ReleaseFailed, springtide.ReleaseActive)
		failed, err := f.Release(ctx, rollout.Release)
		f.check(err)
		if failed.Reason != rollout.Reason {
			f.Errorf("got %q, want %q", failed.Reason, rollout.Reason)
		}
		e, err := f.Environment(ctx, production)
		f.check(err)
		if e.Active != 1 || e.Generation != 1 {
			f.Errorf("the failed rollout changed the environment: %+v", e)
		}
	}},
	{"A failed restart or rollback leaves the states of releases", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		first, next := f.release(production), f.release(production)
		f.roll(first)
		f.roll(next)
		f.check(f.FailRollout(ctx, f.begin(next)))
		f.check(f.FailRollout(ctx, f.begin(first)))
		f.wantStates(springtide.ReleaseActive, springtide.ReleaseSuperseded)
	}},
	{"A rollback makes the older release active again", func(f *fixture) {
		f.environment(production)
		first, next := f.release(production), f.release(production)
		f.roll(first)
		f.roll(next)
		f.roll(first)
		f.wantStates(springtide.ReleaseSuperseded, springtide.ReleaseActive)
	}},
	{"Steps go forward only", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		rollout := f.begin(f.release(production))
		at := func(step springtide.RolloutStep) springtide.Rollout {
			rollout.Step = step
			return rollout
		}
		f.wantKind(f.FinishRollout(ctx, rollout), springtide.Conflict)
		for _, step := range []springtide.RolloutStep{springtide.RolloutSwitched, springtide.RolloutDone, springtide.RolloutFailed, "nonsense"} {
			f.wantKind(f.SaveRollout(ctx, at(step)), springtide.Conflict)
		}
		f.check(f.SaveRollout(ctx, at(springtide.RolloutStarting)))
		f.check(f.SaveRollout(ctx, at(springtide.RolloutStarting)))
		f.wantKind(f.SaveRollout(ctx, at(springtide.RolloutReleasing)), springtide.Conflict)
		f.check(f.SaveRollout(ctx, at(springtide.RolloutUndoing)))
		f.wantKind(f.SwitchRollout(ctx, rollout), springtide.Conflict)
		f.check(f.FailRollout(ctx, rollout))
		f.wantKind(f.SaveRollout(ctx, at(springtide.RolloutUndoing)), springtide.Conflict)
		f.wantKind(f.SwitchRollout(ctx, rollout), springtide.Conflict)

		rollout = f.begin(f.release(production))
		f.check(f.SwitchRollout(ctx, rollout))
		f.wantKind(f.SaveRollout(ctx, at(springtide.RolloutUndoing)), springtide.Conflict)
		f.wantKind(f.FailRollout(ctx, rollout), springtide.Conflict)
	}},
	{"A rollout that is not there is not found", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		rollout := springtide.Rollout{Release: f.release(production).ID(), Generation: 7}
		f.wantKind(f.SaveRollout(ctx, rollout), springtide.NotFound)
		f.wantKind(f.SwitchRollout(ctx, rollout), springtide.NotFound)
		f.wantKind(f.FinishRollout(ctx, rollout), springtide.NotFound)
		f.wantKind(f.FailRollout(ctx, rollout), springtide.NotFound)
	}},
	{"The newest rollouts are kept", func(f *fixture) {
		f.environment(production)
		r := f.release(production)
		var last springtide.Rollout
		for range store.KeepRollouts + 5 {
			last = f.roll(r)
		}
		stored, err := f.LastRollout(f.Context(), production)
		f.check(err)
		if stored.Generation != last.Generation || stored.Step != springtide.RolloutDone {
			f.Errorf("got %+v", stored)
		}
	}},
}

// wantStates checks the states of production's releases, the newest first.
func (f *fixture) wantStates(want ...springtide.ReleaseState) {
	f.Helper()
	releases, err := f.Releases(f.Context(), production)
	f.check(err)
	var states []springtide.ReleaseState
	for _, r := range releases {
		states = append(states, r.State)
	}
	if diff := cmp.Diff(want, states); diff != "" {
		f.Errorf("the states of the releases, the newest first:\n%s", diff)
	}
}
