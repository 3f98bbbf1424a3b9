package service

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// provisionLimit is how long a server may take until it serves.
const provisionLimit = 5 * time.Minute

// Provision makes the services of an environment that are missing, starts those
// that were stopped, has all of them be as wanted, and waits until they serve.
// It says what it does by progress. Of the services that are not named it leaves
// all as it is: see [Manager.Keep]. Killed at any moment it can be done again.
func (m *Manager) Provision(ctx context.Context, id springtide.EnvironmentID, services map[springtide.ServiceName]springtide.Service, progress func(string)) error {
	release, err := m.turn(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	for _, name := range slices.Sorted(maps.Keys(services)) {
		say := func(format string, args ...any) { progress(string(name) + ": " + fmt.Sprintf(format, args...)) }
		if err := m.provision(ctx, springtide.ServiceID{Environment: id, Name: name}, services[name], say); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return springtide.Errorf(springtide.KindOf(err), "service %s: %w", name, err)
		}
	}
	return nil
}

func (m *Manager) provision(ctx context.Context, id springtide.ServiceID, spec springtide.Service, say func(string, ...any)) error {
	if err := m.check(spec); err != nil {
		return err
	}
	c, err := m.ensure(id, spec)
	if err != nil {
		return err
	}
	release, err := c.operate(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := c.specify(spec, say); err != nil {
		return err
	}
	if spec.External != "" {
		return m.reach(ctx, id, spec)
	}
	ctx, cancel := context.WithTimeout(ctx, provisionLimit)
	defer cancel()
	if err := c.createPrimary(ctx, say); err != nil {
		return err
	}
	began := time.Now()
	if err := c.serving(ctx); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	if err := c.confineAll(); err != nil {
		return err
	}
	if err := c.provisionReplica(ctx, spec.Replica, say); err != nil {
		return err
	}
	if err := c.addPooler(ctx, say); err != nil {
		return err
	}
	say("%s %s serves on port %d (%s)", spec.Kind, c.snapshot().Version, c.snapshot().Port, time.Since(began).Round(time.Millisecond))
	return nil
}

// check says whether a service could be run at all.
func (m *Manager) check(spec springtide.Service) error {
	driver := m.options.Drivers[spec.Kind]
	if spec.External != "" {
		return nil
	}
	if driver == nil {
		return springtide.Errorf(springtide.Invalid, "no service of kind %q can be run here", spec.Kind)
	}
	if pooled, ok := driver.(Pooled); spec.Pool.Mode != "" && !ok {
		return springtide.Errorf(springtide.Invalid, "a %s cannot have a pooler", spec.Kind)
	} else if spec.Pool.Mode != "" {
		if err := pooled.Pooler().Installed(); err != nil {
			return err
		}
	}
	if _, ok := driver.(Follower); spec.Replica && !ok {
		return springtide.Errorf(springtide.Invalid, "a %s cannot have a replica", spec.Kind)
	}
	return nil
}

// resolve gives the version that is meant.
func resolve(driver Driver, kind springtide.ServiceKind, version string) (string, error) {
	installed := driver.Versions()
	at := slices.IndexFunc(installed, func(one string) bool { return Matches(version, one) })
	switch {
	case len(installed) == 0:
		return "", springtide.Errorf(springtide.Failed, "%s is not installed on this machine", kind).WithHint("install it: %s", driver.Hint(version))
	case at < 0:
		return "", springtide.Errorf(springtide.Failed, "%s %s is not installed on this machine, which has %s", kind, version, strings.Join(installed, ", ")).
			WithHint("install it: %s", driver.Hint(version))
	}
	return installed[at], nil
}

// ensure gives the service, which is recorded if it is new.
func (m *Manager) ensure(id springtide.ServiceID, spec springtide.Service) (*cluster, error) {
	c, err := m.cluster(id)
	if err == nil || springtide.KindOf(err) != springtide.NotFound {
		return c, err
	}
	r := record{ID: id, Spec: spec, Created: time.Now().UTC()}
	if spec.External == "" {
		if err := m.furnish(&r); err != nil {
			return nil, err
		}
	}
	return m.create(r)
}

// furnish gives a new service its version, a port, logins, and a primary that
// has no data yet.
func (m *Manager) furnish(r *record) (err error) {
	if r.Version, err = resolve(m.options.Drivers[r.Spec.Kind], r.Spec.Kind, r.Spec.Version); err != nil {
		return err
	}
	if r.Port, err = m.takePort(); err != nil {
		return err
	}
	r.keys.Logins = newLogins(databaseOf(r.ID.Environment.App))
	m.add(r, RolePrimary)
	return nil
}

// databaseOf gives the name of an app's database: never one of the server's own.
func databaseOf(app springtide.AppName) string {
	name := strings.ReplaceAll(string(app), "-", "_")
	switch name {
	case "postgres", "template0", "template1", "mysql", "sys", "information_schema", "performance_schema":
		return "app_" + name
	}
	return name
}

func newLogins(database string) Logins {
	return Logins{
		Database:    database,
		Current:     Login{Name: database + "_1", Password: rand.Text()},
		Replication: Login{Name: "replication", Password: rand.Text()},
	}
}

// specify records what is wanted of the service now.
func (c *cluster) specify(spec springtide.Service, say func(string, ...any)) error {
	r := c.snapshot()
	switch {
	case r.Scratch || r.Destroying:
		return springtide.Errorf(springtide.Conflict, "it is being made or deleted by somebody else")
	case r.Spec.Kind != spec.Kind:
		return springtide.Errorf(springtide.Conflict, "it is a %s, and the manifest asks for a %s", r.Spec.Kind, spec.Kind).
			WithHint("give the new one another name, or delete the old one: tide services destroy %s", c.id)
	}
	if r.Version != "" && !Matches(spec.Version, r.Version) && spec.External == "" {
		say("stays at version %s, though the manifest says %s, until it is upgraded: tide db upgrade", r.Version, spec.Version)
	}
	var err error
	change := c.change(func(r *record) {
		if spec.Synchronous && !r.Spec.Synchronous {
			r.Standby = false // It has to catch up before it may be promoted.
		}
		r.Spec, r.Stopped, r.Orphan, r.Apart = spec, false, false, false
		if spec.External == "" && r.member(RolePrimary) == nil {
			err = c.manager.furnish(r)
		}
	})
	if err != nil {
		return err
	}
	return change
}

// createPrimary makes the primary's data if it is not there.
func (c *cluster) createPrimary(ctx context.Context, say func(string, ...any)) error {
	r := c.snapshot()
	if _, err := resolve(c.driver(), r.Spec.Kind, r.Version); err != nil {
		return err
	}
	one := *r.member(RolePrimary)
	if one.Made {
		return nil
	}
	say("making %s %s", r.Spec.Kind, r.Version)
	server := c.server(r, one)
	if err := server.MakeFolders(); err != nil {
		return err
	}
	if err := c.driver().Create(ctx, server); err != nil {
		return err
	}
	return c.made(one.Folder)
}

func (c *cluster) made(folder string) error {
	return c.change(func(r *record) { r.in(folder).Made = true })
}

// provisionReplica adds a replica, or takes it away.
func (c *cluster) provisionReplica(ctx context.Context, wanted bool, say func(string, ...any)) error {
	r := c.snapshot()
	there := r.member(RoleReplica) != nil
	switch {
	case !wanted && there:
		return c.removeReplica(ctx)
	case !wanted:
		return nil
	case !there:
		port, err := c.manager.takePort()
		if err != nil {
			return err
		}
		say("making a replica")
		if err := c.change(func(r *record) { r.ReplicaPort = port; c.manager.add(r, RoleReplica) }); err != nil {
			c.manager.giveBackPorts(port)
			return err
		}
	}
	err := c.await(ctx, func() (bool, error) {
		one := c.record.member(RoleReplica)
		if one == nil {
			return false, nil
		}
		if c.unit(one.Folder).failures > hopeless {
			return false, context.DeadlineExceeded
		}
		return c.record.Standby && c.unit(one.Folder).ready, nil
	})
	return c.explain(err, RoleReplica)
}

// removeReplica has the primary go on alone. The replica's data is a copy, and
// is deleted.
func (c *cluster) removeReplica(ctx context.Context) error {
	c.stepping.Lock()
	defer c.stepping.Unlock()
	c.stopFollowing()
	if err := c.change(func(r *record) { r.Standby = false }); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	r := c.snapshot()
	if one := r.member(RoleReplica); one != nil {
		c.mu.Lock()
		u := c.unit(one.Folder)
		c.mu.Unlock()
		if u.child != nil {
			c.stop(c.server(r, *one), u)
		}
	}
	err := c.change(func(r *record) { r.drop(RoleReplica); r.ReplicaPort = 0 })
	if err == nil {
		c.manager.giveBackPorts(r.ReplicaPort)
	}
	return err
}

// Keep stops the services of an environment that are not named, which are kept:
// they are started again when they are provisioned again. What was restored or
// swapped out is not concerned. It is called when nothing needs them any more.
func (m *Manager) Keep(ctx context.Context, id springtide.EnvironmentID, services map[springtide.ServiceName]springtide.Service) error {
	release, err := m.turn(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	for _, c := range m.of(func(other springtide.ServiceID) bool { return other.Environment == id }) {
		r := c.snapshot()
		if spec, named := services[c.id.Name]; named && spec.Pool.Mode == "" && r.hasPooler() {
			if err := c.removePooler(); err != nil {
				return err
			}
		}
		if _, named := services[c.id.Name]; named || r.Orphan || r.Apart || r.Scratch || c.broken() != nil {
			continue
		}
		if err := c.change(func(r *record) { r.Stopped, r.Orphan = true, true }); err != nil {
			return err
		}
		m.happened(c.id, "service.orphaned", fmt.Sprintf("no manifest names service %s any more: it is stopped, and its data is kept in %s until it is deleted: tide services destroy %s", c.id.Name, m.place(c.id), c.id))
	}
	return nil
}
