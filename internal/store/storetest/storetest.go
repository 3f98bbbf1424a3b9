// Package storetest is what every store has to do: an implementation's test
// calls [Run], and [SurviveKills].
package storetest

import (
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// Place is where one store is kept. Opening it again finds what was written.
type Place func() store.Store

// Run checks an implementation. Each call of makePlace makes an empty place.
func Run(t *testing.T, makePlace func(t *testing.T) Place) {
	for _, part := range []struct {
		name  string
		tests []test
	}{
		{"Environments", environmentTests},
		{"Domains", domainTests},
		{"Releases", releaseTests},
		{"Rollouts", rolloutTests},
		{"Groups", groupTests},
		{"History", historyTests},
		{"Demand", demandTests},
		{"Purges", purgeTests},
		{"Tokens", tokenTests},
		{"Secrets", secretTests},
		{"Arrivals", arrivalTests},
		{"Fields", fieldTests},
		{"Durability", durabilityTests},
	} {
		t.Run(part.name, func(t *testing.T) {
			for _, test := range part.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					place := makePlace(t)
					f := &fixture{T: t, place: place, Store: place()}
					t.Cleanup(func() { f.check(f.Store.Close()) })
					test.run(f)
				})
			}
		})
	}
}

// test is one thing that a store has to do; its name is a sentence.
type test struct {
	name string
	run  func(f *fixture)
}

// fixture is a test and the store under it.
type fixture struct {
	*testing.T
	store.Store
	place Place
}

var (
	production = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	staging    = springtide.EnvironmentID{App: "quiz", Name: "staging"}
	blog       = springtide.EnvironmentID{App: "blog", Name: springtide.Production}
	nowhere    = springtide.EnvironmentID{App: "no", Name: "where"}
)

const (
	digest      springtide.Digest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	otherDigest springtide.Digest = "sha256:2222222222222222222222222222222222222222222222222222222222222222"
)

// reopen closes the store and opens it again.
func (f *fixture) reopen() {
	f.Helper()
	f.check(f.Store.Close())
	f.Store = f.place()
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// wantKind fails the test unless the error is of the kind.
func (f *fixture) wantKind(err error, kind springtide.ErrorKind) {
	f.Helper()
	if err == nil || springtide.KindOf(err) != kind {
		f.Fatalf("got %v, want an error of kind %s", err, kind)
	}
}

func (f *fixture) environment(id springtide.EnvironmentID) springtide.Environment {
	f.Helper()
	e, err := f.CreateEnvironment(f.Context(), id)
	f.check(err)
	return e
}

// release adds a release whose manifest names the domains.
func (f *fixture) release(id springtide.EnvironmentID, domains ...string) springtide.Release {
	f.Helper()
	r, err := f.AddRelease(f.Context(), springtide.Release{
		Environment: id, Artifact: digest, App: exampleApp(id.App, domains),
		Config: map[string]string{"COLOUR": "blue"}, Description: "commit 1234567",
	})
	f.check(err)
	return r
}

func exampleApp(name springtide.AppName, domains []string) springtide.App {
	return springtide.App{
		Name:  name,
		Build: springtide.Build{Command: "make", Timeout: 15 * time.Minute, Limits: springtide.Limits{CPU: 0.5, Memory: 1 << 30}},
		Processes: map[springtide.ProcessName]springtide.Process{
			springtide.Web: {
				Command: "./web", HTTP: true, Health: springtide.Health{Path: "/healthz", Interval: 5 * time.Second},
				Scale: springtide.Scale{Min: 1, Max: 4, Concurrency: 40}, Drain: 30 * time.Second,
			},
		},
		Env: map[string]string{"LANG": "C.UTF-8"}, Domains: domains, KeepReleases: 10,
	}
}

// begin begins a rollout of the release.
func (f *fixture) begin(r springtide.Release) springtide.Rollout {
	f.Helper()
	rollout, err := f.BeginRollout(f.Context(), springtide.Rollout{Release: r.ID()})
	f.check(err)
	return rollout
}

// roll rolls the release out, to the end.
func (f *fixture) roll(r springtide.Release) springtide.Rollout {
	f.Helper()
	rollout := f.begin(r)
	f.check(f.SwitchRollout(f.Context(), rollout))
	f.check(f.FinishRollout(f.Context(), rollout))
	return rollout
}

// group gives a group of the release in generation 1.
func group(r springtide.Release, replicas int) springtide.Group {
	return springtide.Group{
		ID:       springtide.GroupID{Environment: r.Environment, Release: r.Number, Process: springtide.Web, Generation: 1},
		Replicas: replicas,
		Template: springtide.Template{
			Artifact: r.Artifact, Root: "/data/roots/1111", Process: r.App.Processes[springtide.Web],
			Env: map[string]string{"COLOUR": "blue"},
		},
	}
}
