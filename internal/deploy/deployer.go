package deploy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Builder makes artifacts. Implemented by build.Builder, through the control
// plane's wiring.
type Builder interface {
	// Build makes an artifact of the source folder; what the build says goes to output.
	Build(ctx context.Context, id springtide.EnvironmentID, app springtide.App, source string, output io.Writer) (springtide.Digest, error)
	// Place begins the launch template of a release: its artifact, and where instances
	// get it from, a folder of this machine or an image.
	Place(ctx context.Context, release springtide.Release) (springtide.Template, error)
	// Collect removes every artifact but these.
	Collect(ctx context.Context, keep []springtide.Digest) error
}

// Manifests reads what a source folder asks for in an environment. Implemented
// by package manifest, through the control plane's wiring.
type Manifests interface {
	Read(source string, environment springtide.EnvironmentName) (springtide.App, error)
}

// Edges waits until every edge routes by what is wanted now. Implemented by
// routing.Publisher.
type Edges interface {
	Settle(ctx context.Context) error
}

// Events takes what users may want to see. Implemented by observe.Events.
type Events interface {
	Publish(event springtide.Event)
}

// Engine runs release commands. Implemented by every engine.Engine.
type Engine interface {
	Exec(ctx context.Context, task springtide.Task) (springtide.Exit, error)
	Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error)
}

// State is what instances do not keep themselves: services, shared files,
// secrets. Implemented by the control plane's wiring.
type State interface {
	// Check refuses an app that could not have what it asks for, before it is built.
	Check(ctx context.Context, id springtide.EnvironmentID, app springtide.App) error
	// Secrets gives the version of each secret that a new release takes.
	Secrets(ctx context.Context, id springtide.EnvironmentID) (map[springtide.SecretName]int, error)
	// Provision makes what a release needs, and returns when all of it serves. It
	// can be called again.
	Provision(ctx context.Context, release springtide.Release, say func(line string)) error
}

// Options are what a Deployer works with. All are needed but PlaceWithin, which is 10 s at least.
type Options struct {
	Fleet     *Fleet
	Store     Store
	Engine    Engine
	Builder   Builder
	Manifests Manifests
	State     State
	Edges     Edges
	Events    Events
	Logger    *slog.Logger
	// PlaceWithin is how long the start of an instance may take beyond what its health
	// check allows: a cluster has to find it a node, which has to pull its image.
	PlaceWithin time.Duration
	// Finished is called with every rollout that is over. It must not block.
	Finished func(rollout springtide.Rollout, took time.Duration)
}

// Deployer makes releases and rolls them out: one at a time in an environment,
// in the order they were asked for.
type Deployer struct {
	Options

	ctx  context.Context // that of Run: what was begun goes on until it ends
	mu   sync.Mutex
	work map[string]*work
	past []string // IDs of work, the oldest first
	turn map[springtide.EnvironmentID]chan struct{}
	busy sync.WaitGroup
	// ended says that nothing may be begun any more.
	ended bool
}

// NewDeployer makes a Deployer. What it begins goes on until ctx ends.
func NewDeployer(ctx context.Context, options Options) *Deployer {
	return &Deployer{
		Options: options,
		ctx:     ctx,
		work:    make(map[string]*work),
		turn:    make(map[springtide.EnvironmentID]chan struct{}),
	}
}

// Run takes up the rollouts that are not over, and returns after ctx ended and
// all that was begun has stopped.
func (d *Deployer) Run(ctx context.Context) error {
	open, err := d.Store.OpenRollouts(ctx)
	if err != nil && ctx.Err() == nil {
		return err
	}
	for _, rollout := range open {
		d.Logger.Info("taking up a rollout", "release", rollout.Release, "step", rollout.Step)
		d.begin(rollout.Release.Environment, rollout.Deploy, func(ctx context.Context, w *work) error {
			return d.roll(ctx, w, rollout)
		})
	}
	<-ctx.Done()
	<-d.ctx.Done()
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.busy.Wait()
	d.Fleet.removals.Wait()
	return nil
}

