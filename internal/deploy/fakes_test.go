package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// fakeEngine starts instances at once, in memory. What a command says decides
// how they fare: "broken" crashes for ever, "stuck" is not ready before it is freed.
type fakeEngine struct {
	mu      sync.Mutex
	groups  map[springtide.GroupID]springtide.Group
	removed []springtide.GroupID
	tasks   map[string]springtide.Exit
	execs   []string
	observe func(springtide.Snapshot)
	// hold keeps what Remove removes until it is closed.
	hold chan struct{}
	// gate keeps commands that say "gated" from ending until it is closed.
	gate  chan struct{}
	freed bool // what is stuck is ready
	// failing is how many times Remove will fail.
	failing int
	// away is how many times Apply will find that the cluster does not answer.
	away int
	// frozen keeps Apply from answering until it is closed.
	frozen chan struct{}
}

func (e *fakeEngine) Apply(ctx context.Context, group springtide.Group) error {
	if group.Template.Process.Command == "" {
		return springtide.Errorf(springtide.Invalid, "there is no command")
	}
	if e.frozen != nil {
		select {
		case <-e.frozen:
		case <-ctx.Done():
			return springtide.Errorf(springtide.Unavailable, "the API server does not answer")
		}
	}
	e.mu.Lock()
	if e.away > 0 {
		e.away--
		e.mu.Unlock()
		return springtide.Errorf(springtide.Unavailable, "the API server does not answer")
	}
	if known, have := e.groups[group.ID]; have {
		group.Template = known.Template
	}
	e.groups[group.ID] = group
	snapshot := e.snapshot()
	e.mu.Unlock()
	e.observe(snapshot)
	return nil
}

func (e *fakeEngine) Remove(ctx context.Context, id springtide.GroupID) error {
	if e.hold != nil {
		select {
		case <-e.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e.mu.Lock()
	if e.failing > 0 {
		e.failing--
		e.mu.Unlock()
		return springtide.Errorf(springtide.Unavailable, "not now")
	}
	delete(e.groups, id)
	e.removed = append(e.removed, id)
	snapshot := e.snapshot()
	e.mu.Unlock()
	e.observe(snapshot)
	return nil
}

func (e *fakeEngine) snapshot() springtide.Snapshot {
	var snapshot springtide.Snapshot
	for id, group := range e.groups {
		for i := range group.Replicas {
			instance := springtide.Instance{
				ID: springtide.InstanceID(fmt.Sprintf("%s-%d-%d", id.Process, id.Generation, i)), Group: id,
				State: springtide.InstanceReady, Address: "127.0.0.1:1", Ready: time.Unix(1, 0),
			}
			switch {
			case strings.Contains(group.Template.Process.Command, "broken"):
				instance.State, instance.Ready, instance.Restarts = springtide.InstanceCrashed, time.Time{}, 3
				instance.Reason, instance.LastLines = "exit status 1", []string{"panic: no such table"}
			case strings.Contains(group.Template.Process.Command, "stuck") && !e.freed:
				instance.State, instance.Ready, instance.Reason = springtide.InstanceStarting, time.Time{}, "connection refused"
			}
			snapshot.Instances = append(snapshot.Instances, instance)
		}
	}
	return snapshot
}

// free has what is stuck become ready.
func (e *fakeEngine) free() {
	e.mu.Lock()
	e.freed = true
	snapshot := e.snapshot()
	e.mu.Unlock()
	e.observe(snapshot)
}

func (e *fakeEngine) Watch(context.Context) iter.Seq2[springtide.Snapshot, error] { return nil }

func (e *fakeEngine) Exec(_ context.Context, task springtide.Task) (springtide.Exit, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if exit, known := e.tasks[task.ID]; known {
		return exit, nil
	}
	e.execs = append(e.execs, task.Command)
	exit := springtide.Exit{}
	if strings.Contains(task.Command, "gated") {
		e.mu.Unlock()
		<-e.gate
		e.mu.Lock()
	}
	if strings.Contains(task.Command, "fail") {
		exit = springtide.Exit{Code: 3, Reason: "exit status 3"}
	}
	e.tasks[task.ID] = exit
	return exit, nil
}

func (e *fakeEngine) Logs(context.Context, springtide.LogQuery) (io.ReadCloser, error) {
	line, err := json.Marshal(springtide.LogLine{Text: "migrating"})
	return io.NopCloser(strings.NewReader(string(line) + "\n")), err
}

func (e *fakeEngine) has(id springtide.GroupID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, have := e.groups[id]
	return have
}

// fakePlatform is everything else that a Deployer works with. A source "folder"
// is the command of its web process; a "!" in it makes the build fail.
type fakePlatform struct {
	mu      sync.Mutex
	release string
	min     int
	// worker is a further process; nil: there is none.
	worker            *springtide.Process
	building, overlap int
	events            []springtide.Event
	kept              []springtide.Digest
	collectErr        error
	// gate keeps builds from ending until it is closed.
	gate chan struct{}
	// settle are the answers to the next calls of Settle.
	settle []error
	// What State gives: secrets, and what is wrong with a service.
	secrets   map[springtide.SecretName]int
	unservice error
}

func (p *fakePlatform) Check(_ context.Context, _ springtide.EnvironmentID, app springtide.App) error {
	if app.Processes[springtide.Web].Command == "without" {
		return springtide.Errorf(springtide.Invalid, "the secret KEY is not set")
	}
	return nil
}

func (p *fakePlatform) Secrets(context.Context, springtide.EnvironmentID) (map[springtide.SecretName]int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.secrets), nil
}

func (p *fakePlatform) Provision(_ context.Context, release springtide.Release, say func(string)) error {
	say(fmt.Sprintf("v%d has what it needs", release.Number))
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unservice
}

func (p *fakePlatform) Read(source string, _ springtide.EnvironmentName) (springtide.App, error) {
	app := springtide.App{
		Name: "quiz", KeepReleases: 2, ReleaseCommand: p.release,
		Processes: map[springtide.ProcessName]springtide.Process{
			springtide.Web: {Command: source, HTTP: true, Health: springtide.Health{Start: 20 * time.Second}, Scale: springtide.Scale{Min: p.min, Max: 4}},
		},
	}
	if p.worker != nil {
		app.Processes["worker"] = *p.worker
	}
	return app, nil
}

func (p *fakePlatform) Build(_ context.Context, _ springtide.EnvironmentID, app springtide.App, source string, output io.Writer) (springtide.Digest, error) {
	p.mu.Lock()
	p.building++
	p.overlap = max(p.overlap, p.building)
	p.mu.Unlock()
	defer func() { p.mu.Lock(); p.building--; p.mu.Unlock() }()
	fmt.Fprintln(output, "building")
	if p.gate != nil {
		<-p.gate
	}
	if strings.Contains(source, "!") {
		return "", springtide.Errorf(springtide.Failed, "build failed: exit status 2")
	}
	return springtide.Digest("sha256:" + source), nil
}

func (p *fakePlatform) Place(_ context.Context, release springtide.Release) (springtide.Template, error) {
	return springtide.Template{Artifact: release.Artifact, Root: "/roots/" + string(release.Artifact)}, nil
}

func (p *fakePlatform) placeAgain(ctx context.Context, group springtide.Group) (springtide.Template, error) {
	return p.Place(ctx, springtide.Release{Artifact: group.Template.Artifact})
}

func (p *fakePlatform) Collect(_ context.Context, keep []springtide.Digest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = keep
	return p.collectErr
}

func (p *fakePlatform) Settle(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.settle) == 0 {
		return nil
	}
	err := p.settle[0]
	p.settle = p.settle[1:]
	return err
}

