package process

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine"
	"github.com/springtide/springtide/internal/engine/process/embedded"
)

// Engine runs instances as processes of this machine. Make one with [New], and
// Run it; it implements engine.Engine.
type Engine struct {
	options Options
	log     *slog.Logger

	groups    *cgroups
	network   *network
	ports     *numbers
	users     *users
	turns     *turns // of instances that start
	programs  *programs
	init      string // the init's program
	cover     string // the folder that apps do not see
	memory    string // the folder below which credentials are that no namespace hides
	boot      string
	available func() int64 // availableMemory
	isolation Isolation

	wake    chan struct{} // has the loop look at the groups
	started chan struct{} // closed when Run has begun

	mu        sync.Mutex
	ctx       context.Context //nolint:containedctx // Run's: what goes on in the background ends with it.
	ended     bool
	workers   sync.WaitGroup
	wanted    map[springtide.GroupID]*wish
	instances map[springtide.InstanceID]*instance
	tasks     map[string]*task
	capacity  string
	changed   chan struct{} // closed and replaced at every change
}

// wish is what is wanted of a group.
type wish struct {
	group   springtide.Group
	removed bool
}

// New gives the engine of a data folder. It finds out what isolation the machine
// offers, and which instances of an earlier control plane live: the first
// snapshot has them. It starts and stops nothing before Run.
func New(options Options) (*Engine, error) {
	options = options.withDefaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	for _, name := range []string{"instances", "tasks", "logs"} {
		if err := os.MkdirAll(filepath.Join(options.Data, name), 0o711); err != nil {
			return nil, err
		}
	}
	e := &Engine{
		options: options, log: options.Log,
		groups:    &cgroups{},
		network:   newNetwork(options.Data, options.Network),
		ports:     newNumbers(options.FirstPort, options.LastPort),
		cover:     coverOf(options.Data),
		turns:     newTurns(),
		programs:  &programs{folder: filepath.Join(options.Data, "bin")},
		memory:    memoryFolder(options.Data),
		boot:      bootID(),
		available: availableMemory,
		wake:      make(chan struct{}, 1), started: make(chan struct{}), changed: make(chan struct{}),
		wanted:    map[springtide.GroupID]*wish{},
		instances: map[springtide.InstanceID]*instance{},
		tasks:     map[string]*task{},
	}
	// Two data folders must not hand out the same ports in the same order.
	e.ports.next += rand.IntN(options.LastPort - options.FirstPort + 1)
	if !options.Plain {
		e.groups = findCgroups(e.network.name)
	}
	var err error
	if e.users, err = openUsers(options.Data, options.FirstUser); err != nil {
		return nil, err
	}
	if err := e.installInit(); err != nil {
		return nil, err
	}
	if err := e.load(); err != nil {
		return nil, err
	}
	if err := e.probeIsolation(context.Background()); err != nil {
		return nil, err
	}
	return e, nil
}

// installInit puts the init's program into the data folder, under a name that
// tells its content: inits of other versions may be running.
func (e *Engine) installInit() error {
	program := e.options.Init
	if program == nil {
		var err error
		if program, err = embedded.Init(); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(program)
	e.init = filepath.Join(e.options.Data, "instances", ".init-"+hex.EncodeToString(sum[:8]))
	if info, err := os.Stat(e.init); err == nil && info.Size() == int64(len(program)) {
		return nil
	}
	temporary, err := os.CreateTemp(filepath.Dir(e.init), ".init-*.new")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(program)
	err = errors.Join(err, temporary.Chmod(0o755), temporary.Sync(), temporary.Close())
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), e.init)
}

// Isolation says how far instances are kept apart on this machine.
func (e *Engine) Isolation() Isolation { return e.isolation }

// Limiter limits commands that are not instances, such as builds.
func (e *Engine) Limiter() *Limiter { return &Limiter{groups: e.groups} }

// Groups gives the groups that were applied or have instances, so that the
// caller can remove those it does not know.
func (e *Engine) Groups() []springtide.GroupID {
	e.mu.Lock()
	defer e.mu.Unlock()
	known := map[springtide.GroupID]bool{}
	for id := range e.wanted {
		known[id] = true
	}
	for _, i := range e.instances {
		known[i.view.Group] = true
	}
	return slices.SortedFunc(maps.Keys(known), func(a, b springtide.GroupID) int { return cmp.Compare(a.String(), b.String()) })
}

