package kills

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

// TestARolloutSurvivesTheControlPlanesDeathAtEveryStep kills the control plane
// when it has just said that it takes a step. The release command and the start
// of the instances take a while, so that they are under way. The release command
// is known to run, and there is none yet where it would come next: killed just
// before, nobody would know whether it had run.
func TestARolloutSurvivesTheControlPlanesDeathAtEveryStep(t *testing.T) {
	p := story.Platform(t)
	app := story.Prebuilt(t)
	story.Edit(t, app, "env:", "env:\n  START_DELAY: 500ms")
	url := story.Deploy(t, p, app)
	stop := story.Load(t, p, url, 50)
	for i, step := range []string{"is recorded", "it has begun", "starting instances", "has the traffic"} {
		t.Run(step, func(t *testing.T) {
			if step == "it has begun" {
				story.Edit(t, app, "env:", "release: echo it has begun; sleep 0.5\nenv:")
			}
			story.Stamp(t, app, fmt.Sprint(i))
			killed := make(chan error, 1)
			watching, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			began := time.Now()
			go func() { killed <- killAt(watching, p, began, step) }()
			deploy, err := p.Deploy(t.Context(), app) // the CLI goes on where it was
			if killErr := <-killed; killErr != nil {
				t.Fatal(killErr)
			}
			if err != nil {
				t.Fatalf("the deploy was not taken up: %v", err)
			}
			if deploy.Release != i+2 {
				t.Errorf("v%d was deployed, want v%d", deploy.Release, i+2)
			}
			story.Eventually(t, "only instances of the new release", 2*time.Minute, func() bool {
				instances, err := p.Client.Instances(t.Context(), story.Quiz)
				for _, instance := range instances {
					if instance.Group.Release != deploy.Release || instance.State != springtide.InstanceReady {
						return false
					}
				}
				return err == nil && len(instances) > 0
			})
		})
	}
	result := stop()
	if result.Failed != 0 || result.UnsafeFailed != 0 || result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Error("clients noticed that the control plane was killed")
	}
	releases, err := p.Client.Releases(t.Context(), story.Quiz)
	if err != nil {
		t.Fatal(err)
	}
	for i, release := range releases {
		want := springtide.ReleaseSuperseded
		if i == 0 {
			want = springtide.ReleaseActive
		}
		if release.State != want {
			t.Errorf("v%d is %s, want %s", release.Number, release.State, want)
		}
	}
}

// killAt kills the control plane when it tells of a rollout's step, or has told
// of it since then.
func killAt(ctx context.Context, p *platform.Platform, since time.Time, step string) error {
	status, err := p.Status(ctx)
	if err != nil {
		return err
	}
	for event, err := range p.Client.Events(ctx, api.EventQuery{Environment: story.Quiz}) {
		if err != nil {
			return err
		}
		if event.Time.After(since) && (event.Kind == "rollout.step" || event.Kind == "release.line") && strings.Contains(event.Message, step) {
			return syscall.Kill(status.Processes.Control, syscall.SIGKILL)
		}
	}
	return errors.Join(errors.New("the step was never taken"), ctx.Err())
}
