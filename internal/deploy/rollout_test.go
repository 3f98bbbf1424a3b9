package deploy

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestADeployBuildsStartsSwitchesAndLetsTheOldGroupGo(t *testing.T) {
	r := newRig(t)
	if work := r.deploy("one"); work.Err != nil || work.Release != 1 {
		t.Fatalf("first deploy: %+v", work)
	}
	if work := r.deploy("two"); work.Err != nil || work.Release != 2 {
		t.Fatalf("second deploy: %+v", work)
	}
	eventually(t, "the old group to be removed", func() bool { return !r.engine.has(web(1, 1)) })
	if !r.engine.has(web(2, 2)) {
		t.Fatal("the new group does not run")
	}
	routes, err := r.fleet.Routes(t.Context())
	if err != nil || len(routes) != 1 || routes[0].Group != web(2, 2) || routes[0].Hosts[0] != "quiz.localhost" {
		t.Fatalf("routes are %+v, %v", routes, err)
	}
}

func TestAReleaseThatDoesNotStartChangesNothing(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	for source, reason := range map[string]string{
		"broken": "v2 does not start: exit status 1",
		"!":      "build failed",
	} {
		work := r.deploy(source)
		if work.Err == nil || !strings.Contains(work.Err.Error(), reason) {
			t.Fatalf("deploy of %q: %v, want %q", source, work.Err, reason)
		}
		if springtide.KindOf(work.Err) != springtide.Failed {
			t.Fatalf("deploy of %q failed as %s", source, springtide.KindOf(work.Err))
		}
	}
	if !r.engine.has(web(1, 1)) || r.engine.has(web(2, 2)) {
		t.Fatal("the engine runs something else than the first release")
	}
	environment, _, err := r.fleet.Environment(quiz)
	if err != nil || environment.Active != 1 {
		t.Fatalf("the active release is %d, %v", environment.Active, err)
	}
	open, err := r.store.OpenRollouts(t.Context())
	if err != nil || len(open) != 0 {
		t.Fatalf("open rollouts: %v, %v", open, err)
	}
}

func TestTheReleaseCommandRunsOncePerReleaseAndItsFailureChangesNothing(t *testing.T) {
	r := newRig(t)
	r.platform.release = "migrate"
	r.deploy("one")
	if work := r.deploy("two"); work.Err != nil {
		t.Fatal(work.Err)
	}
	id, err := r.deployer.Rollback(t.Context(), quiz, 0)
	if err != nil {
		t.Fatal(err)
	}
	if work := r.wait(id); work.Err != nil || work.Release != 1 {
		t.Fatalf("rollback: %+v", work)
	}
	if got := len(r.engine.execs); got != 2 {
		t.Fatalf("the release command ran %d times for two releases and a rollback", got)
	}
	r.platform.release = "fail"
	work := r.deploy("three")
	failure, ok := errors.AsType[*springtide.Error](work.Err)
	if !ok || !strings.Contains(failure.Message, "release command of v3 failed: exit status 3") || !slices.Contains(failure.Lines, "migrating") {
		t.Fatalf("got %#v", work.Err)
	}
}

func TestTheNewGroupIsAsLargeAsTheOneItTakesOverFrom(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	if err := r.fleet.SetReplicas(t.Context(), web(1, 1), 3); err != nil {
		t.Fatal(err)
	}
	r.deploy("two")
	if got := r.fleet.wanted(web(2, 2)); got != 3 {
		t.Fatalf("the new group has %d replicas", got)
	}
}

func TestDeploysOfAnEnvironmentNeverInterleave(t *testing.T) {
	r := newRig(t)
	var ids []string
	for _, source := range []string{"one", "two", "three", "four"} {
		ids = append(ids, r.deployer.Deploy(quiz, source, "", func() {}))
	}
	for _, id := range ids {
		if work := r.wait(id); work.Err != nil {
			t.Fatal(work.Err)
		}
	}
	if r.platform.overlap != 1 {
		t.Fatalf("%d builds of one environment ran at once", r.platform.overlap)
	}
	eventually(t, "one group to be left", func() bool {
		groups, err := r.store.Groups(t.Context())
		return err == nil && len(groups) == 1
	})
}

func TestARolloutIsTakenUpAtEveryStepAfterTheControlPlaneWasKilled(t *testing.T) {
	for _, step := range []springtide.RolloutStep{
		springtide.RolloutRecorded, springtide.RolloutReleasing, springtide.RolloutStarting, springtide.RolloutSwitched, springtide.RolloutUndoing,
	} {
		t.Run(string(step), func(t *testing.T) {
			r := newRig(t)
			r.deploy("one")
			r.stop()
			ctx := t.Context()
			app, _ := r.platform.Read("two", springtide.Production)
			release, err := r.store.AddRelease(ctx, springtide.Release{Environment: quiz, Artifact: "sha256:two", App: app})
			if err != nil {
				t.Fatal(err)
			}
			rollout, err := r.store.BeginRollout(ctx, springtide.Rollout{Release: release.ID(), Deploy: "asked"})
			if err != nil {
				t.Fatal(err)
			}
			for _, next := range []springtide.RolloutStep{springtide.RolloutReleasing, springtide.RolloutStarting} {
				if rollout.Step == step {
					break
				}
				rollout.Step = next
				if err := r.store.SaveRollout(ctx, rollout); err != nil {
					t.Fatal(err)
				}
			}
			group := springtide.Group{ID: groupID(rollout, springtide.Web), Replicas: 1, Template: springtide.Template{Artifact: "sha256:two", Process: app.Processes[springtide.Web]}}
			if rollout.Step == springtide.RolloutStarting { // it may have come this far
				if err := r.store.PutGroup(ctx, group); err != nil {
					t.Fatal(err)
				}
			}
			active := 2
			switch step {
			case springtide.RolloutSwitched:
				rollout.Step = step
				err = r.store.SwitchRollout(ctx, rollout)
			case springtide.RolloutUndoing:
				active = 1
				rollout.Step, rollout.Reason = step, "it was broken"
				err = r.store.SaveRollout(ctx, rollout)
			}
			if err != nil {
				t.Fatal(err)
			}

			r.start()
			eventually(t, "the rollout to be over", func() bool {
				open, err := r.store.OpenRollouts(ctx)
				return err == nil && len(open) == 0
			})
			eventually(t, "one group to be left", func() bool {
				groups, err := r.store.Groups(ctx)
				return err == nil && len(groups) == 1 && groups[0].ID.Release == active
			})
			environment, _, err := r.fleet.Environment(quiz)
			if err != nil || environment.Active != active {
				t.Fatalf("v%d is active, %v", environment.Active, err)
			}
			work := r.wait("asked")
			if failed := work.Err != nil; failed != (step == springtide.RolloutUndoing) {
				t.Fatalf("whoever asked for it is told %v", work.Err)
			}
		})
	}
}

