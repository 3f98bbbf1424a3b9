package service

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
)

// Rotate makes a new login of a service, beside the one in use, and has
// [Manager.Variables] give it from now on. Once no instance uses the earlier one
// any more it is to be retired with [Manager.Retire]. If an earlier rotation was
// not finished it is that one which goes on, so it can be done again at any time.
func (m *Manager) Rotate(ctx context.Context, id springtide.ServiceID) error {
	c, rotator, release, err := m.rotating(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	r := c.snapshot()
	if r.keys.Previous.Name != "" {
		return c.settlePooler(ctx)
	}
	if r.keys.Next.Name == "" {
		next := Login{Name: loginAfter(r.keys.Current.Name), Password: rand.Text()}
		if err := c.change(func(r *record) { r.keys.Next = next }); err != nil {
			return err
		}
	}
	defer c.greetReplica(ctx)
	err = c.drive(ctx, func(ctx context.Context, server Server) error {
		return rotator.Rotate(ctx, server, c.snapshot().keys.Next)
	})
	if err != nil {
		return err
	}
	if err := c.settlePooler(ctx); err != nil { // It lets the new one in before anybody has it.
		return err
	}
	// Whoever settles the server meanwhile knows that both work.
	return c.change(func(r *record) {
		r.keys.Previous, r.keys.Current, r.keys.Next = r.keys.Current, r.keys.Next, Login{}
	})
}

// Retire ends a rotation: the earlier login works no more, and what is connected
// with it is ended. It may be called again.
func (m *Manager) Retire(ctx context.Context, id springtide.ServiceID) error {
	c, rotator, release, err := m.rotating(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	defer c.greetReplica(ctx)
	err = c.drive(ctx, func(ctx context.Context, server Server) error {
		old := c.snapshot().keys.Previous
		if old.Name == "" {
			return nil
		}
		server.Logins.Previous = Login{}
		if err := rotator.Retire(ctx, server, old); err != nil {
			return err
		}
		return c.change(func(r *record) { r.keys.Previous = Login{} })
	})
	if err != nil {
		return err
	}
	return c.settlePooler(ctx)
}

// rotating begins an operation on the logins of a service that serves.
func (m *Manager) rotating(ctx context.Context, id springtide.ServiceID) (*cluster, Rotator, func(), error) {
	c, err := m.cluster(id)
	if err != nil {
		return nil, nil, nil, err
	}
	spec := c.snapshot().Spec
	rotator, ok := c.driver().(Rotator)
	if !ok || spec.External != "" {
		return nil, nil, nil, springtide.Errorf(springtide.Invalid, "the passwords of service %s are not the platform's to change", id)
	}
	release, err := c.operate(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := c.serving(ctx); err != nil {
		release()
		return nil, nil, nil, err
	}
	return c, rotator, release, nil
}

// greetReplica lets a replica know of changed logins, if it is there.
func (c *cluster) greetReplica(ctx context.Context) {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	r := c.snapshot()
	one := r.member(RoleReplica)
	if one == nil || !one.Made {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if err := c.driver().Ready(ctx, c.server(r, *one)); err != nil {
		c.manager.log.Warn("a replica may not know its new logins yet", "service", c.id.String(), "error", err)
	}
}

// loginAfter gives the name after "quiz_1": "quiz_2".
func loginAfter(name string) string {
	at := strings.LastIndexByte(name, '_')
	count, err := strconv.Atoi(name[at+1:])
	if at < 0 || err != nil {
		return name + "_2"
	}
	return name[:at+1] + itoa(count+1)
}
