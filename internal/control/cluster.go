package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/redact"
)

// standardPlaceWithin is long enough for a server that has to be bought first.
const standardPlaceWithin = 5 * time.Minute

// cluster is the engine of a cluster, with what the platform alone knows: that the
// namespace is its own, how nodes log in where images are, and what must not be read
// in output. It implements hosting.
type cluster struct {
	*kubernetes.Engine
	databases *kubernetes.Postgres
	// platform gives the platform's name, by which it knows its namespace again.
	platform func() string
	// secrets gives what instances and tasks of a release must not say.
	secrets func(context.Context, springtide.ReleaseID) ([][]byte, error)

	// registry is where nodes pull from, if the user has none; empty: nowhere. hasAPI
	// says that instances reach the platform, hasRunner that it can run commands there.
	registry          string
	hasAPI, hasRunner bool
	// tokens are what looks like the token of an instance.
	tokens *regexp.Regexp

	making sync.Mutex // one at a time makes the namespace ready
	owned  bool

	mu     sync.Mutex        // not held while the cluster is asked
	logins map[string]string // USER:PASSWORD by registry or repository
	told   bool              // the cluster has the logins
	hidden map[springtide.ReleaseID]*redact.Redactor
}

func kubernetesOptions(o EngineOptions, router engine.Router, logger *slog.Logger) kubernetes.Options {
	return kubernetes.Options{
		Kubeconfig: o.Kubeconfig, Context: o.Context, Namespace: o.Namespace, Router: router, Log: logger,
		PullSecrets: []string{kubernetes.PullSecret}, RunnerImage: o.RunnerImage, FilesClass: o.FilesClass,
		Spare: kubernetes.Spare{CPU: o.SpareCPU, Memory: o.SpareMemory},
	}
}

