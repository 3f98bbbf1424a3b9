package service

import (
	"context"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// cluster is a service: its servers, and the loop that keeps them running.
type cluster struct {
	manager *Manager
	id      springtide.ServiceID
	// problem says why it cannot be run; nil: it can.
	problem error
	// fresh says that it was made by this manager: the operation that it was made for
	// may still be going on.
	fresh bool
	// turn is held by the one operation that goes on.
	turn chan struct{}
	wake chan struct{}
	// stepping is held while servers are started and stopped, driving while a
	// driver changes what a server holds.
	stepping sync.Mutex
	driving  sync.Mutex

	mu     sync.Mutex
	record record
	units  map[string]*unit // by folder
	// held says that no server is to run for a moment, pausing that the pooler holds
	// queries although the primary serves yet.
	held, pausing bool
	// following is the making of a replica that goes on; nil: none does.
	following *following
	changed   chan struct{} // closed when anything changes
	gone      bool
	// restarts counts servers that ended by themselves, failovers promotions without
	// a command.
	restarts, failovers int
}

// hopeless is how many failures in a row end the waiting for a server, though
// not the trying.
const hopeless = 5

// unit is a server as it runs.
type unit struct {
	child *child
	// ready says that it serves, settled that it also is as it should be; hung that
	// it runs, did serve, and does not answer any more.
	ready, settled, hung bool
	// down is since when it has not served, served since when it has.
	down, served time.Time
	looked       time.Time
	// next is when it may be started, or asked, again; failures counts in a row.
	next     time.Time
	failures int
	// taken is since when a stranger has had its port; zero: none has.
	taken  time.Time
	reason string
	lag    Lag
	// starved counts what was ended for want of memory; starving is what was last
	// told of that, if it was at the last look: it may be about to end altogether.
	starved  int
	starving string
}

func (m *Manager) newCluster(r record) *cluster {
	return &cluster{
		manager: m, id: r.ID, record: r, units: map[string]*unit{},
		turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
}

// driver is that of the service's kind.
func (c *cluster) driver() Driver {
	return c.manager.options.Drivers[c.snapshot().Spec.Kind]
}

// broken says why the service cannot be run.
func (c *cluster) broken() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

func (c *cluster) snapshot() record {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.record.clone()
}

// change changes the record, on disk before anywhere else.
func (c *cluster) change(change func(*record)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return springtide.Errorf(springtide.NotFound, "there is no service %s any more", c.id)
	}
	next := c.record.clone()
	change(&next)
	if err := c.manager.write(next); err != nil {
		return err
	}
	c.record = next
	c.stir()
	return nil
}

// note changes what is known of the servers while they run.
func (c *cluster) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.stir()
}

// stir has those look who wait for something; the lock is held.
func (c *cluster) stir() {
	close(c.changed)
	c.changed = make(chan struct{})
	c.prod()
}

// prod has the loop look at once.
func (c *cluster) prod() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// await waits until the condition is met, which is asked with the lock held.
func (c *cluster) await(ctx context.Context, met func() (bool, error)) error {
	for {
		c.mu.Lock()
		done, err := met()
		changed := c.changed
		c.mu.Unlock()
		if done || err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// unit gives the server in a folder as it runs; the lock is held.
func (c *cluster) unit(folder string) *unit {
	u := c.units[folder]
	if u == nil {
		u = &unit{down: time.Now()}
		c.units[folder] = u
	}
	return u
}

// operate waits until no other operation goes on.
func (c *cluster) operate(ctx context.Context) (release func(), err error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		<-c.turn
		return nil, springtide.Errorf(springtide.NotFound, "there is no service %s any more", c.id)
	}
	return func() { <-c.turn }, nil
}

// server is what the driver is told of a server.
func (c *cluster) server(r record, one member) Server {
	options := c.manager.options
	s := Server{
		ID: r.ID, Spec: r.Spec, Version: r.Version, Folder: filepath.Join(options.Folder, one.Folder),
		Address: netip.AddrPortFrom(options.Host, r.Port), Role: one.Role, Logins: r.keys.Logins,
		User: UserOf(r.Spec.Kind), Standby: one.Role == RolePrimary && r.Standby,
	}
	s.Spec.Pool = r.Pool
	if s.Logins.Previous.Name == "" {
		s.Logins.Previous = r.keys.Next // It has to work before it is used.
	}
	if one.Role == RoleReplica {
		s.Primary, s.Address = s.Address, netip.AddrPortFrom(options.Host, r.ReplicaPort)
		if primary := r.member(RolePrimary); primary != nil {
			s.PrimaryFolder = filepath.Join(options.Folder, primary.Folder)
		}
	}
	return s
}

// primary is the server that the app writes to.
func (c *cluster) primary() (Server, error) {
	r := c.snapshot()
	one := r.member(RolePrimary)
	if one == nil || !one.Made {
		return Server{}, springtide.Errorf(springtide.Unavailable, "service %s has no server yet", c.id)
	}
	return c.server(r, *one), nil
}

// serving waits until the primary serves and is settled.
func (c *cluster) serving(ctx context.Context) error {
	err := c.await(ctx, func() (bool, error) {
		if c.gone {
			return false, springtide.Errorf(springtide.NotFound, "there is no service %s any more", c.id)
		}
		one := c.record.member(RolePrimary)
		if one == nil || c.record.Promoting != "" {
			return false, nil
		}
		u := c.unit(one.Folder)
		if !u.settled && u.failures > hopeless {
			return false, context.DeadlineExceeded
		}
		return u.settled, nil
	})
	return c.explain(err, RolePrimary)
}

// explain says of a wait that was too long what it waited for.
func (c *cluster) explain(err error, role Role) error {
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.record.member(role)
	if one == nil {
		return err
	}
	if reason := c.unit(one.Folder).reason; reason != "" {
		return springtide.Errorf(springtide.Failed, "the %s of service %s does not serve: %s", role, c.id, reason)
	}
	return err
}

// hold ends all servers, and keeps them from being started, until release. Queries
// wait in the pooler, if there is one.
func (c *cluster) hold(ctx context.Context) (release func(), err error) {
	release = func() { c.note(func() { c.held = false }) }
	paused := c.pausePooler(ctx)
	c.note(func() { c.held = true })
	paused()
	c.stopFollowing()
	// What has just been starting a server has done so before the lock is ours.
	c.stepping.Lock()
	c.stepping.Unlock() //nolint:staticcheck // it is only waited for
	err = c.await(ctx, func() (bool, error) {
		for folder, u := range c.units {
			if u.child != nil && folder != c.record.Pooler.Folder {
				return false, nil
			}
		}
		return c.following == nil, nil
	})
	if err != nil {
		release()
	}
	return release, err
}
