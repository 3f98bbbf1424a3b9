package deploy

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestAnEnvironmentIsKnownWhileItsFirstReleaseIsBuilt(t *testing.T) {
	r := newRig(t)
	r.platform.gate = make(chan struct{})
	id := r.deployer.Deploy(quiz, "one", "", func() {})
	eventually(t, "the environment to be known", func() bool {
		environment, _, err := r.fleet.Environment(quiz)
		return err == nil && environment.Active == 0
	})
	if _, err := r.deployer.Restart(quiz); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("restart of what has no release: %v", err)
	}
	close(r.platform.gate)
	if work := r.wait(id); work.Err != nil {
		t.Fatal(work.Err)
	}
}

func TestConfigThatIsSetDuringTheFirstDeployIsInForceAfterIt(t *testing.T) {
	r := newRig(t)
	r.platform.release = "gated"
	r.engine.gate = make(chan struct{})
	r.deployer.Deploy(quiz, "one", "", func() {})
	eventually(t, "the release command", func() bool { r.engine.mu.Lock(); defer r.engine.mu.Unlock(); return len(r.engine.execs) == 1 })
	config, err := r.fleet.SetConfig(t.Context(), quiz, map[string]string{"COLOUR": "blue"}, nil)
	if err != nil || config["COLOUR"] != "blue" {
		t.Fatal(config, err)
	}
	r.deployer.Reconfigure(quiz, "config")
	close(r.engine.gate)
	eventually(t, "a release with the config", func() bool {
		_, release, err := r.fleet.Environment(quiz)
		return err == nil && release.Number == 2 && release.Config["COLOUR"] == "blue"
	})
	r.deployer.Reconfigure(quiz, "the same again")
	r.wait(r.deployer.begin(quiz, "", func(context.Context, *work) error { return nil })) // its turn is after that
	if releases, err := r.store.Releases(t.Context(), quiz); err != nil || len(releases) != 2 {
		t.Errorf("%d releases, %v", len(releases), err)
	}
}

