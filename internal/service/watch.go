package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
)

const (
	// pace is how often a server that is not ready yet is looked at.
	pace = 50 * time.Millisecond
	// lookLimit is how long one look at a server may take, settleLimit how long it
	// may take to have it as it should be, or to promote it.
	lookLimit   = 2 * time.Second
	settleLimit = 30 * time.Second
	// longestBackoff bounds the wait between two starts.
	longestBackoff = 30 * time.Second
	// stableAfter is how long a server has to serve for its failures to be forgotten.
	stableAfter = time.Minute
)

// backoff is how long to wait after so many failures in a row: not at all after
// the first.
func backoff(failures int) time.Duration {
	if failures <= 1 {
		return 0
	}
	return min(250*time.Millisecond<<min(failures-2, 10), longestBackoff)
}

// firstHasHadItsChance says whether a replica may be started: the primary comes
// back first, unless it does not. The lock is held.
func (c *cluster) firstHasHadItsChance(primary *unit) bool {
	return primary.ready || !primary.down.IsZero() && time.Since(primary.down) > c.manager.options.Patience
}

// wanted says whether a server is to run; mayFollow is about a replica that does
// not run yet.
func wanted(r record, one member, running, mayFollow bool) bool {
	switch {
	case r.Stopped || r.Destroying || r.Spec.External != "" || !one.Made:
		return false
	case r.Promoting != "":
		return one.Folder == r.Promoting
	}
	return one.Role == RolePrimary || running || mayFollow
}

// run keeps the servers running.
func (c *cluster) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := c.manager.options.Interval
		if c.snapshot().Spec.External != "" {
			c.lookAtExternal(ctx)
		}
		wait = min(wait, c.step(ctx))
		if c.isGone() {
			return
		}
		select {
		case <-ctx.Done():
		case <-c.wake:
		case <-time.After(wait):
		}
	}
	c.stopFollowing()
}

// forget lets go of the servers, which go on.
func (c *cluster) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range c.units {
		if u.child != nil {
			u.child.forget()
			u.child, u.ready, u.settled = nil, false, false
		}
	}
}

func (c *cluster) isGone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

// adoptAll finds the servers that an earlier manager has started.
func (c *cluster) adoptAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.record.all() {
		if u := c.unit(one.Folder); u.child == nil {
			u.child = adopt(one, c.prod)
		}
	}
}

// step does what is due, and says when to look again.
func (c *cluster) step(ctx context.Context) time.Duration {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	c.collect()
	c.promote(ctx)
	for _, role := range []Role{RolePrimary, RoleReplica} {
		c.stepServer(ctx, role)
	}
	c.settlePrimary(ctx)
	c.stepPooler(ctx)
	c.tendStandby(ctx)
	c.considerFailover()
	c.startFollowing(ctx)
	return c.next()
}

// collect takes note of servers that have ended by themselves.
func (c *cluster) collect() {
	r := c.snapshot()
	for _, one := range r.all() {
		c.mu.Lock()
		u := c.unit(one.Folder)
		ended := u.child != nil && u.child.over()
		c.mu.Unlock()
		if !ended {
			continue
		}
		reason := u.child.reason
		if starved := cmp.Or(c.starved(u, r.Spec.Limits, one.Folder), u.starving); starved != "" {
			reason += "; " + starved
		}
		c.released(one.Folder)
		c.note(func() { u.starved, u.starving = 0, "" })
		if line := lastLine(filepath.Join(c.manager.options.Folder, one.Folder)); line != "" {
			reason += ": " + line
		}
		c.failed(u, reason)
		c.note(func() { c.restarts++ })
		c.manager.happened(c.id, "service.died", fmt.Sprintf("the %s of service %s has died: %s", one.Role, c.id.Name, reason), "role", string(one.Role))
	}
}

// failed takes note that a server has ended, or could not be started.
func (c *cluster) failed(u *unit, reason string) {
	now := time.Now()
	c.note(func() {
		if u.child != nil {
			u.child.forget()
		}
		if u.ready && now.Sub(u.served) > stableAfter {
			u.failures = 0
		}
		if u.ready || u.down.IsZero() {
			u.down = now
		}
		u.child, u.ready, u.settled, u.hung, u.reason = nil, false, false, false, reason
		u.failures++
		u.next = now.Add(backoff(u.failures))
	})
}

