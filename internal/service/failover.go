package service

import (
	"context"
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// mustPromote decides whether the replica is to take the primary's place by
// itself: only where it has all that was acknowledged, and only when the primary
// has not come back within the patience. One that runs and hangs is given three
// times as much.
func mustPromote(now time.Time, r record, primary, replica unit, patience time.Duration) bool {
	if !r.Spec.Synchronous || !r.Standby || r.Promoting != "" || replica.child == nil || primary.down.IsZero() {
		return false
	}
	if primary.hung {
		patience *= 3
	}
	return !primary.ready && now.Sub(primary.down) >= patience
}

// considerFailover begins the promotion of a synchronous replica when it is time.
func (c *cluster) considerFailover() {
	c.mu.Lock()
	primary, replica := c.record.member(RolePrimary), c.record.member(RoleReplica)
	if c.held || c.record.Stopped || primary == nil || replica == nil {
		c.mu.Unlock()
		return
	}
	gone, folder := *c.unit(primary.Folder), replica.Folder
	must := mustPromote(time.Now(), c.record, gone, *c.unit(folder), c.manager.options.Patience)
	c.mu.Unlock()
	if !must || c.manager.isStopping() {
		return
	}
	away := time.Since(gone.down).Round(100 * time.Millisecond)
	// Once this is on disk the old primary is never started as one again.
	if err := c.change(func(r *record) { r.Promoting = folder }); err != nil {
		c.manager.log.Error("a replica cannot be promoted", "service", c.id.String(), "error", err)
		return
	}
	c.note(func() { c.failovers++ })
	c.manager.happened(c.id, "service.failover", fmt.Sprintf("the primary of service %s has not come back for %s (%s): its synchronous replica is promoted", c.id.Name, away, gone.reason))
}

// promote goes on with a promotion that was begun: the old primary is ended, for
// good; the replica is promoted, and started again where the primary was found.
// The old primary makes room for a new replica.
func (c *cluster) promote(ctx context.Context) {
	c.mu.Lock()
	r, held := c.record.clone(), c.held
	c.mu.Unlock()
	if r.Promoting == "" || held || r.Stopped || r.Destroying || c.manager.isStopping() {
		return
	}
	c.stopFollowing()
	for _, one := range r.Servers {
		c.mu.Lock()
		u := c.unit(one.Folder)
		c.mu.Unlock()
		switch {
		case one.Folder == r.Promoting || u.child == nil:
		case u.ready:
			c.stop(c.server(r, one), u) // In good order, so that the replica gets the rest.
		default:
			u.child.kill()
			c.ended(u)
		}
	}
	one := r.in(r.Promoting)
	c.mu.Lock()
	u := c.unit(one.Folder)
	due := u.ready && !time.Now().Before(u.next)
	c.mu.Unlock()
	if !due {
		return
	}
	server := c.server(r, *one)
	if err := c.promoteServer(ctx, server); err != nil {
		c.note(func() {
			u.reason, u.failures = err.Error(), u.failures+1
			u.next = time.Now().Add(backoff(u.failures + 1))
		})
		c.manager.log.Error("a replica was not promoted", "service", c.id.String(), "error", err)
		return
	}
	c.stop(server, u)
	err := c.change(func(r *record) {
		r.drop(RolePrimary)
		r.Servers[0].Role, r.Servers[0].PID = RolePrimary, 0
		if r.Spec.Replica {
			c.manager.add(r, RoleReplica)
		}
		r.Promoting, r.Standby = "", false
	})
	if err != nil {
		c.manager.log.Error("a promotion was not recorded", "service", c.id.String(), "error", err)
		return
	}
	c.manager.happened(c.id, "service.promoted", fmt.Sprintf("the replica of service %s is its primary now", c.id.Name))
}

func (c *cluster) promoteServer(ctx context.Context, server Server) error {
	c.driving.Lock()
	defer c.driving.Unlock()
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	return c.driver().(Follower).Promote(ctx, server)
}

// Promote has the replica of a service take the primary's place, which becomes
// the replica. What is only with the primary is lost if that one does not run;
// else nothing is. Connections are ended; addresses stay.
func (m *Manager) Promote(ctx context.Context, id springtide.ServiceID) error {
	c, err := m.cluster(id)
	if err != nil {
		return err
	}
	release, err := c.operate(ctx)
	if err != nil {
		return err
	}
	defer release()
	c.mu.Lock()
	one := c.record.member(RoleReplica)
	usable := one != nil && one.Made && (c.record.Promoting != "" || c.unit(one.Folder).ready)
	c.mu.Unlock()
	if !usable {
		return springtide.Errorf(springtide.Failed, "service %s has no replica that serves", id).
			WithHint("set services.%s.replica in the manifest, or wait until it follows", id.Name)
	}
	paused := c.pausePooler(ctx)
	err = c.change(func(r *record) { r.Promoting = one.Folder })
	paused()
	if err != nil {
		return err
	}
	if err := c.serving(ctx); err != nil {
		return err
	}
	return c.settlePooler(ctx)
}