func TestARollbackGoesToTheReleaseBeforeAndSaysWhyItCannot(t *testing.T) {
	r := newRig(t)
	if _, err := r.deployer.Rollback(t.Context(), quiz, 0); springtide.KindOf(err) != springtide.NotFound {
		t.Fatalf("rollback of nothing: %v", err)
	}
	r.deploy("one")
	for number, kind := range map[int]springtide.ErrorKind{0: springtide.NotFound, 1: springtide.Invalid, 9: springtide.NotFound} {
		if _, err := r.deployer.Rollback(t.Context(), quiz, number); springtide.KindOf(err) != kind {
			t.Fatalf("rollback to %d: %v", number, err)
		}
	}
}

func TestOldReleasesAndTheirArtifactsAreForgotten(t *testing.T) {
	r := newRig(t)
	for _, source := range []string{"one", "two", "three", "four"} {
		r.deploy(source)
		eventually(t, "the old group to be removed", func() bool {
			groups, err := r.store.Groups(t.Context())
			return err == nil && len(groups) == 1
		})
	}
	releases, err := r.store.Releases(t.Context(), quiz)
	if err != nil || len(releases) != 2 || releases[0].Number != 4 {
		t.Fatalf("kept %+v, %v", releases, err)
	}
}

func TestStopHoldsAtNothingAndStartBringsBack(t *testing.T) {
	r := newRig(t)
	r.platform.min = 2
	r.deploy("one")
	if err := r.fleet.Stop(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	routes, _ := r.fleet.Routes(t.Context())
	if r.fleet.wanted(web(1, 1)) != 0 || !routes[0].Stopped {
		t.Fatal("it is not stopped")
	}
	if err := r.fleet.Start(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if got := r.fleet.wanted(web(1, 1)); got != 2 {
		t.Fatalf("started with %d replicas", got)
	}
}

func TestAWorkerFromZeroIsDeployedStoppedAndStartedWithoutAnInstance(t *testing.T) {
	r := newRig(t)
	r.platform.worker = &springtide.Process{
		Command: "broken", // as would be seen if it were started
		Worker:  &springtide.Worker{Queues: []springtide.QueueName{springtide.DefaultQueue}},
		Scale:   springtide.Scale{Min: 0, Max: 4},
	}
	group := web(1, 1)
	group.Process = "worker"
	if done := r.deploy("one"); done.Err != nil {
		t.Fatalf("%+v", done)
	}
	if !r.engine.has(group) || r.fleet.wanted(group) != 0 {
		t.Fatalf("deployed with %d workers", r.fleet.wanted(group))
	}
	if err := r.fleet.Stop(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if err := r.fleet.Start(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if web, workers := r.fleet.wanted(web(1, 1)), r.fleet.wanted(group); web != 1 || workers != 0 {
		t.Fatalf("started with %d of web and %d workers", web, workers)
	}
}

func TestDestroyLeavesNothing(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	if err := r.deployer.Destroy(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.fleet.Environment(quiz); springtide.KindOf(err) != springtide.NotFound {
		t.Fatalf("it is still known: %v", err)
	}
	if r.engine.has(web(1, 1)) {
		t.Fatal("its group still runs")
	}
	if work := r.deploy("again"); work.Err != nil {
		t.Fatal(work.Err)
	}
}

func TestAFinishedDeployIsStillKnownToTheNextControlPlane(t *testing.T) {
	r := newRig(t)
	good, bad := r.deploy("one"), r.deploy("broken")
	r.stop()
	r.start()
	for _, before := range []Work{good, bad} {
		after, err := r.deployer.Work(t.Context(), before.ID)
		if err != nil || !after.Done || after.Release != before.Release || (after.Err == nil) != (before.Err == nil) {
			t.Errorf("%+v became %+v, %v", before, after, err)
		}
	}
}

func TestAGroupThatNobodyKnowsIsRemoved(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	stray := springtide.Group{ID: web(7, 7), Replicas: 1, Template: springtide.Template{Process: springtide.Process{Command: "stray"}}}
	if err := r.engine.Apply(t.Context(), stray); err != nil {
		t.Fatal(err)
	}
	r.fleet.Disown(t.Context(), []springtide.GroupID{web(1, 1), stray.ID})
	eventually(t, "the stray group to be removed", func() bool { return !r.engine.has(stray.ID) })
	if !r.engine.has(web(1, 1)) {
		t.Fatal("a group that is wanted was removed")
	}
}
