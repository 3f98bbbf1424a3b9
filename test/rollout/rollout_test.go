// Package rollout tells of deploys while people use the app.
package rollout

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

func TestTwentyDeploysUnderLoadLoseNoRequest(t *testing.T) {
	p := story.Platform(t)
	app := story.App(t, "quiz")
	url := story.Deploy(t, p, app)
	stop := story.Load(t, p, url, 300)
	began := time.Now()
	for version := 2; version <= 21; version++ {
		if err := platform.SetVersion(app, fmt.Sprint(version)); err != nil {
			t.Fatal(err)
		}
		story.Deploy(t, p, app)
	}
	time.Sleep(time.Until(began.Add(68 * time.Second))) // the load goes on until there were enough requests
	result := stop()
	if result.Requests < 20_000 {
		t.Errorf("only %d requests were sent", result.Requests)
	}
	if result.Failed != 0 || result.UnsafeFailed != 0 {
		t.Errorf("%d requests failed, and %d that must not be repeated", result.Failed, result.UnsafeFailed)
	}
	if result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Errorf("streams ended by error: %d WebSockets, %d event streams", result.WebSockets.Errors, result.EventStreams.Errors)
	}
	if result.WebSockets.Drained == 0 || result.EventStreams.Drained == 0 {
		t.Error("no stream was ever drained: the old instances were not let go")
	}
	if len(result.Releases) < 21 {
		t.Errorf("only %d releases answered: %v", len(result.Releases), result.Releases)
	}
}

func TestABrokenReleaseChangesNothingAndSaysWhy(t *testing.T) {
	p := story.Platform(t)
	app := story.App(t, "quiz")
	url := story.Deploy(t, p, app)
	stop := story.Load(t, p, url, 50)
	manifest := filepath.Join(app, "tide.yaml")
	whole, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, broken := range []struct{ what, from, to, says string }{
		{"exits at once", "command: ./bin/quiz", "command: 'echo no such table >&2; exit 3'", "exit status 3"},
		{"no such command", "command: ./bin/quiz", "command: ./bin/quizz", "not found"},
		{"never listens", "command: ./bin/quiz\n    health: { path: /healthz }", "command: sleep 600\n    health: { path: /healthz, start: 3s }", "listen"},
		{"a build that fails", `"go build -o bin/quiz ."`, `"echo broken >&2; exit 2"`, "build failed"},
		{"a build that hangs", `"go build -o bin/quiz ."`, `"sleep 600", timeout: 2s`, "timed out"},
	} {
		t.Run(broken.what, func(t *testing.T) {
			changed := strings.Replace(string(whole), broken.from, broken.to, 1)
			if changed == string(whole) {
				t.Fatalf("the manifest has no %q", broken.from)
			}
			if err := os.WriteFile(manifest, []byte(changed), 0o644); err != nil {
				t.Fatal(err)
			}
			_, err := p.CLI(t.Context(), "deploy", app)
			if err == nil || !strings.Contains(err.Error(), broken.says) {
				t.Fatalf("tide deploy said %v; want %q", err, broken.says)
			}
		})
	}
	result := stop()
	if result.Failed != 0 {
		t.Errorf("%d requests failed", result.Failed)
	}
	if len(result.Releases) != 1 {
		t.Errorf("more than the first release answered: %v", result.Releases)
	}
	instances, err := p.Client.Instances(t.Context(), story.Quiz)
	if err != nil {
		t.Fatal(err)
	}
	for _, instance := range instances {
		if instance.Group.Release != 1 {
			t.Errorf("something of a broken release is left: %+v", instance)
		}
	}
}

func TestARollbackBringsTheReleaseBeforeBack(t *testing.T) {
	p := story.Platform(t)
	app := story.App(t, "quiz")
	story.Deploy(t, p, app)
	if err := platform.SetVersion(app, "two"); err != nil {
		t.Fatal(err)
	}
	url := story.Deploy(t, p, app)
	version := func() string { return story.Get(t, story.HTTP(t, p), url+"/version") }
	if got := version(); !strings.Contains(got, `"two"`) {
		t.Fatalf("after the deploy: %s", got)
	}
	if _, err := p.CLI(t.Context(), "rollback", "--app", "quiz"); err != nil {
		t.Fatal(err)
	}
	if got := version(); strings.Contains(got, `"two"`) {
		t.Fatalf("after the rollback: %s", got)
	}
}