// Deploy builds the source folder and rolls it out. It returns at once; done is
// called when the folder is not needed any more.
func (d *Deployer) Deploy(environment springtide.EnvironmentID, source, description string, done func()) string {
	return d.begin(environment, "", func(ctx context.Context, w *work) error {
		release, err := d.make(ctx, w, source, description, done)
		if err != nil {
			return err
		}
		return d.release(ctx, w, release)
	})
}

// make builds the source and records the release.
func (d *Deployer) make(ctx context.Context, w *work, source, description string, done func()) (springtide.Release, error) {
	defer done()
	app, err := d.Manifests.Read(source, w.Environment.Name)
	if err != nil {
		return springtide.Release{}, err
	}
	if app.Name != w.Environment.App {
		return springtide.Release{}, springtide.Errorf(springtide.Invalid, "the manifest is of app %q, not %q", app.Name, w.Environment.App).
			WithHint("deploy it as %s, or change `app:` in the manifest", app.Name)
	}
	if err := d.Store.CheckDomains(ctx, w.Environment, app.Domains); err != nil {
		return springtide.Release{}, err
	}
	if err := d.State.Check(ctx, w.Environment, app); err != nil {
		return springtide.Release{}, err
	}
	if err := d.Fleet.create(ctx, w.Environment); err != nil { // it can be asked about while it is built
		return springtide.Release{}, err
	}
	began := time.Now()
	output := &lineWriter{line: func(line string) { d.tell(w, "build.line", line) }}
	artifact, err := d.Builder.Build(ctx, w.Environment, app, source, output)
	output.flush()
	if err != nil {
		return springtide.Release{}, err
	}
	d.note(w, func(w *work) { w.Build = time.Since(began) })
	d.tell(w, "build.done", "built "+short(artifact)+" in "+seconds(time.Since(began)))
	environment, _, err := d.Fleet.Environment(w.Environment)
	if err != nil {
		return springtide.Release{}, err
	}
	secrets, err := d.State.Secrets(ctx, w.Environment)
	if err != nil {
		return springtide.Release{}, err
	}
	return d.Store.AddRelease(ctx, springtide.Release{
		Environment: w.Environment, Artifact: artifact, App: app,
		Config: environment.Config, Secrets: secrets, Description: description,
	})
}

// Rollback rolls out an earlier release again; 0 is the last before the active
// one that had the traffic.
func (d *Deployer) Rollback(ctx context.Context, id springtide.EnvironmentID, number int) (string, error) {
	environment, _, err := d.Fleet.Environment(id)
	if err != nil {
		return "", err
	}
	releases, err := d.Store.Releases(ctx, id)
	if err != nil {
		return "", err
	}
	for _, release := range releases {
		switch {
		case number == 0 && release.State == springtide.ReleaseSuperseded && release.Number < environment.Active:
		case number != 0 && release.Number == number:
			if number == environment.Active {
				return "", springtide.Errorf(springtide.Invalid, "v%d already has the traffic of %s", number, id).
					WithHint("`tide restart` starts it anew")
			}
			if release.State != springtide.ReleaseSuperseded {
				return "", springtide.Errorf(springtide.Invalid, "v%d of %s is %s: it never had the traffic", number, id, release.State).
					WithHint("see `tide releases` for those that had")
			}
		default:
			continue
		}
		return d.begin(id, "", func(ctx context.Context, w *work) error { return d.release(ctx, w, release) }), nil
	}
	if number == 0 {
		return "", springtide.Errorf(springtide.NotFound, "%s has no earlier release to go back to", id).WithHint("see `tide releases`")
	}
	return "", springtide.Errorf(springtide.NotFound, "%s has no release v%d", id, number).WithHint("see `tide releases`")
}

// Restart rolls out the active release again, in a new generation.
func (d *Deployer) Restart(id springtide.EnvironmentID) (string, error) {
	if _, err := d.activeRelease(id); err != nil {
		return "", err
	}
	return d.begin(id, "", func(ctx context.Context, w *work) error {
		release, err := d.activeRelease(id) // it may be another by the time it is our turn
		if err != nil {
			return err
		}
		return d.release(ctx, w, release)
	}), nil
}

