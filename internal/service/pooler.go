package service

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
)

// poolerFolder is that of a service's pooler, beside those of its servers. It
// stays with the service when its data is swapped.
const poolerFolder = "pooler"

// pauseLimit is how long queries may take to end before a primary is stopped all
// the same.
const pauseLimit = 5 * time.Second

// runner is what starts a server and knows whether it serves.
type runner interface {
	Process(server Server) Process
	Ready(ctx context.Context, server Server) error
}

// runner gives that of a server's role.
func (c *cluster) runner(role Role) runner {
	if role == RolePooler {
		return c.pooler()
	}
	return c.driver()
}

func (c *cluster) pooler() Pooler {
	if pooled, ok := c.driver().(Pooled); ok {
		return pooled.Pooler()
	}
	return nil
}

// hasPooler says whether apps reach the primary through a pooler.
func (r *record) hasPooler() bool { return r.PoolerPort != 0 }

// poolerServer is what the pooler is told of itself and the primary.
func (c *cluster) poolerServer(r record) Server {
	one := r.Pooler
	if primary := r.member(RolePrimary); primary != nil {
		one.Role = RoleReplica
		s := c.server(r, one) // It leads to the primary as a replica follows it.
		s.Role, s.Address = RolePooler, netip.AddrPortFrom(c.manager.options.Host, r.PoolerPort)
		return s
	}
	return c.server(r, one)
}

// addPooler puts a pooler before the primary if one is wanted, and waits until it
// leads there. It is taken away by Keep, when nobody uses it any more.
func (c *cluster) addPooler(ctx context.Context, say func(string, ...any)) error {
	r := c.snapshot()
	if r.Spec.Pool.Mode == "" {
		return nil
	}
	pool := r.Spec.Pool
	if r.hasPooler() {
		if err := c.change(func(r *record) { r.Pool = pool }); err != nil {
			return err
		}
		return c.settlePooler(ctx)
	}
	port, err := c.manager.takePort()
	if err != nil {
		return err
	}
	say("putting a pooler before it")
	folder := filepath.Join(string(c.id.Environment.App), string(c.id.Environment.Name), string(c.id.Name), poolerFolder)
	err = c.change(func(r *record) {
		r.PoolerPort, r.Pool, r.Pooler = port, pool, member{Folder: folder, Role: RolePooler, Made: true}
	})
	if err != nil {
		c.manager.giveBackPorts(port)
		return err
	}
	if err := c.settle(ctx); err != nil { // It has to let the pooler in.
		return err
	}
	return c.settlePooler(ctx)
}

// removePooler ends the pooler, and forgets it.
func (c *cluster) removePooler() error {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	r := c.snapshot()
	c.endPooler(r)
	err := c.change(func(r *record) { r.PoolerPort, r.Pool, r.Pooler = 0, springtide.Pool{}, member{} })
	if err == nil {
		c.manager.giveBackPorts(r.PoolerPort)
	}
	return err
}

// endPooler ends the pooler's process.
func (c *cluster) endPooler(r record) {
	if !r.hasPooler() {
		return
	}
	c.mu.Lock()
	u := c.unit(r.Pooler.Folder)
	c.mu.Unlock()
	if u.child != nil {
		c.stop(c.poolerServer(r), u)
	}
}

// stepPooler keeps the pooler running, whatever becomes of the primary: queries
// wait in it. It lets them through again once the primary is as it should be.
func (c *cluster) stepPooler(ctx context.Context) {
	c.mu.Lock()
	r := c.record.clone()
	if !r.hasPooler() || r.member(RolePrimary) == nil {
		c.mu.Unlock()
		return
	}
	u := c.unit(r.Pooler.Folder)
	want := !r.Stopped && !r.Destroying && !c.manager.isStopping()
	running, due := u.child != nil, !time.Now().Before(u.next)
	c.mu.Unlock()
	server := c.poolerServer(r)
	switch {
	case ctx.Err() != nil:
		return
	case running && !want:
		c.stop(server, u)
	case !running && want && due:
		err := c.pooler().Installed()
		if err == nil {
			err = server.MakeFolders()
		}
		if err == nil {
			err = c.pooler().Prepare(server)
		}
		if err == nil {
			err = c.start(server, r.Pooler.Folder, u)
		}
		if err != nil {
			c.failed(u, err.Error())
			c.manager.log.Error("a pooler could not be started", "service", c.id.String(), "error", err)
		}
	case running:
		c.look(ctx, server, u)
	}
	c.mu.Lock()
	one := r.member(RolePrimary)
	due = u.ready && !u.settled && c.record.Promoting == "" && !c.held && !c.pausing && c.unit(one.Folder).settled && !time.Now().Before(u.next)
	c.mu.Unlock()
	if !due {
		return
	}
	err := c.drivePooler(ctx, c.pooler().Settle)
	c.note(func() {
		if u.settled, u.reason = err == nil, ""; err != nil {
			u.reason, u.next = err.Error(), time.Now().Add(backoff(3))
		}
	})
}

// settlePooler has the pooler know the logins and the primary as they are by now,
// and returns when it does. Without a pooler it does nothing.
func (c *cluster) settlePooler(ctx context.Context) error {
	if !c.unsettlePooler() {
		return nil
	}
	err := c.await(ctx, func() (bool, error) {
		u := c.unit(c.record.Pooler.Folder)
		if !u.settled && u.failures > hopeless {
			return false, context.DeadlineExceeded
		}
		return u.settled || !c.record.hasPooler(), nil
	})
	if err == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if reason := c.unit(c.record.Pooler.Folder).reason; reason != "" {
		return springtide.Errorf(springtide.Failed, "the pooler of service %s does not serve: %s", c.id, reason)
	}
	return err
}

// unsettlePooler has the loop settle the pooler, if there is one.
func (c *cluster) unsettlePooler() bool {
	r := c.snapshot()
	if !r.hasPooler() {
		return false
	}
	// What has just been settling it did not know of the change.
	c.stepping.Lock()
	defer c.stepping.Unlock()
	c.note(func() { c.unit(r.Pooler.Folder).settled = false })
	return true
}

// pausePooler has queries wait before the primary is stopped on purpose. What
// does not end in time is ended with the primary. The function that it gives is to
// be called once others know that the primary is about to be stopped.
func (c *cluster) pausePooler(ctx context.Context) (paused func()) {
	c.mu.Lock()
	runs := c.record.hasPooler() && c.unit(c.record.Pooler.Folder).ready
	c.mu.Unlock()
	if !runs {
		return func() {}
	}
	c.note(func() { c.pausing = true })
	c.unsettlePooler()
	ctx, cancel := context.WithTimeout(ctx, pauseLimit)
	defer cancel()
	if err := c.drivePooler(ctx, c.pooler().Pause); err != nil {
		c.manager.log.Warn("a pooler did not hold all queries", "service", c.id.String(), "error", err)
	}
	return func() { c.note(func() { c.pausing = false }) }
}

// drivePooler does something to the pooler while nobody else changes the logins.
func (c *cluster) drivePooler(ctx context.Context, do func(context.Context, Server) error) error {
	c.driving.Lock()
	defer c.driving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return do(ctx, c.poolerServer(c.snapshot()))
}