func TestADeployHasSucceededEvenIfOldArtifactsCannotBeRemoved(t *testing.T) {
	r := newRig(t)
	r.platform.collectErr = errors.New("the disk is read-only")
	for _, source := range []string{"one", "two", "three", "four"} {
		if work := r.deploy(source); work.Err != nil {
			t.Fatal(work.Err)
		}
		eventually(t, "the old group to be removed", func() bool { return len(r.fleet.Groups()) == 1 })
	}
	if err := r.deployer.Destroy(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
}

func TestWhatCannotBeUndoneAtOnceIsTriedAgainAndTheReasonIsKept(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.engine.mu.Lock()
	r.engine.failing = 2
	r.engine.mu.Unlock()
	work := r.deploy("broken")
	if work.Err == nil || !strings.Contains(work.Err.Error(), "v2 does not start") {
		t.Fatalf("the reason is %v", work.Err)
	}
	if r.engine.has(web(2, 2)) {
		t.Error("its group still runs")
	}
	if work := r.deploy("three"); work.Err != nil {
		t.Errorf("the next deploy: %v", work.Err)
	}
}

func TestTheOldInstancesStayUntilTheNewRoutingCouldBeMade(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	const tries = 1000 // more than there will be
	full := springtide.Errorf(springtide.Unavailable, "the disk is full")
	r.platform.mu.Lock()
	r.platform.settle = slices.Repeat([]error{full}, tries)
	r.platform.mu.Unlock()
	id := r.deployer.Deploy(quiz, "two", "", func() {})
	eventually(t, "the first try", func() bool { r.platform.mu.Lock(); defer r.platform.mu.Unlock(); return len(r.platform.settle) < tries })
	if !r.engine.has(web(1, 1)) {
		t.Error("the old group is gone although the edges cannot know")
	}
	r.platform.mu.Lock()
	r.platform.settle = nil
	r.platform.mu.Unlock()
	if work := r.wait(id); work.Err != nil {
		t.Fatal(work.Err)
	}
}

func TestAnEdgeThatHangsDoesNotHoldUpADeploy(t *testing.T) {
	r := newRig(t)
	r.platform.settle = []error{fmt.Errorf("waiting for an edge: %w", context.DeadlineExceeded)}
	if work := r.deploy("one"); work.Err != nil {
		t.Fatal(work.Err)
	}
}

func TestDestroyGoesOnAfterItsClientHasLeft(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.engine.hold = make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	destroyed := make(chan error, 1)
	go func() { destroyed <- r.deployer.Destroy(ctx, quiz) }()
	eventually(t, "it to be stopped", func() bool {
		environment, _, err := r.fleet.Environment(quiz)
		return err == nil && environment.Stopped
	})
	leave()
	close(r.engine.hold)
	if err := <-destroyed; err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.fleet.Environment(quiz); springtide.KindOf(err) != springtide.NotFound {
		t.Errorf("it is still there: %v", err)
	}
}

func TestAnEnvironmentIsNotStoppedWhileARolloutWouldStartItAgain(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	id := r.deployer.Deploy(quiz, "stuck", "", func() {})
	eventually(t, "the rollout", func() bool { return r.engine.has(web(2, 2)) })
	if err := r.fleet.Stop(t.Context(), quiz); springtide.KindOf(err) != springtide.Conflict {
		t.Fatalf("stop: %v", err)
	}
	r.engine.free()
	if work := r.wait(id); work.Err != nil {
		t.Fatal(work.Err)
	}
	if err := r.fleet.Stop(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
}

func TestARolloutThatIsOvertakenByTheEndGoesOnAtTheNextStart(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.platform.gate = make(chan struct{})
	r.deployer.Deploy(quiz, "two", "", func() {})
	if err := r.fleet.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(r.platform.gate)
	eventually(t, "the rollout", func() bool {
		open, err := r.store.OpenRollouts(t.Context())
		return err == nil && len(open) == 1 && open[0].Step == springtide.RolloutStarting
	})
	r.stop()
	if r.engine.has(web(2, 2)) {
		t.Fatal("it was started although the platform ends")
	}
	r.start()
	eventually(t, "the new release to be active", func() bool {
		environment, _, err := r.fleet.Environment(quiz)
		return err == nil && environment.Active == 2 && r.engine.has(web(2, 2))
	})
}

func TestAGroupThatCannotRunDoesNotKeepTheOthersFromIt(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.stop()
	if err := r.store.PutGroup(t.Context(), springtide.Group{ID: springtide.GroupID{Environment: quiz, Release: 1, Process: "mute", Generation: 1}, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	clear(r.engine.groups)
	r.start()
	if !r.engine.has(web(1, 1)) {
		t.Error("the group that can run does not")
	}
}

func TestWorkIsForgottenButNotWhatIsUnderWay(t *testing.T) {
	r := newRig(t)
	other := springtide.EnvironmentID{App: "other", Name: springtide.Production}
	release := make(chan struct{})
	long := r.deployer.begin(other, "", func(context.Context, *work) error { <-release; return nil })
	for range keepWork + 50 {
		r.wait(r.deployer.begin(quiz, "", func(context.Context, *work) error { return nil }))
	}
	r.deployer.mu.Lock()
	kept := len(r.deployer.work)
	r.deployer.mu.Unlock()
	if kept != keepWork || len(r.deployer.past) != keepWork {
		t.Errorf("%d are remembered", kept)
	}
	close(release)
	r.wait(long)
}

func TestALineThatDoesNotEndIsCut(t *testing.T) {
	var lines []string
	w := &lineWriter{line: func(line string) { lines = append(lines, line) }}
	began := time.Now()
	for range 1000 {
		if _, err := w.Write([]byte(strings.Repeat("x", 1000))); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprint(w, "\nshort\r\nrest")
	w.flush()
	if last := lines[len(lines)-2:]; last[0] != "short" || last[1] != "rest" {
		t.Errorf("the last lines are %q", last)
	}
	total := 0
	for _, line := range lines[:len(lines)-2] {
		if len(line) > longestLine {
			t.Errorf("a line of %d bytes", len(line))
		}
		total += len(line)
	}
	if total != 1000*1000 || time.Since(began) > 30*time.Second {
		t.Errorf("%d bytes in %s", total, time.Since(began))
	}
}

func TestWhatIsStoppedStaysStopped(t *testing.T) {
	r := newRig(t)
	r.platform.min = 2
	r.deploy("one")
	if err := r.fleet.Stop(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if err := r.fleet.SetReplicas(t.Context(), web(1, 1), 3); err != nil { // by a scaler that did not know yet
		t.Fatal(err)
	}
	if got := r.fleet.wanted(web(1, 1)); got != 0 {
		t.Errorf("a late decision made it %d instances", got)
	}
	r.stop()
	if err := r.store.SetReplicas(t.Context(), web(1, 1), 2); err != nil { // as if killed before it came to that
		t.Fatal(err)
	}
	r.start()
	if got := r.fleet.wanted(web(1, 1)); got != 0 {
		t.Errorf("the next control plane wants %d instances", got)
	}
	if err := r.fleet.Start(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	if got := r.fleet.wanted(web(1, 1)); got != 2 {
		t.Errorf("started with %d instances", got)
	}
}

// slowStore takes its time to write replicas.
type slowStore struct {
	Store
	writing, release chan struct{}
}

func (s slowStore) SetReplicas(ctx context.Context, id springtide.GroupID, replicas int) error {
	close(s.writing)
	<-s.release
	return s.Store.SetReplicas(ctx, id, replicas)
}

func TestASlowDiskDoesNotKeepTheRoutesFromBeingRead(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	slow := slowStore{r.store, make(chan struct{}), make(chan struct{})}
	r.fleet.store = slow
	done := make(chan error, 1)
	go func() { done <- r.fleet.SetReplicas(t.Context(), web(1, 1), 3) }()
	<-slow.writing
	read := make(chan struct{})
	go func() {
		defer close(read)
		if routes, err := r.fleet.Routes(t.Context()); err != nil || len(routes) != 1 || len(r.fleet.Active()) != 1 {
			t.Errorf("%d routes, %v", len(routes), err)
		}
	}()
	select {
	case <-read:
	case <-time.After(30 * time.Second):
		t.Error("the routes wait for the disk")
	}
	close(slow.release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	<-read
}

func TestAThousandEnvironmentsAreLookedAtInNoTime(t *testing.T) {
	r := newRig(t)
	const many = 1000
	r.fleet.mu.Lock()
	for i := range many {
		id := springtide.EnvironmentID{App: springtide.AppName(fmt.Sprintf("app-%d", i)), Name: springtide.Production}
		app, _ := r.platform.Read("one", id.Name)
		group := springtide.Group{ID: springtide.GroupID{Environment: id, Release: 1, Process: springtide.Web, Generation: 1}, Replicas: 1}
		r.fleet.environments[id] = springtide.Environment{ID: id, Active: 1, Generation: 1}
		r.fleet.releases[springtide.ReleaseID{Environment: id, Number: 1}] = springtide.Release{Environment: id, Number: 1, App: app}
		r.fleet.groups[group.ID] = group
	}
	r.fleet.mu.Unlock()
	took := time.Duration(math.MaxInt64)
	for range 3 { // the machine may do something else for seconds
		began := time.Now()
		found := 0
		for _, environment := range r.fleet.Environments() {
			found += len(r.fleet.ActiveOf(environment.ID))
		}
		if found != many || len(r.fleet.Active()) != many {
			t.Fatalf("found %d groups", found)
		}
		took = min(took, time.Since(began))
	}
	if took > 2*time.Second {
		t.Errorf("looking at all of them took %s", took)
	}
}

func TestGroupsThatAClusterCouldNotTakeAreTakenWhenItIsBack(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.stop()
	r.engine.mu.Lock()
	clear(r.engine.groups)
	r.engine.away = 1000 // more often than it will be asked
	r.engine.mu.Unlock()
	r.start()
	if r.engine.has(web(1, 1)) {
		t.Fatal("the engine was not away")
	}
	r.engine.mu.Lock()
	r.engine.away = 1 // once more
	r.engine.mu.Unlock()
	eventually(t, "the group", func() bool { return r.engine.has(web(1, 1)) })
}

func TestAFrozenClusterDoesNotKeepTheFleetFromBeingLoaded(t *testing.T) {
	r := newRig(t)
	r.deploy("one")
	r.stop()
	clear(r.engine.groups)
	r.engine.frozen = make(chan struct{})
	r.start()
	close(r.engine.frozen)
	eventually(t, "the group", func() bool { return r.engine.has(web(1, 1)) })
}

func TestAnInstanceThatIsStuckForLongIsGivenUp(t *testing.T) {
	d, id := &Deployer{Options: Options{Fleet: &Fleet{groups: map[springtide.GroupID]springtide.Group{}}}}, web(1, 1)
	d.Fleet.groups[id] = springtide.Group{ID: id, Replicas: 1}
	release := springtide.Release{Environment: quiz, Number: 1, App: springtide.App{Processes: map[springtide.ProcessName]springtide.Process{"web": {}}}}
	rollout := springtide.Rollout{Release: release.ID(), Generation: 1}
	for age, fails := range map[time.Duration]bool{time.Second: false, stuckFor + time.Second: true} {
		instance := springtide.Instance{ID: "web-1", Group: id, State: springtide.InstanceStarting, Stuck: true, Reason: "there is no such image", Ordered: time.Now().Add(-age)}
		waiting, err := d.examine(release, rollout, springtide.Snapshot{Instances: []springtide.Instance{instance}}, false)
		if (err != nil) != fails || !fails && !strings.Contains(waiting, "there is no such image") {
			t.Errorf("after %s: %q, %v", age, waiting, err)
		}
	}
}
