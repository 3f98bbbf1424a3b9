package storetest

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// writerVariable names the place of a store to the test binary when it runs as a writer.
const writerVariable = "TEST_STORE_WRITER"

// Writer is for TestMain of who calls [SurviveKills]: if the test binary is to
// write, it writes until it is killed.
func Writer(open func(place string) (store.Store, error)) {
	place := os.Getenv(writerVariable)
	if place == "" {
		return
	}
	s, err := open(place)
	if err == nil {
		err = writeForEver(context.Background(), s)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

var killed = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// writeForEver rolls out one release after the other and says each time that
// it has: "NUMBER GENERATION VERSION".
func writeForEver(ctx context.Context, s store.Store) error {
	if _, err := s.CreateEnvironment(ctx, killed); err != nil {
		return err
	}
	open, err := s.OpenRollouts(ctx)
	if err != nil {
		return err
	}
	for _, rollout := range open {
		if rollout.Step == springtide.RolloutSwitched {
			err = s.FinishRollout(ctx, rollout)
		} else {
			err = s.FailRollout(ctx, rollout)
		}
		if err != nil {
			return err
		}
	}
	for {
		release, err := s.AddRelease(ctx, springtide.Release{Environment: killed, Artifact: "sha256:0"})
		if err != nil {
			return err
		}
		rollout, err := s.BeginRollout(ctx, springtide.Rollout{Release: release.ID()})
		if err != nil {
			return err
		}
		group := springtide.GroupID{Environment: killed, Release: release.Number, Process: springtide.Web, Generation: rollout.Generation}
		if err := s.PutGroup(ctx, springtide.Group{ID: group, Replicas: release.Number}); err != nil {
			return err
		}
		if err := s.SwitchRollout(ctx, rollout); err != nil {
			return err
		}
		if _, err := s.AddEvents(ctx, []springtide.Event{{Environment: killed, Message: strconv.Itoa(release.Number)}}); err != nil {
			return err
		}
		if err := s.FinishRollout(ctx, rollout); err != nil {
			return err
		}
		version, err := s.NextTableVersion(ctx)
		if err != nil {
			return err
		}
		fmt.Println(release.Number, rollout.Generation, version)
	}
}

// acknowledged is the last that a writer said.
type acknowledged struct {
	number, generation int
	version            int64
}

// SurviveKills has other processes write, kills each at a random moment, and
// checks that what they said they had written is there, whole.
func SurviveKills(t *testing.T, place string, open func() store.Store) {
	var last acknowledged
	for range 15 {
		last = writeUntilKilled(t, place, last)
		s := open()
		checkAfterKill(t, s, last)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d releases were rolled out", last.number)
}

// writeUntilKilled lets another process write, kills it at a random moment and
// gives the last that it said.
func writeUntilKilled(t *testing.T, place string, last acknowledged) acknowledged {
	t.Helper()
	writer := exec.CommandContext(t.Context(), os.Args[0])
	writer.Env = append(os.Environ(), writerVariable+"="+place)
	writer.Stderr = os.Stderr
	output, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	said := false
	for lines.Scan() {
		before := last.version
		if _, err := fmt.Sscan(lines.Text(), &last.number, &last.generation, &last.version); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if last.version <= before {
			t.Fatalf("table version %d after %d", last.version, before)
		}
		if !said {
			said = true
			time.AfterFunc(rand.N(200*time.Millisecond), func() { _ = writer.Process.Kill() })
		}
	}
	if err := writer.Wait(); err == nil || !said {
		t.Fatalf("the writer ended by itself: %v", err)
	}
	return last
}

func checkAfterKill(t *testing.T, s store.Store, last acknowledged) {
	t.Helper()
	ctx := t.Context()
	environment, err := s.Environment(ctx, killed)
	if err != nil {
		t.Fatal(err)
	}
	if environment.Active < last.number || environment.Generation < last.generation {
		t.Fatalf("the environment is at release %d and generation %d, acknowledged was %+v", environment.Active, environment.Generation, last)
	}
	releases, err := s.Releases(ctx, killed)
	if err != nil {
		t.Fatal(err)
	}
	if len(releases) != releases[0].Number {
		t.Errorf("%d releases, but the last has number %d", len(releases), releases[0].Number)
	}
	for _, release := range releases {
		// The environment and the states of its releases change together.
		if (release.State == springtide.ReleaseActive) != (release.Number == environment.Active) {
			t.Errorf("release %d is %s, active is %d", release.Number, release.State, environment.Active)
		}
	}
	groups, err := s.GroupsOf(ctx, killed)
	if err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(ctx, 0, &killed, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(groups, func(g springtide.Group) bool {
		return g.ID.Generation == last.generation && g.Replicas == last.number
	}) {
		t.Errorf("the group of %+v is missing", last)
	}
	if !slices.ContainsFunc(events, func(e springtide.Event) bool { return e.Message == strconv.Itoa(last.number) }) {
		t.Errorf("the event of %+v is missing", last)
	}
}