// stepServer starts, stops or looks at the server of a role.
func (c *cluster) stepServer(ctx context.Context, role Role) {
	c.mu.Lock()
	one := c.record.member(role)
	if one == nil {
		c.mu.Unlock()
		return
	}
	r, server, u := c.record.clone(), *one, c.unit(one.Folder)
	primary := r.member(RolePrimary)
	want := !c.held && wanted(r, server, u.child != nil, primary != nil && c.firstHasHadItsChance(c.unit(primary.Folder)))
	running, due := u.child != nil, !time.Now().Before(u.next)
	c.mu.Unlock()
	want = want && !c.manager.isStopping()
	switch {
	case ctx.Err() != nil: // All goes on as it is.
	case running && !want:
		c.stop(c.server(r, server), u)
	case !running && want && due:
		if err := c.start(c.server(r, server), server.Folder, u); err != nil {
			c.failed(u, err.Error())
			c.manager.log.Error("a server could not be started", "service", c.id.String(), "role", string(role), "error", err)
		}
	case running:
		c.look(ctx, c.server(r, server), u)
	}
}

// stop ends a server in good order, or without ceremony where it does not serve.
func (c *cluster) stop(server Server, u *unit) {
	if u.ready {
		u.child.stop(c.runner(server.Role).Process(server))
	} else {
		u.child.stop(Process{Stop: c.runner(server.Role).Process(server).Quick})
	}
	c.released(c.folderOf(server))
	c.ended(u)
}

// ended takes note that a server was ended on purpose.
func (c *cluster) ended(u *unit) {
	c.note(func() {
		u.child.forget()
		*u = unit{down: time.Now()}
	})
}

// start starts a server. It does not begin before the record names its process.
func (c *cluster) start(server Server, folder string, u *unit) error {
	if taken(server.Address) {
		return c.move(server, u)
	}
	if err := server.MakeFolders(); err != nil {
		return err
	}
	started, begin, err := launch(server, c.runner(server.Role).Process(server), c.prod)
	if err != nil {
		return err
	}
	err = c.change(func(r *record) {
		if one := r.in(folder); one != nil {
			one.PID, one.Ticks, one.Boot = started.pid, started.ticks, bootID()
		}
	})
	if err == nil {
		err = c.confine(server.Spec.Limits, folder, started.pid)
	}
	if err == nil {
		err = begin()
	}
	if err != nil {
		started.kill()
		started.forget()
		return err
	}
	c.note(func() { u.child, u.taken, u.looked = started, time.Time{}, time.Time{} })
	return nil
}

// move gives a server another port, when a stranger keeps its own for as long as
// it may be away. It may also be what is left of the server itself, and ends soon.
func (c *cluster) move(server Server, u *unit) error {
	stranger := springtide.Errorf(springtide.Conflict, "another program listens on %s, which is that of service %s", server.Address, c.id)
	if u.taken.IsZero() {
		u.taken = time.Now()
	}
	if time.Since(u.taken) < c.manager.options.Patience {
		return stranger
	}
	port, err := c.manager.takePort()
	if err != nil {
		return errors.Join(stranger, err)
	}
	err = c.change(func(r *record) {
		r.Moved = true
		switch server.Role {
		case RolePrimary:
			r.Port = port
		case RoleReplica:
			r.ReplicaPort = port
		case RolePooler:
			r.PoolerPort = port
		}
	})
	if err != nil {
		c.manager.giveBackPorts(port)
		return err
	}
	u.taken = time.Time{}
	c.manager.happened(c.id, "service.moved", fmt.Sprintf("%s; its %s listens on port %d from now on, and instances are started again to learn it", stranger.Message, server.Role, port),
		"role", string(server.Role), "port", itoa(int(port)))
	return stranger
}

// Learned says that all instances know where a service is by now.
func (m *Manager) Learned(id springtide.ServiceID) error {
	c, err := m.cluster(id)
	if err != nil || !c.snapshot().Moved {
		return err
	}
	return c.change(func(r *record) { r.Moved = false })
}

// look asks a server how it is.
func (c *cluster) look(ctx context.Context, server Server, u *unit) {
	now := time.Now()
	if u.ready && now.Sub(u.looked) < c.manager.options.Interval {
		return
	}
	u.looked = now
	if err := boundLog(server.Folder, logLimit); err != nil {
		c.manager.log.Warn("the output of a server was not cut", "service", c.id.String(), "error", err)
	}
	c.tellStarved(server, u)
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if err := c.runner(server.Role).Ready(ctx, server); err != nil {
		c.unwell(server, u, err)
		return
	}
	var lag Lag
	if follower, ok := c.driver().(Follower); ok && server.Role == RoleReplica {
		delay, bytes, err := follower.Lag(ctx, server)
		if springtide.KindOf(err) == springtide.Conflict {
			c.remake(server, u, err)
			return
		}
		lag = Lag{Time: delay, Bytes: bytes}
	}
	if !u.ready {
		took := time.Since(u.down).Round(time.Millisecond)
		c.note(func() { u.ready, u.hung, u.served = true, false, time.Now() })
		c.manager.happened(c.id, "service.started", fmt.Sprintf("the %s of service %s serves, after %s", server.Role, c.id.Name, took), "role", string(server.Role))
	}
	if u.lag != lag || !u.down.IsZero() {
		c.note(func() { u.lag, u.down = lag, time.Time{} })
	}
}