// Apply implements engine.Engine.
func (e *Engine) Apply(_ context.Context, group springtide.Group) error {
	if err := validate(group); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if known := e.wanted[group.ID]; known != nil && !known.removed {
		if known.group.Replicas == group.Replicas {
			return nil
		}
		known.group.Replicas = group.Replicas
	} else {
		e.wanted[group.ID] = &wish{group: group}
	}
	e.notify()
	e.poke()
	return nil
}

func validate(group springtide.Group) error {
	process := group.Template.Process
	switch id := group.ID; {
	case !isName(string(id.Environment.App)) || !isName(string(id.Environment.Name)) || !isName(string(id.Process)):
		return springtide.Errorf(springtide.Invalid, "%q is not the name of a group", id)
	case group.Replicas < 0:
		return springtide.Errorf(springtide.Invalid, "%s: %d replicas are not possible", id, group.Replicas)
	case strings.TrimSpace(process.Command) == "" && !isRunner(process):
		return springtide.Errorf(springtide.Invalid, "%s: there is no command", id)
	}
	return validateVariables(process.Command, group.Template.Env)
}

// validateVariables refuses what no process can be given.
func validateVariables(command string, environment map[string]string) error {
	if strings.Contains(command, "\x00") {
		return springtide.Errorf(springtide.Invalid, "the command has a zero byte in it")
	}
	for key, value := range environment {
		if key == "" || strings.ContainsAny(key, "=\x00") || strings.Contains(value, "\x00") {
			return springtide.Errorf(springtide.Invalid, "the variable %q cannot be set: its name is not one, or there is a zero byte in it", key)
		}
	}
	return nil
}

// isName reports whether a word can be part of a path.
func isName(word string) bool {
	return word != "" && len(word) <= 100 && word[0] != '.' &&
		strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == ""
}

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, id springtide.GroupID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	wanted := e.wanted[id]
	if wanted == nil {
		if e.count(id) == 0 {
			return nil
		}
		wanted = &wish{group: springtide.Group{ID: id}}
		e.wanted[id] = wanted
	}
	wanted.removed, wanted.group.Replicas = true, 0
	e.notify()
	e.poke()
	for e.count(id) > 0 && e.wanted[id] == wanted {
		if err := e.await(ctx); err != nil {
			return err
		}
	}
	if e.wanted[id] == wanted {
		delete(e.wanted, id)
	}
	return nil
}

func (e *Engine) count(id springtide.GroupID) int {
	n := 0
	for _, i := range e.instances {
		if i.view.Group == id {
			n++
		}
	}
	return n
}

// notify tells everybody who waits that something has changed; the mutex is held.
func (e *Engine) notify() {
	close(e.changed)
	e.changed = make(chan struct{})
}

// poke has the loop look at the groups.
func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// await waits for a change; the mutex is held, and let go meanwhile.
func (e *Engine) await(ctx context.Context) error {
	changed := e.changed
	e.mu.Unlock()
	defer e.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitApplied waits until the group is applied or removed: until then nobody
// has said what is wanted. It reports whether that came before ctx or stop.
func (e *Engine) awaitApplied(ctx context.Context, id springtide.GroupID, stop <-chan struct{}) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.wanted[id] == nil {
		if e.await(ctx) != nil {
			return false
		}
	}
	return ctx.Err() == nil
}

