package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Upgrade takes a service to a newer version. In a rehearsal that is done with a
// copy, while the service goes on, and the copy is deleted. For real the service
// is down meanwhile; what it had is kept beside it, stopped, as NAME-old, to be
// swapped back or destroyed. If the new server does not serve it is swapped back
// at once. It gives how long it took from the stop to where the new one serves.
func (m *Manager) Upgrade(ctx context.Context, id springtide.ServiceID, version string, rehearse bool) (time.Duration, error) {
	c, err := m.cluster(id)
	if err != nil {
		return 0, err
	}
	upgrader, ok := c.driver().(Upgrader)
	r := c.snapshot()
	if !ok || r.Spec.External != "" {
		return 0, springtide.Errorf(springtide.Invalid, "service %s cannot be upgraded", id)
	}
	if version, err = resolve(c.driver(), r.Spec.Kind, version); err != nil {
		return 0, err
	}
	if r.Version == version {
		return 0, c.serving(ctx)
	}
	if !newer(version, r.Version) {
		return 0, springtide.Errorf(springtide.Invalid, "service %s is of version %s, and %s is no newer one", id, r.Version, version)
	}
	release, err := c.operate(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	if !slices.Contains(c.driver().Versions(), r.Version) {
		// The package of the older one was replaced: nothing serves that could be copied.
		if rehearse {
			return m.try(ctx, c, upgrader, version)
		}
		return m.upgrade(ctx, c, upgrader, version)
	}
	if err := c.serving(ctx); err != nil {
		return 0, err
	}
	if rehearse {
		return m.rehearse(ctx, c, upgrader, version)
	}
	return m.upgrade(ctx, c, upgrader, version)
}

func (m *Manager) upgrade(ctx context.Context, c *cluster, upgrader Upgrader, version string) (took time.Duration, err error) {
	next, err := m.newer(ctx, aside(c.id), c.snapshot(), version)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := m.convert(ctx, c, next, upgrader); err != nil {
		return 0, errors.Join(err, m.destroy(context.WithoutCancel(ctx), next))
	}
	limited, cancel := context.WithTimeout(ctx, provisionLimit)
	defer cancel()
	if err := m.swap(limited, c, next); err != nil {
		if c.snapshot().Version != version {
			return 0, errors.Join(err, m.destroy(context.WithoutCancel(ctx), next))
		}
		err = springtide.Errorf(springtide.Failed, "the upgraded server does not serve, so the old one does again: %w", err)
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), provisionLimit)
		defer cancel()
		return 0, errors.Join(err, m.swap(back, c, next), m.destroy(back, next))
	}
	m.happened(c.id, "service.upgraded", fmt.Sprintf("service %s is of version %s now; what it was is kept as %s", c.id.Name, version, next.id))
	return time.Since(began), nil
}

// convert makes the data of a newer version from that of a service, which is
// down meanwhile.
func (m *Manager) convert(ctx context.Context, c, next *cluster, upgrader Upgrader) error {
	release, err := c.hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	old, r := c.snapshot(), next.snapshot()
	to := next.server(r, r.Servers[0])
	to.Logins = old.keys.Logins
	if err := to.MakeFolders(); err != nil {
		return err
	}
	if err := upgrader.Upgrade(ctx, c.server(old, *old.member(RolePrimary)), to); err != nil {
		return err
	}
	return next.made(r.Servers[0].Folder)
}

// newer makes a stopped scratch for the data of a newer version.
func (m *Manager) newer(ctx context.Context, id springtide.ServiceID, like record, version string) (*cluster, error) {
	like.Version = version
	return m.draft(ctx, id, like, true)
}

// rehearse upgrades a copy that has been started once, as the original has.
func (m *Manager) rehearse(ctx context.Context, c *cluster, upgrader Upgrader, version string) (took time.Duration, err error) {
	place := c.id
	place.Name += "-rehearsal"
	copied, err := m.copy(ctx, c, place)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.destroy(context.WithoutCancel(ctx), copied)) }()
	return m.try(ctx, copied, upgrader, version)
}

// try makes the data of a newer version beside that of a service, which is down
// meanwhile and left as it was, and sees that it serves.
func (m *Manager) try(ctx context.Context, c *cluster, upgrader Upgrader, version string) (took time.Duration, err error) {
	place := c.id
	place.Name += "-new"
	next, err := m.newer(ctx, place, c.snapshot(), version)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.destroy(context.WithoutCancel(ctx), next)) }()
	began := time.Now()
	if err := m.convert(ctx, c, next, upgrader); err != nil {
		return 0, err
	}
	if err := next.change(func(r *record) { r.Stopped = false }); err != nil {
		return 0, err
	}
	return time.Since(began), next.serving(ctx)
}
