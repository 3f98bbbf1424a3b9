package service

import (
	"context"
	"errors"

	"github.com/springtide/springtide"
)

// aside is the name under which what a service was before is kept.
func aside(id springtide.ServiceID) springtide.ServiceID {
	id.Name += "-old"
	return id
}

// Fork gives the service to a copy of from's data, with logins of its own. The
// command scrub, if there is one, has changed the copy before anybody else sees
// it; if it fails there is none. A service that is there already serves the copy
// from then on, and what it had is kept beside it as NAME-old. One that is not
// stands apart until it is provisioned. Killed at any moment it can be done again.
func (m *Manager) Fork(ctx context.Context, from, to springtide.ServiceID, scrub string) error {
	if scrub != "" && m.options.Scrub == nil {
		return springtide.Errorf(springtide.Invalid, "copies cannot be scrubbed here")
	}
	source, err := m.cluster(from)
	if err != nil {
		return err
	}
	if _, ok := source.driver().(Forker); !ok {
		return springtide.Errorf(springtide.Invalid, "service %s cannot be copied", from)
	}
	if err := source.serving(ctx); err != nil {
		return err
	}
	place := to
	target, err := m.cluster(to)
	switch {
	case err == nil && !target.snapshot().Scratch:
		if place = aside(to); source == target {
			return springtide.Errorf(springtide.Invalid, "a service cannot be its own copy")
		}
		release, err := target.operate(ctx)
		if err != nil {
			return err
		}
		defer release()
		if err := swappable(target.snapshot()); err != nil {
			return err
		}
	case err != nil && springtide.KindOf(err) != springtide.NotFound:
		return err
	}
	copied, err := m.copy(ctx, source, place)
	if err != nil {
		return err
	}
	if scrub != "" {
		if err := m.scrub(ctx, copied, to, scrub); err != nil {
			return errors.Join(err, m.destroy(context.WithoutCancel(ctx), copied))
		}
	}
	if place != to {
		return m.swap(ctx, target, copied)
	}
	return copied.change(func(r *record) { r.Scratch = false })
}

// scrub runs a command where the copy is to be used, as if it were in use there
// already: every variable that would lead to what is there now leads to it.
func (m *Manager) scrub(ctx context.Context, copied *cluster, to springtide.ServiceID, command string) error {
	server, err := copied.primary()
	if err != nil {
		return err
	}
	kind := "DATABASE"
	if server.Spec.Kind == springtide.ServiceRedis {
		kind = "REDIS"
	}
	url, variables := copied.driver().URL(server, server.Logins.Current), map[string]string{}
	for _, name := range []string{variable(to.Name), kind} {
		for _, suffix := range []string{urlSuffix, replicaSuffix, directSuffix} {
			variables[name+suffix] = url
		}
	}
	if err := m.options.Scrub(ctx, to.Environment, command, variables); err != nil {
		return springtide.Errorf(springtide.Failed, "the scrub command failed, so there is no copy: %w", err)
	}
	return nil
}

// copy makes a copy of a service as a scratch, which runs when it returns.
func (m *Manager) copy(ctx context.Context, source *cluster, place springtide.ServiceID) (_ *cluster, err error) {
	copied, err := m.draft(ctx, place, source.snapshot(), false)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.destroy(context.WithoutCancel(ctx), copied))
		}
	}()
	r := copied.snapshot()
	to := copied.server(r, r.Servers[0])
	from, err := source.primary()
	if err != nil {
		return nil, err
	}
	if err := to.MakeFolders(); err != nil {
		return nil, err
	}
	if err := source.driver().(Forker).Fork(ctx, from, to); err != nil {
		return nil, err
	}
	if err := copied.made(r.Servers[0].Folder); err != nil {
		return nil, err
	}
	return copied, copied.serving(ctx)
}
