// Package rollout tells of deploys while people use the app.
package rollout

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/load"
	"github.com/springtide/springtide/test/story"
)

func TestTwentyDeploysUnderLoadLoseNoRequest(t *testing.T) {
	p := story.Platform(t)
	app := story.Prebuilt(t)
	url := story.Deploy(t, p, app)
	stop := story.Load(t, p, url, 300)
	began := time.Now()
	for version := 2; version <= 21; version++ {
		story.Stamp(t, app, fmt.Sprint(version))
		story.Deploy(t, p, app)
	}
	time.Sleep(max(time.Until(began.Add(68*time.Second)), 5*time.Second)) // the last release is asked, too
	result := stop()
	check := func(result load.Result) {
		t.Helper()
		if result.Failed != 0 || result.UnsafeFailed != 0 {
			t.Errorf("%d requests failed, and %d that must not be repeated", result.Failed, result.UnsafeFailed)
		}
		if result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
			t.Errorf("streams ended by error: %d WebSockets, %d event streams", result.WebSockets.Errors, result.EventStreams.Errors)
		}
	}
	check(result)
	requests := result.Requests
	for requests < 20_000 && time.Since(began) < 5*time.Minute { // a busy machine is late to send them
		stop = story.Load(t, p, url, 300)
		time.Sleep(3 * time.Second)
		more := stop()
		check(more)
		requests += more.Requests
	}
	if requests < 20_000 {
		t.Errorf("only %d requests were sent", requests)
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
	app := story.Prebuilt(t)
	url := story.Deploy(t, p, app)
	stop := story.Load(t, p, url, 50)
	for _, broken := range []struct{ what, from, to, says string }{
		{"exits at once", "command: ./prebuilt", "command: 'echo no such table >&2; exit 3'", "exit status 3"},
		{"no such command", "command: ./prebuilt", "command: ./prebuiltz", "not found"},
		{"never listens", "command: ./prebuilt\n    health: { path: /healthz }", "command: sleep 600\n    health: { path: /healthz, start: 3s }", "listen"},
		{"a build that fails", `"test -x prebuilt"`, `"echo broken >&2; exit 2"`, "build failed"},
		{"a build that hangs", `"test -x prebuilt"`, `"sleep 600", timeout: 2s`, "timed out"},
	} {
		t.Run(broken.what, func(t *testing.T) {
			story.Edit(t, app, broken.from, broken.to)
			defer story.Edit(t, app, broken.to, broken.from)
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
	story.Eventually(t, "nothing of a broken release to be left", time.Minute, func() bool {
		instances, err := p.Client.Instances(t.Context(), story.Quiz)
		return err == nil && !slices.ContainsFunc(instances, func(i springtide.Instance) bool { return i.Group.Release != 1 })
	})
}

func TestARollbackBringsTheReleaseBeforeBack(t *testing.T) {
	p := story.Platform(t)
	app := story.Prebuilt(t)
	story.Deploy(t, p, app)
	story.Edit(t, app, "env:", "env:\n  COLOUR: blue")
	url := story.Deploy(t, p, app)
	client := story.HTTP(t, p)
	if got := story.Get(t, client, url+"/version"); !strings.Contains(got, `"release":"2"`) {
		t.Fatalf("after the deploy: %s", got)
	}
	if _, err := p.CLI(t.Context(), "rollback", "--app", "quiz"); err != nil {
		t.Fatal(err)
	}
	if got := story.Get(t, client, url+"/version"); !strings.Contains(got, `"release":"1"`) {
		t.Fatalf("after the rollback: %s", got)
	}
}

func TestAChangeOfTheRoutingIsInForceOnceTheCommandReturns(t *testing.T) {
	p := story.Platform(t)
	url := story.Deploy(t, p, story.Prebuilt(t))
	client := story.HTTP(t, p)
	command := func(arguments ...string) {
		t.Helper()
		if _, err := p.CLI(t.Context(), append(arguments, "--app", "quiz")...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		command("stop")
		response, err := client.Get(url + "/version")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Fatalf("right after the stop: %s", response.Status)
		}
		command("start")
		story.Get(t, client, url+"/version") // held until it is up
		host := fmt.Sprintf("quiz-%d.example.com", i)
		command("domains", "add", host)
		story.Get(t, client, "https://"+host+"/version") // under a certificate of that name
	}
}

func TestAnAnswerThatDoesNotBeginInTimeIsAGatewayTimeout(t *testing.T) {
	p := story.Platform(t)
	app := story.Prebuilt(t)
	story.Edit(t, app, "    grace: 10s", "    grace: 10s\n    timeout: 5s")
	url := story.Deploy(t, p, app)
	client := story.HTTP(t, p)
	response, err := client.Get(url + "/slow?ms=20000")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusGatewayTimeout || response.Header.Get("Retry-After") == "" {
		t.Errorf("got %s %v", response.Status, response.Header)
	}
	story.Get(t, client, url+"/slow?ms=10")
}
