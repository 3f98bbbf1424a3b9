package service

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// Options say how the services of a machine are run.
type Options struct {
	// Folder holds the data of all services. Those above it must be passable for
	// the servers' users.
	Folder  string
	Drivers map[springtide.ServiceKind]Driver
	Sealer  Sealer
	// Host is the address that the servers listen on: one that instances reach, and
	// nobody from elsewhere.
	Host   netip.Addr
	Logger *slog.Logger
	// Happened is told what becomes of services. May be nil.
	Happened func(springtide.Event)
	// Secret gives the value of a secret that the URL of an external service refers
	// to. May be nil: then none may.
	Secret func(springtide.EnvironmentID, springtide.SecretName) (string, error)
	// Scrub runs a command of an app with the variables, when a copy of its data has
	// been made and before anybody uses it. May be nil: then there is no scrubbing.
	Scrub func(ctx context.Context, app springtide.EnvironmentID, command string, variables map[string]string) error
	// Limiter keeps servers within the limits of their services. May be nil: then
	// none are enforced.
	Limiter Limiter
	// FirstPort and LastPort bound the ports of servers. Default: 15000 to 19999.
	FirstPort, LastPort uint16
	// Interval is how often a server that is well is looked at. Default: 5 s. That
	// it has ended is noticed at once.
	Interval time.Duration
	// Patience is how long a primary may be away before its synchronous replica is
	// promoted, if it can be. Default: 10 s.
	Patience time.Duration
	// Alone is how long a synchronous replica may be away before its primary goes on
	// without it; it is not promoted by itself again before it has caught up.
	// Default: 30 s.
	Alone time.Duration
}

func (o *Options) validate() error {
	for _, missing := range []struct {
		is   bool
		name string
	}{
		{o.Folder == "" || !filepath.IsAbs(o.Folder), "Folder (absolute)"},
		{o.Sealer == nil, "Sealer"},
		{!o.Host.IsValid(), "Host"},
		{o.Logger == nil, "Logger"},
	} {
		if missing.is {
			return springtide.Errorf(springtide.Invalid, "services: option %s is missing", missing.name)
		}
	}
	if o.FirstPort == 0 {
		o.FirstPort, o.LastPort = 15000, 19999
	}
	for option, value := range map[*time.Duration]time.Duration{
		&o.Interval: 5 * time.Second, &o.Patience: 10 * time.Second, &o.Alone: 30 * time.Second,
	} {
		if *option == 0 {
			*option = value
		}
	}
	return nil
}

// lockLimit is how long the lock of a manager that has died may be held on.
const lockLimit = 3 * time.Second

// Manager runs the servers of all services. There is one for a folder at a time.
type Manager struct {
	options Options
	log     *slog.Logger
	lock    *os.File

	mu       sync.Mutex
	clusters map[springtide.ServiceID]*cluster
	ports    map[uint16]bool
	turns    map[springtide.EnvironmentID]chan struct{}
	running  context.Context // of Run; nil before it and after it
	stopping bool
	loops    sync.WaitGroup
}

// New makes a manager of what is in the folder, and adopts the servers that run.
// Nothing is started before Run.
func New(options Options) (*Manager, error) {
	if err := options.validate(); err != nil {
		return nil, err
	}
	m := &Manager{
		options: options, log: options.Logger, clusters: map[springtide.ServiceID]*cluster{},
		ports: map[uint16]bool{}, turns: map[springtide.EnvironmentID]chan struct{}{},
	}
	if err := os.MkdirAll(options.Folder, 0o711); err != nil {
		return nil, err
	}
	if err := m.takeLock(); err != nil {
		return nil, err
	}
	if err := m.load(); err != nil {
		m.lock.Close()
		return nil, err
	}
	return m, nil
}

