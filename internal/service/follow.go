package service

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// following is the making of a replica.
type following struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startFollowing begins to make a replica that has no data yet, beside the loop,
// and deletes what nobody needs once it is made.
func (c *cluster) startFollowing(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record.clone()
	primary, replica := r.member(RolePrimary), r.member(RoleReplica)
	if c.following != nil || c.held || r.Stopped || r.Destroying || r.Promoting != "" || primary == nil || !c.unit(primary.Folder).settled || c.manager.isStopping() || ctx.Err() != nil {
		return
	}
	missing := replica != nil && !replica.Made
	if !missing && len(r.Discard) == 0 || missing && time.Now().Before(c.unit(replica.Folder).next) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	going := &following{cancel: cancel, done: make(chan struct{})}
	c.following = going
	go func() {
		defer close(going.done)
		defer cancel()
		var err error
		if missing {
			err = c.follow(ctx, c.server(r, *replica), replica.Folder)
		}
		if err == nil {
			err = c.discard()
		}
		if err != nil && ctx.Err() == nil {
			c.manager.log.Error("a replica was not made", "service", c.id.String(), "error", err)
		}
		c.note(func() {
			if c.following = nil; err != nil && missing {
				u := c.unit(replica.Folder)
				u.failures, u.reason = u.failures+1, err.Error()
				u.next = time.Now().Add(backoff(u.failures + 3))
			}
		})
	}()
}

func (c *cluster) follow(ctx context.Context, server Server, folder string) error {
	if err := server.MakeFolders(); err != nil {
		return err
	}
	if err := c.driver().(Follower).Follow(ctx, server); err != nil {
		return err
	}
	return c.change(func(r *record) {
		if one := r.in(folder); one != nil {
			one.Made = true
		}
	})
}

// discard deletes folders that have been replaced.
func (c *cluster) discard() error {
	folders := c.snapshot().Discard
	for _, folder := range folders {
		if err := os.RemoveAll(filepath.Join(c.manager.options.Folder, folder)); err != nil {
			return err
		}
	}
	if len(folders) == 0 {
		return nil
	}
	return c.change(func(r *record) {
		r.Discard = slices.DeleteFunc(r.Discard, func(folder string) bool { return slices.Contains(folders, folder) })
	})
}

// stopFollowing ends the making of a replica, and returns when it has ended.
func (c *cluster) stopFollowing() {
	c.mu.Lock()
	going := c.following
	c.mu.Unlock()
	if going != nil {
		going.cancel()
		<-going.done
	}
}

// join has the primary know of its replica, and wait for it if it is synchronous.
func (c *cluster) join(ctx context.Context, primary Server) error {
	primary.Standby = true
	if err := c.driver().Settle(ctx, primary); err != nil {
		return err
	}
	if primary.Spec.Synchronous {
		if err := c.acknowledge(ctx, primary); err != nil {
			return err
		}
	}
	return c.change(func(r *record) { r.Standby = r.Spec.Synchronous == primary.Spec.Synchronous })
}

// acknowledge returns when the replica is known to have all that the primary has
// acknowledged, which waits for it by now.
func (c *cluster) acknowledge(ctx context.Context, primary Server) error {
	if acknowledger, ok := c.driver().(Acknowledger); ok {
		return acknowledger.Acknowledge(ctx, primary)
	}
	r := c.snapshot()
	for {
		_, missing, err := c.driver().(Follower).Lag(ctx, c.server(r, *r.member(RoleReplica)))
		if missing == 0 || err != nil {
			return err
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return springtide.Errorf(springtide.Unavailable, "the replica of service %s does not catch up", c.id)
		}
	}
}

// remake gives up a replica that can never catch up, for a new one.
func (c *cluster) remake(server Server, u *unit, reason error) {
	c.stop(server, u)
	err := c.change(func(r *record) {
		r.Standby = false
		r.drop(RoleReplica)
		c.manager.add(r, RoleReplica)
	})
	if err != nil {
		c.manager.log.Error("a replica cannot be made anew", "service", c.id.String(), "error", err)
		return
	}
	c.manager.happened(c.id, "service.degraded", fmt.Sprintf("the replica of service %s is made anew: %s", c.id.Name, reason), "role", string(RoleReplica))
}

// tendStandby has the primary wait for a synchronous replica that follows, and
// not wait for one that has been away for long. It may be promoted only as long
// as the record says so: that is written after the primary has begun to wait, and
// before it ceases to.
func (c *cluster) tendStandby(ctx context.Context) {
	c.mu.Lock()
	r := c.record.clone()
	primary, replica := r.member(RolePrimary), r.member(RoleReplica)
	if primary == nil || replica == nil || !replica.Made || r.Promoting != "" || r.Stopped || c.held {
		c.mu.Unlock()
		return
	}
	p, u := c.unit(primary.Folder), c.unit(replica.Folder)
	ready, now := p.ready, time.Now()
	joins := p.settled && u.ready && !r.Standby && !now.Before(u.next)
	leaves := r.Standby && r.Spec.Synchronous && ready && !u.ready && now.Sub(u.down) > c.manager.options.Alone && now.Sub(p.served) > c.manager.options.Alone
	c.mu.Unlock()
	switch {
	case joins:
		err := c.drive(ctx, c.join)
		c.note(func() {
			if u.reason = ""; err != nil {
				u.reason, u.failures = err.Error(), u.failures+1
				u.next = now.Add(backoff(u.failures + 3))
			}
		})
	case leaves:
		if err := c.change(func(r *record) { r.Standby = false }); err != nil {
			c.manager.log.Error("a primary waits for a replica that is away", "service", c.id.String(), "error", err)
			return
		}
		c.note(func() { p.settled = false }) // The loop settles it, without a standby.
		c.manager.happened(c.id, "service.degraded", fmt.Sprintf("the primary of service %s goes on without its synchronous replica, which has been away for %s: %s", c.id.Name, c.manager.options.Alone, u.reason))
	}
}