// tellStarved tells that a part of a server was ended, which goes on by itself.
func (c *cluster) tellStarved(server Server, u *unit) {
	if u.starving = c.starved(u, server.Spec.Limits, c.folderOf(server)); u.starving != "" {
		c.manager.happened(c.id, "service.starved", fmt.Sprintf("a process of the %s of service %s has died: %s", server.Role, c.id.Name, u.starving), "role", string(server.Role))
	}
}

// unwell takes note that a server that runs does not answer. One that did is not
// given up before it has not for as long as a primary may be away.
func (c *cluster) unwell(server Server, u *unit, err error) {
	now, limit := time.Now(), c.manager.options.Patience
	c.mu.Lock()
	if u.down.IsZero() {
		u.down = now
	}
	lost := u.ready && now.Sub(u.down) > limit
	u.reason = err.Error()
	c.mu.Unlock()
	if lost {
		c.note(func() { u.ready, u.settled, u.hung = false, false, true })
		c.manager.happened(c.id, "service.degraded", fmt.Sprintf("the %s of service %s runs and has not answered for %s: %s", server.Role, c.id.Name, limit, err), "role", string(server.Role))
	}
}

// settlePrimary has a primary that has come up be as it should be. If it waits
// for a replica, that one must be there first.
func (c *cluster) settlePrimary(ctx context.Context) {
	c.mu.Lock()
	one := c.record.member(RolePrimary)
	if one == nil || c.record.Promoting != "" {
		c.mu.Unlock()
		return
	}
	r, u := c.record.clone(), c.unit(one.Folder)
	due := u.ready && !u.settled && !time.Now().Before(u.next) && (!r.Standby || !r.Spec.Synchronous || c.replicaReady())
	c.mu.Unlock()
	if !due {
		return
	}
	if err := c.settle(ctx); err != nil {
		c.note(func() {
			u.reason, u.failures = err.Error(), u.failures+1
			u.next = time.Now().Add(backoff(u.failures + 1))
		})
		c.manager.log.Warn("a service is not as it should be yet", "service", c.id.String(), "error", err)
		return
	}
	c.note(func() {
		u.settled, u.reason = true, ""
		if c.record.hasPooler() { // It may lead to another server by now.
			c.unit(c.record.Pooler.Folder).settled = false
		}
	})
}

// replicaReady says whether there is a replica that serves; the lock is held.
func (c *cluster) replicaReady() bool {
	one := c.record.member(RoleReplica)
	return one != nil && c.unit(one.Folder).ready
}

// settle has the primary be as it should be.
func (c *cluster) settle(ctx context.Context) error { return c.drive(ctx, c.driver().Settle) }

// drive changes what the primary holds while nobody else does. Only then is it
// known which logins must work, and whether there is a standby.
func (c *cluster) drive(ctx context.Context, change func(context.Context, Server) error) error {
	c.driving.Lock()
	defer c.driving.Unlock()
	server, err := c.primary()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return change(ctx, server)
}

// next says when there may be something to do.
func (c *cluster) next() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait := c.manager.options.Interval
	for _, one := range c.record.all() {
		u := c.unit(one.Folder)
		idle := !one.Made && (one.Role == RolePrimary || c.following != nil)
		if idle || c.record.Stopped || c.held || u.settled || one.Role == RoleReplica && u.ready && c.record.Standby {
			continue
		}
		wait = min(wait, max(pace, time.Until(u.next)))
	}
	return wait
}

// stopAll ends all servers in order, whoever started them.
func (c *cluster) stopAll(ctx context.Context) error {
	c.stopFollowing()
	c.stepping.Lock()
	defer c.stepping.Unlock()
	r := c.snapshot()
	for _, role := range []Role{RolePrimary, RoleReplica} {
		one := r.member(role)
		if one == nil {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		c.mu.Lock()
		u := c.unit(one.Folder)
		c.mu.Unlock()
		if u.child != nil {
			c.note(func() { u.ready = true }) // It may be: it gets the time that takes.
			c.stop(c.server(r, *one), u)
		}
	}
	c.endPooler(r)
	return nil
}
