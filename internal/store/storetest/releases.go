package storetest

import (
	"slices"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

var releaseTests = []test{
	{"A release is numbered and comes back as it was given", func(f *fixture) {
		f.environment(production)
		f.environment(blog)
		f.release(production)
		before := time.Now().Add(-time.Second)
		added := f.release(production, "example.com")
		if added.Number != 2 || added.State != springtide.ReleasePending || added.Created.Before(before) {
			f.Errorf("got %+v", added)
		}
		if other := f.release(blog); other.Number != 1 {
			f.Errorf("another environment's first release is number %d", other.Number)
		}
		f.reopen()
		stored, err := f.Release(f.Context(), added.ID())
		f.check(err)
		if diff := cmp.Diff(added, stored); diff != "" {
			f.Errorf("given and stored differ:\n%s", diff)
		}
	}},
	{"Releases are listed with the newest first", func(f *fixture) {
		f.environment(production)
		for range 3 {
			f.release(production)
		}
		releases, err := f.Releases(f.Context(), production)
		f.check(err)
		var numbers []int
		for _, r := range releases {
			numbers = append(numbers, r.Number)
		}
		if !slices.Equal(numbers, []int{3, 2, 1}) {
			f.Errorf("got %v", numbers)
		}
	}},
	{"A number is never used twice", func(f *fixture) {
		f.environment(production)
		f.check(f.DeleteRelease(f.Context(), f.release(production).ID()))
		if next := f.release(production); next.Number != 2 {
			f.Errorf("got %d, want 2", next.Number)
		}
	}},
	{"A release that is not there is not found", func(f *fixture) {
		f.environment(production)
		id := springtide.ReleaseID{Environment: production, Number: 7}
		f.wantKind(second(f.Release(f.Context(), id)), springtide.NotFound)
		f.wantKind(f.DeleteRelease(f.Context(), id), springtide.NotFound)
		f.wantKind(f.FailRelease(f.Context(), id, "why"), springtide.NotFound)
		f.wantKind(second(f.BeginRollout(f.Context(), springtide.Rollout{Release: id})), springtide.NotFound)
	}},
	{"A release that is active, being rolled out or has a group is not deleted", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		first, next := f.release(production), f.release(production)
		f.roll(first)
		f.check(f.PutGroup(ctx, group(first, 1)))
		rollout := f.begin(next)
		f.wantKind(f.DeleteRelease(ctx, first.ID()), springtide.Conflict)
		f.wantKind(f.DeleteRelease(ctx, next.ID()), springtide.Conflict)
		f.check(f.SwitchRollout(ctx, rollout))
		f.wantKind(f.DeleteRelease(ctx, first.ID()), springtide.Conflict)
		f.check(f.DeleteGroup(ctx, group(first, 1).ID))
		f.check(f.DeleteRelease(ctx, first.ID()))
	}},
	{"Only a pending release can be failed", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		pending, active := f.release(production), f.release(production)
		f.roll(active)
		f.check(f.FailRelease(ctx, pending.ID(), "another deploy was going on"))
		f.check(f.FailRelease(ctx, active.ID(), "never"))
		failed, err := f.Release(ctx, pending.ID())
		f.check(err)
		if failed.State != springtide.ReleaseFailed || failed.Reason != "another deploy was going on" {
			f.Errorf("got %s %q", failed.State, failed.Reason)
		}
		still, err := f.Release(ctx, active.ID())
		f.check(err)
		if still.State != springtide.ReleaseActive || still.Reason != "" {
			f.Errorf("got %s %q", still.State, still.Reason)
		}
	}},
	{"Artifacts are those of all releases and groups, each once", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		r := f.release(production)
		f.release(blog)
		of := group(r, 1)
		of.Template.Artifact = otherDigest
		f.check(f.PutGroup(ctx, of))
		digests, err := f.Artifacts(ctx)
		f.check(err)
		if want := []springtide.Digest{digest, otherDigest}; !slices.Equal(digests, want) {
			f.Errorf("got %v, want %v", digests, want)
		}
	}},
}

var groupTests = []test{
	{"A group comes back as it was put, and is replaced by the next of its name", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		g := group(f.release(production), 2)
		f.check(f.PutGroup(ctx, g))
		f.reopen()
		groups, err := f.Groups(ctx)
		f.check(err)
		if diff := cmp.Diff([]springtide.Group{g}, groups); diff != "" {
			f.Errorf("put and got differ:\n%s", diff)
		}
		g.Replicas, g.Template.Root = 5, "/elsewhere"
		f.check(f.PutGroup(ctx, g))
		groups, err = f.GroupsOf(ctx, production)
		f.check(err)
		if diff := cmp.Diff([]springtide.Group{g}, groups); diff != "" {
			f.Errorf("replaced and got differ:\n%s", diff)
		}
	}},
	{"Replicas are set of a group that is there", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		g := group(f.release(production), 2)
		f.wantKind(f.SetReplicas(ctx, g.ID, 3), springtide.NotFound)
		f.check(f.PutGroup(ctx, g))
		f.check(f.SetReplicas(ctx, g.ID, 0))
		groups, err := f.Groups(ctx)
		f.check(err)
		if len(groups) != 1 || groups[0].Replicas != 0 {
			f.Errorf("got %v", groups)
		}
		f.wantKind(f.SetReplicas(ctx, g.ID, -1), springtide.Invalid)
		g.Replicas = -1
		f.wantKind(f.PutGroup(ctx, g), springtide.Invalid)
	}},
	{"A group of a release that is not there is not found", func(f *fixture) {
		f.environment(production)
		g := group(springtide.Release{Environment: production, Number: 9}, 1)
		f.wantKind(f.PutGroup(f.Context(), g), springtide.NotFound)
	}},
	{"Deleting a group twice is no error", func(f *fixture) {
		f.environment(production)
		g := group(f.release(production), 2)
		f.check(f.PutGroup(f.Context(), g))
		f.check(f.DeleteGroup(f.Context(), g.ID))
		f.check(f.DeleteGroup(f.Context(), g.ID))
		groups, err := f.Groups(f.Context())
		f.check(err)
		if len(groups) > 0 {
			f.Errorf("got %v", groups)
		}
	}},
	{"Groups are listed in order, of one environment or of all", func(f *fixture) {
		ctx := f.Context()
		var want []springtide.GroupID
		for _, id := range []springtide.EnvironmentID{blog, production, staging} {
			f.environment(id)
			r := f.release(id)
			for _, generation := range []int{1, 2, 10} {
				for _, process := range []springtide.ProcessName{"web", "worker"} {
					want = append(want, springtide.GroupID{Environment: id, Release: r.Number, Process: process, Generation: generation})
				}
			}
		}
		for _, id := range slices.Backward(want) {
			f.check(f.PutGroup(ctx, springtide.Group{ID: id}))
		}
		groups, err := f.Groups(ctx)
		f.check(err)
		if diff := cmp.Diff(want, groupIDs(groups)); diff != "" {
			f.Error(diff)
		}
		groups, err = f.GroupsOf(ctx, production)
		f.check(err)
		if diff := cmp.Diff(want[6:12], groupIDs(groups)); diff != "" {
			f.Error(diff)
		}
	}},
}

func groupIDs(groups []springtide.Group) []springtide.GroupID {
	var ids []springtide.GroupID
	for _, g := range groups {
		ids = append(ids, g.ID)
	}
	return ids
}