// Watch implements engine.Engine.
func (e *Engine) Watch(ctx context.Context) iter.Seq2[springtide.Snapshot, error] {
	return func(yield func(springtide.Snapshot, error) bool) {
		for ctx.Err() == nil {
			snapshot, changed := e.snapshot()
			if !yield(snapshot, nil) {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

func (e *Engine) snapshot() (snapshot springtide.Snapshot, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	snapshot.Capacity = e.capacity
	snapshot.Instances = make([]springtide.Instance, 0, len(e.instances))
	for _, i := range e.instances {
		view := i.view
		view.LastLines = slices.Clone(view.LastLines)
		snapshot.Instances = append(snapshot.Instances, view)
	}
	slices.SortFunc(snapshot.Instances, func(a, b springtide.Instance) int {
		return cmp.Or(cmp.Compare(a.Group.String(), b.Group.String()), cmp.Compare(a.ID, b.ID))
	})
	return snapshot, e.changed
}

const (
	// capacityRetry is how long to wait for room before looking again.
	capacityRetry = time.Second
	// pruneEvery is how often old output and old tasks are looked for.
	pruneEvery = time.Minute
)

// Run makes the world be as it was wished until ctx ends. The instances live on.
func (e *Engine) Run(ctx context.Context) error {
	e.begin(ctx)
	retry := time.NewTimer(0)
	defer retry.Stop()
	prune := time.NewTicker(pruneEvery)
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			e.finish()
			return ctx.Err()
		case <-prune.C:
			e.prune(time.Now())
			continue
		case <-retry.C:
		case <-e.wake:
		}
		if ctx.Err() != nil {
			continue
		}
		if crowded := e.reconcile(); crowded {
			retry.Reset(capacityRetry)
		}
	}
}

// begin sets the goroutines of what was found going.
func (e *Engine) begin(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ctx = ctx
	for _, i := range e.instances {
		e.workers.Go(func() { i.run(ctx) })
	}
	for _, t := range e.tasks {
		e.workers.Go(func() { t.run(ctx) })
	}
	close(e.started)
}

// finish waits for what goes on in the background, and takes the bridge away if
// nobody uses it.
func (e *Engine) finish() {
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.workers.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.instances) > 0 || e.tasksLive() {
		return
	}
	if e.isolation.Network == networkNamespace {
		if err := e.network.remove(); err != nil {
			e.log.Warn("the bridge could not be removed", "bridge", e.network.name, "error", err)
		}
	}
	e.groups.removeAll()
}

// reconcile has every group become what is wanted of it. It reports whether
// there was no room for an instance.
func (e *Engine) reconcile() (crowded bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	shortage := ""
	for id, wanted := range e.wanted {
		if wanted.removed && e.count(id) == 0 {
			delete(e.wanted, id)
			e.notify()
			continue
		}
		if reason := e.reconcileGroup(id, wanted); reason != "" {
			shortage = reason
		}
	}
	if e.capacity != shortage {
		e.capacity = shortage
		e.notify()
	}
	return shortage != ""
}

func (e *Engine) reconcileGroup(id springtide.GroupID, wanted *wish) (shortage string) {
	var members []engine.Member
	for _, i := range e.instances {
		if i.view.Group == id && !i.retiring {
			members = append(members, engine.Member{ID: i.view.ID, State: i.view.State, Ordered: i.view.Ordered})
		}
	}
	if len(members) > wanted.group.Replicas {
		e.mu.Unlock() // Nobody else's code is called with the mutex held.
		for n := range members {
			members[n].Load = e.options.Router.Load(members[n].ID)
		}
		e.mu.Lock()
	}
	start, retire := engine.Plan(wanted.group.Replicas, members, e.capacity != "")
	limits, promised := wanted.group.Template.Process.Limits, int64(0)
	if start > 0 {
		promised = e.promised()
	}
	for range start {
		if shortage = roomFor(limits, promised, e.available()); shortage != "" {
			break
		}
		promised += takes(limits)
		e.add(wanted.group)
	}
	for _, name := range retire {
		if i := e.instances[name]; i != nil && !i.retiring {
			i.retiring = true
			close(i.retire)
		}
	}
	return shortage
}

// add orders one more instance; the mutex is held.
func (e *Engine) add(group springtide.Group) {
	if e.ended {
		return
	}
	id := e.newID(group.ID)
	now := time.Now()
	group.Replicas = 0 // It is the group's, not the instance's.
	i := &instance{
		engine: e, folder: folder(filepath.Join(e.options.Data, "instances", string(id))),
		retire: make(chan struct{}), next: now,
		spec: spec{Instance: id, Group: group, Ordered: now},
		view: springtide.Instance{ID: id, Group: group.ID, State: springtide.InstanceStarting, Ordered: now},
	}
	e.instances[id] = i
	e.notify()
	ctx := e.ctx
	e.workers.Go(func() { i.run(ctx) })
}

// newID gives a name that no instance has or had, as far as is remembered.
func (e *Engine) newID(group springtide.GroupID) springtide.InstanceID {
	const letters = "abcdefghijkmnpqrstuvwxyz23456789"
	for {
		var random [5]byte
		for n := range random {
			random[n] = letters[rand.IntN(len(letters))]
		}
		id := springtide.InstanceID(fmt.Sprintf("%s-%d-%s", group.Process, group.Release, random))
		logs, name := e.logPlace(spec{Instance: id, Group: springtide.Group{ID: group}})
		_, err := os.Lstat(filepath.Join(logs, name))
		if e.instances[id] == nil && errors.Is(err, fs.ErrNotExist) {
			return id
		}
	}
}

func (e *Engine) folderOf(s spec) folder {
	kind := "instances"
	if s.Task != nil {
		kind = "tasks"
	}
	return folder(filepath.Join(e.options.Data, kind, s.name()))
}