// takeLock has this be the folder's one manager. What a dead one was just
// starting may have its lock for another moment.
func (m *Manager) takeLock() (err error) {
	if m.lock, err = os.OpenFile(filepath.Join(m.options.Folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return err
	}
	for deadline := time.Now().Add(lockLimit); unix.Flock(int(m.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil; {
		if time.Now().After(deadline) {
			m.lock.Close()
			return springtide.Errorf(springtide.Conflict, "another process runs the services in %s", m.options.Folder)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// Close lets go of the folder, after Run has returned; the servers go on.
func (m *Manager) Close() error {
	for _, c := range m.of(func(springtide.ServiceID) bool { return true }) {
		c.forget()
	}
	return m.lock.Close()
}

// load reads all records. Swaps that were begun are finished first.
func (m *Manager) load() error {
	journals, err := filepath.Glob(filepath.Join(m.options.Folder, "*", "*", journalName))
	if err != nil {
		return err
	}
	for _, path := range journals {
		if err := m.replay(path); err != nil {
			return err
		}
	}
	folders, err := filepath.Glob(filepath.Join(m.options.Folder, "*", "*", "*/"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		path := filepath.Join(folder, recordName)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			sweep(folder)
			continue
		}
		if err != nil {
			return err
		}
		r, err := m.decode(data)
		if err != nil {
			m.log.Error("a service cannot be read; it is left alone", "record", path, "error", err)
		}
		if r.ID.Name == "" {
			continue
		}
		r.forgetCopies(m.options.Folder)
		c := m.newCluster(r)
		if c.problem = err; err == nil {
			c.adoptAll()
		}
		m.clusters[r.ID] = c
		m.holdPorts(r.Port, r.ReplicaPort, r.PoolerPort)
	}
	return nil
}

// Run starts the servers that do not run, and keeps all running until ctx is
// done; then they go on by themselves.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	m.running, m.stopping = ctx, false
	clusters := slices.Collect(maps.Values(m.clusters))
	m.mu.Unlock()
	for _, c := range clusters {
		m.keep(c)
	}
	for _, c := range clusters {
		// What an operation has left half-done when this process's predecessor ended.
		if r := c.snapshot(); !c.fresh && c.broken() == nil && (r.Scratch || r.Destroying) {
			m.loops.Go(func() {
				if err := m.destroy(ctx, c); err != nil && ctx.Err() == nil {
					m.log.Error("the remains of a service were not deleted", "service", r.ID.String(), "error", err)
				}
			})
		}
	}
	<-ctx.Done()
	m.mu.Lock()
	m.running = nil
	m.mu.Unlock()
	m.loops.Wait()
	return nil
}

// keep starts the loop of a cluster if the manager runs.
func (m *Manager) keep(c *cluster) {
	problem := c.broken()
	m.mu.Lock()
	defer m.mu.Unlock()
	if ctx := m.running; ctx != nil && problem == nil {
		m.loops.Go(func() { c.run(ctx) })
	}
}

// Stop ends all servers in order, primaries before their replicas, so that these
// have everything. Run starts them again.
func (m *Manager) Stop(ctx context.Context) error {
	m.mu.Lock()
	m.stopping = true
	clusters := slices.Collect(maps.Values(m.clusters))
	m.mu.Unlock()
	errs := make(chan error, len(clusters))
	for _, c := range clusters {
		go func() { errs <- c.stopAll(ctx) }()
	}
	var all error
	for range clusters {
		all = errors.Join(all, <-errs)
	}
	return all
}

func (m *Manager) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// cluster gives a service; the error is of kind NotFound.
func (m *Manager) cluster(id springtide.ServiceID) (*cluster, error) {
	m.mu.Lock()
	c := m.clusters[id]
	m.mu.Unlock()
	if c == nil {
		return nil, springtide.Errorf(springtide.NotFound, "there is no service %s", id)
	}
	return c, c.broken()
}

// of gives the services of an environment in order of their names.
func (m *Manager) of(match func(springtide.ServiceID) bool) []*cluster {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []*cluster
	for id, c := range m.clusters {
		if match(id) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *cluster) int { return strings.Compare(a.id.String(), b.id.String()) })
	return found
}

// create makes a service known, durably.
func (m *Manager) create(r record) (*cluster, error) {
	c := m.newCluster(r)
	c.fresh = r.Scratch
	m.mu.Lock()
	if m.clusters[r.ID] != nil {
		m.mu.Unlock()
		return nil, springtide.Errorf(springtide.Conflict, "there is a service %s already", r.ID)
	}
	m.clusters[r.ID] = c
	m.mu.Unlock()
	if err := m.write(r); err != nil {
		m.mu.Lock()
		delete(m.clusters, r.ID)
		m.mu.Unlock()
		return nil, err
	}
	m.keep(c)
	return c, nil
}

// turn waits until nobody else changes the services of the environment.
func (m *Manager) turn(ctx context.Context, id springtide.EnvironmentID) (release func(), err error) {
	m.mu.Lock()
	turn := m.turns[id]
	if turn == nil {
		turn = make(chan struct{}, 1)
		m.turns[id] = turn
	}
	m.mu.Unlock()
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// happened tells of what became of a service.
func (m *Manager) happened(id springtide.ServiceID, kind, message string, fields ...string) {
	m.log.Info("service event", "service", id.String(), "kind", kind, "message", message)
	if m.options.Happened == nil {
		return
	}
	all := map[string]string{"service": string(id.Name)}
	for i := 0; i+1 < len(fields); i += 2 {
		all[fields[i]] = fields[i+1]
	}
	m.options.Happened(springtide.Event{Time: time.Now().UTC(), Environment: id.Environment, Kind: kind, Message: message, Fields: all})
}