// CheckEngine tries what is said of the engine, for the platform of a data folder,
// with a store of its own or a shared one. A cluster that does not answer is no error:
// what runs there goes on, and edges serve it. The logger is told of what is no error
// either.
func CheckEngine(ctx context.Context, o EngineOptions, data, store string, logger *slog.Logger) error {
	if err := o.Validate(); err != nil || !o.onCluster() {
		return err
	}
	e, err := kubernetes.New(kubernetesOptions(o, nobody{}, logger))
	if err != nil {
		return err
	}
	ours := func(ctx context.Context) error { return checkOwner(ctx, e, data, store) }
	for _, check := range []func(context.Context) error{e.Check, e.CheckNamespace, ours} {
		switch err := check(ctx); {
		case springtide.KindOf(err) == springtide.Unavailable:
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// checkOwner looks whether the namespace is another platform's. One that comes to a
// shared store for the first time finds out with its first group.
func checkOwner(ctx context.Context, e *kubernetes.Engine, data, store string) error {
	path := filepath.Join(data, instanceKey)
	if store != "" {
		path = filepath.Join(data, ledgerKey)
	}
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && store != "":
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return e.CheckOwner(ctx, "") // new: it has no name yet
	case err != nil:
		return err
	}
	return e.CheckOwner(ctx, platformNameOf(key))
}

// nobody is the edges of an engine that does not run.
type nobody struct{ engine.Router }

// newCluster makes the engine of a cluster. grant gives what a group or a task is
// given.
func newCluster(o EngineOptions, router engine.Router, logger *slog.Logger, grant func(process.Subject) (process.Grant, error)) (*cluster, error) {
	c := &cluster{
		logins: map[string]string{}, hidden: map[springtide.ReleaseID]*redact.Redactor{},
		hasAPI: o.InstanceAddress != "", hasRunner: o.RunnerImage != "", tokens: regexp.MustCompile(tokenPrefix + `[\w.-]+`),
	}
	options := kubernetesOptions(o, router, logger)
	options.Access = func(s kubernetes.Subject) (kubernetes.Grant, error) {
		granted, err := grant(process.Subject{
			Environment: s.Environment, Release: s.Release, Generation: s.Generation, Process: s.Process, Task: s.Task,
		})
		given := kubernetes.Grant{Env: granted.Env, Credentials: granted.Credentials}
		for _, mount := range granted.Mounts {
			given.Mounts = append(given.Mounts, kubernetes.Mount{Claim: mount.Source, Path: mount.Target})
		}
		return given, err
	}
	var err error
	if c.Engine, err = kubernetes.New(options); err != nil {
		return nil, err
	}
	c.databases = c.Postgres(kubernetes.PostgresOptions{StorageClass: o.DatabaseClass})
	return c, nil
}

// describe tells where instances run, in words.
func (c *cluster) describe() string {
	host, namespace := c.Where()
	return "pods of a cluster: namespace " + namespace + " at " + host
}

// ready has the namespace be this platform's, and nodes be able to pull.
func (c *cluster) ready(ctx context.Context) error {
	c.making.Lock()
	defer c.making.Unlock()
	if !c.owned {
		if err := c.Own(ctx, c.platform()); err != nil {
			return err
		}
		c.owned = true
	}
	c.mu.Lock()
	told, logins := c.told, maps.Clone(c.logins)
	c.told = true
	c.mu.Unlock()
	if told {
		return nil
	}
	auths := map[string]api.DockerLogin{}
	for at, login := range logins {
		user, password, _ := strings.Cut(login, ":")
		auths[at] = api.DockerLogin{Username: user, Password: strings.TrimSpace(password)}
	}
	config, err := json.Marshal(api.DockerConfig{Auths: auths})
	if err == nil {
		err = c.KeepPullSecret(ctx, config)
	}
	if err != nil {
		c.mu.Lock()
		c.told = false
		c.mu.Unlock()
	}
	return err
}

// logIn has nodes log in at a registry, or for a repository of it, from the next
// group or task on.
func (c *cluster) logIn(at, login string) {
	if c == nil || login == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logins[at] != login {
		c.logins[at], c.told = login, false
	}
}

// Apply implements engine.Engine.
func (c *cluster) Apply(ctx context.Context, group springtide.Group) error {
	if err := c.ready(ctx); err != nil {
		return err
	}
	return c.Engine.Apply(ctx, group)
}

// Remove implements engine.Engine. A cluster that is away is waited for.
func (c *cluster) Remove(ctx context.Context, id springtide.GroupID) error {
	for {
		err := c.ready(ctx)
		if err == nil {
			return c.Engine.Remove(ctx, id)
		}
		if springtide.KindOf(err) != springtide.Unavailable || pauseFor(ctx, time.Second) != nil {
			return err
		}
	}
}

// Exec implements engine.Engine.
func (c *cluster) Exec(ctx context.Context, task springtide.Task) (springtide.Exit, error) {
	if err := c.ready(ctx); err != nil {
		return springtide.Exit{}, err
	}
	return c.Engine.Exec(ctx, task)
}

// ShellCommand implements hosting.
func (c *cluster) ShellCommand(id springtide.InstanceID, command string) (*exec.Cmd, error) {
	_, namespace := c.Where()
	return nil, springtide.Errorf(springtide.Invalid, "a shell in a pod is the cluster's business").
		WithHint("kubectl -n %s exec -it %s -- %s", namespace, id, cmp.Or(command, "sh"))
}

// Watch implements engine.Engine: without secrets in the last lines.
func (c *cluster) Watch(ctx context.Context) iter.Seq2[springtide.Snapshot, error] {
	return func(yield func(springtide.Snapshot, error) bool) {
		for snapshot, err := range c.Engine.Watch(ctx) {
			snapshot.Instances = c.cleanAll(ctx, snapshot.Instances)
			if !yield(snapshot, err) {
				return
			}
		}
	}
}

// cleanAll changes nothing of what it is given.
func (c *cluster) cleanAll(ctx context.Context, given []springtide.Instance) []springtide.Instance {
	cleaned := given
	for i, instance := range given {
		if len(instance.LastLines) == 0 {
			continue
		}
		if &cleaned[0] == &given[0] {
			cleaned = slices.Clone(given)
		}
		cleaned[i].LastLines = make([]string, len(instance.LastLines))
		for n, line := range instance.LastLines {
			cleaned[i].LastLines[n] = c.clean(ctx, instance.Group.Environment, instance.Group.Release, line)
		}
	}
	return cleaned
}

// Logs implements engine.Engine: the cluster's output has secrets in it, as apps
// wrote them.
func (c *cluster) Logs(ctx context.Context, query springtide.LogQuery) (io.ReadCloser, error) {
	raw, err := c.Engine.Logs(ctx, query)
	if err != nil {
		return nil, err
	}
	read, write := io.Pipe()
	go func() {
		decoder, encoder := json.NewDecoder(raw), json.NewEncoder(write)
		for err == nil {
			var line springtide.LogLine
			if err = decoder.Decode(&line); err == nil {
				line.Text = c.clean(ctx, query.Environment, line.Release, line.Text)
				err = encoder.Encode(line)
			}
		}
		_ = write.CloseWithError(err) // io.EOF at the end
	}()
	return logs{read, raw}, nil
}

// logs ends what it reads from with itself.
type logs struct {
	*io.PipeReader
	raw io.Closer
}

func (l logs) Close() error {
	_ = l.PipeReader.Close() // it never fails
	return l.raw.Close()
}

// clean takes out of a line what its release was given in secret. What that is
// cannot be read while the store is away: then nothing is told.
func (c *cluster) clean(ctx context.Context, id springtide.EnvironmentID, release int, line string) string {
	of := springtide.ReleaseID{Environment: id, Number: release}
	c.mu.Lock()
	redactor, known := c.hidden[of]
	c.mu.Unlock()
	if !known {
		values, err := c.secrets(ctx, of)
		if err != nil {
			return redact.Marker
		}
		redactor = redact.New(values...)
		c.mu.Lock()
		c.hidden[of] = redactor
		c.mu.Unlock()
	}
	if redactor != nil {
		line = string(redactor.Text([]byte(line)))
	}
	return c.tokens.ReplaceAllString(line, redact.Marker)
}

// forget forgets what instances of an environment were not to say.
func (c *cluster) forget(id springtide.EnvironmentID) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.hidden, func(of springtide.ReleaseID, _ *redact.Redactor) bool { return of.Environment == id })
}

// check refuses what an app wants that is not to be had on a cluster.
func (c *cluster) check(ctx context.Context, app springtide.App) error {
	if c == nil {
		return nil
	}
	if app.Build.Push == "" && c.registry == "" {
		return springtide.Errorf(springtide.Invalid, "nodes can pull %s from nowhere", app.Name).
			WithHint("start the platform with --api and --registry-host, or name a registry of your own: build.push")
	}
	if err := c.checkKept(ctx, app); err != nil {
		return err
	}
	for _, name := range app.ProcessNames() {
		switch worker := app.Processes[name].Worker; {
		case worker == nil:
		case !worker.Own && !c.hasRunner:
			return springtide.Errorf(springtide.Invalid, "the command of %s is started once for each run, and there is no image of tide to take the runner from", name).
				WithHint("start the platform with --runner-image, or have the worker lease its runs itself: runner: own")
		case !c.hasAPI:
			return springtide.Errorf(springtide.Invalid, "%s has nowhere to lease its runs", name).
				WithHint("start the platform with --instance-address")
		}
	}
	return nil
}