// Reconfigure makes a release of the active artifact with the config and the
// secrets of now, and rolls it out. It does so after what is under way, and does
// nothing if there is no active release then, or if it has these.
func (d *Deployer) Reconfigure(id springtide.EnvironmentID, description string) {
	if _, err := d.activeRelease(id); err != nil && !d.underWay(id) {
		return
	}
	d.begin(id, "", func(ctx context.Context, w *work) error {
		environment, release, err := d.Fleet.Environment(id)
		if err != nil {
			return err
		}
		secrets, err := d.State.Secrets(ctx, id)
		if err != nil {
			return err
		}
		if environment.Active == 0 || maps.Equal(release.Config, environment.Config) && maps.Equal(release.Secrets, secrets) {
			d.note(w, func(w *work) { w.Release = environment.Active })
			return nil
		}
		release.Config, release.Secrets, release.Description = environment.Config, secrets, description
		if release, err = d.Store.AddRelease(ctx, release); err != nil {
			return err
		}
		return d.release(ctx, w, release)
	})
}

// Destroy waits for what is being rolled out, then forgets the environment.
// Once begun it goes on although nobody waits for it.
func (d *Deployer) Destroy(ctx context.Context, id springtide.EnvironmentID) error {
	leave, err := d.enter(ctx, id)
	if err != nil {
		return err
	}
	defer leave()
	if !d.admit() {
		return d.ctx.Err()
	}
	defer d.busy.Done()
	if err := d.Fleet.Destroy(d.ctx, id); err != nil {
		return err
	}
	if err := d.collectArtifacts(d.ctx); err != nil {
		d.Logger.Warn("artifacts of an environment that was destroyed could not be removed; it is tried again after the next deploy", "environment", id, "error", err)
	}
	return nil
}

func (d *Deployer) activeRelease(id springtide.EnvironmentID) (springtide.Release, error) {
	environment, release, err := d.Fleet.Environment(id)
	if err == nil && environment.Active == 0 {
		err = springtide.Errorf(springtide.NotFound, "%s has no release yet", id).WithHint("make one with `tide deploy`")
	}
	return release, err
}

// release rolls out a release that is recorded.
func (d *Deployer) release(ctx context.Context, w *work, release springtide.Release) error {
	rollout, err := d.Store.BeginRollout(ctx, springtide.Rollout{Release: release.ID(), Previous: d.Fleet.activeGroups(w.Environment), Deploy: w.ID})
	if err != nil {
		if failErr := d.Store.FailRelease(ctx, release.ID(), err.Error()); failErr != nil {
			d.Logger.Error("a release could not be marked as failed", "release", release.ID(), "error", failErr)
		}
		return err
	}
	return d.roll(ctx, w, rollout)
}

// enter waits for the environment's turn; leave gives it to the next.
func (d *Deployer) enter(ctx context.Context, id springtide.EnvironmentID) (leave func(), err error) {
	d.mu.Lock()
	turn := d.turn[id]
	if turn == nil {
		turn = make(chan struct{}, 1)
		d.turn[id] = turn
	}
	d.mu.Unlock()
	select { // those that wait on a channel are served in their order
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// admit counts one more that is busy, unless it is over.
func (d *Deployer) admit() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.busy.Add(1)
	}
	return !d.ended
}

// Rolling reports whether a release of the environment is being rolled out.
func (d *Deployer) Rolling(id springtide.EnvironmentID) bool { return d.Fleet.isRolling(id) }

// underWay reports whether something is being done in the environment.
func (d *Deployer) underWay(id springtide.EnvironmentID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.turn[id]) > 0
}

// longestLine is where a line that does not end is cut.
const longestLine = 16 << 10

// lineWriter calls line for every line that is written.
type lineWriter struct {
	line func(string)
	rest []byte
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	rest := l.rest
	for {
		end, next := bytes.IndexByte(rest, '\n'), 1
		if end < 0 || end > longestLine {
			end, next = longestLine, 0
		}
		if end+next > len(rest) {
			l.rest = append(l.rest[:0], rest...)
			return len(p), nil
		}
		l.line(string(bytes.TrimSuffix(rest[:end], []byte("\r"))))
		rest = rest[end+next:]
	}
}

func (l *lineWriter) flush() {
	if len(l.rest) > 0 {
		l.line(string(l.rest))
		l.rest = nil
	}
}