func (p *fakePlatform) Publish(event springtide.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event)
}

var quiz = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}

// rig is a deployer with a real store and fakes for the rest. It can be killed
// and started again.
type rig struct {
	t        *testing.T
	store    *sqlite.Store
	engine   *fakeEngine
	platform *fakePlatform
	fleet    *Fleet
	deployer *Deployer
	stop     func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, store: store, platform: &fakePlatform{min: 1},
		engine: &fakeEngine{groups: make(map[springtide.GroupID]springtide.Group), tasks: make(map[string]springtide.Exit)},
	}
	t.Cleanup(func() { r.stop(); store.Close() })
	r.start()
	return r
}

// start begins a new control plane on what the store and the engine hold.
func (r *rig) start() {
	r.t.Helper()
	logger := slog.New(slog.DiscardHandler)
	r.fleet = NewFleet(r.store, r.engine, func() {}, logger)
	r.engine.mu.Lock()
	r.engine.observe = r.fleet.Observe
	r.engine.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	r.deployer = NewDeployer(ctx, Options{
		Fleet: r.fleet, Store: r.store, Engine: r.engine, Builder: r.platform, Manifests: r.platform, State: r.platform,
		Edges: r.platform, Events: r.platform, Logger: logger, Finished: func(springtide.Rollout, time.Duration) {},
	})
	if err := r.fleet.Load(ctx, r.platform.placeAgain); err != nil {
		r.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.deployer.Run(ctx) }()
	r.stop = func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Error(err)
		}
		r.stop = func() {}
	}
}

func (r *rig) deploy(source string) Work {
	r.t.Helper()
	return r.wait(r.deployer.Deploy(quiz, source, "", func() {}))
}

func (r *rig) wait(id string) Work {
	r.t.Helper()
	var work Work
	eventually(r.t, "the deploy to end", func() bool {
		var err error
		if work, err = r.deployer.Work(r.t.Context(), id); err != nil {
			r.t.Fatal(err)
		}
		return work.Done
	})
	return work
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func web(release, generation int) springtide.GroupID {
	return springtide.GroupID{Environment: quiz, Release: release, Process: springtide.Web, Generation: generation}
}
