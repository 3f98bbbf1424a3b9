package service

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
)

// Draft gives a new server, stopped and without data, of a service that stands
// apart from every manifest: its database is named as that of the service like,
// and its version is the same. When its data has been made it becomes a service
// by [Manager.Adopt]; until then it is deleted when the manager starts again.
func (m *Manager) Draft(ctx context.Context, id, like springtide.ServiceID) (Server, error) {
	from, err := m.cluster(like)
	if err != nil {
		return Server{}, err
	}
	c, err := m.draft(ctx, id, from.snapshot(), true)
	if err != nil {
		return Server{}, err
	}
	r := c.snapshot()
	server := c.server(r, r.Servers[0])
	return server, server.MakeFolders()
}

// draft makes a service apart, like another. What is left of an earlier draft of
// the name is deleted.
func (m *Manager) draft(ctx context.Context, id springtide.ServiceID, like record, stopped bool) (*cluster, error) {
	if like.Version == "" {
		return nil, springtide.Errorf(springtide.Invalid, "service %s is not the platform's", like.ID)
	}
	if c, err := m.cluster(id); err == nil {
		if !c.snapshot().Scratch || c.fresh {
			return nil, springtide.Errorf(springtide.Conflict, "there is a service %s already", id).
				WithHint("delete it if you need it no more: tide services destroy %s", id)
		}
		if err := m.destroy(ctx, c); err != nil {
			return nil, err
		}
	}
	r := record{ID: id, Spec: like.Spec, Version: like.Version, Created: time.Now().UTC(), Apart: true, Scratch: true, Stopped: stopped}
	r.Spec.Version, r.Spec.Replica, r.Spec.Synchronous = like.Version, false, false
	var err error
	if r.Port, err = m.takePort(); err != nil {
		return nil, err
	}
	r.keys.Logins = newLogins(like.keys.Database)
	m.add(&r, RolePrimary)
	return m.create(r)
}

// Adopt makes a server whose data was restored, and which is stopped, a service
// apart: of the folder, version and database of made, with logins of its own. Its
// folder may be anywhere on the same file system. It is started, and when Adopt
// returns it serves.
func (m *Manager) Adopt(ctx context.Context, id springtide.ServiceID, made Server) error {
	c, err := m.cluster(id)
	if springtide.KindOf(err) == springtide.NotFound {
		like := record{ID: id, Spec: made.Spec, Version: made.Version}
		like.keys.Database = made.Logins.Database
		c, err = m.draft(ctx, id, like, true)
	}
	if err != nil {
		return err
	}
	release, err := c.operate(ctx)
	if err != nil {
		return err
	}
	defer release()
	r := c.snapshot()
	if !r.Scratch && !r.Apart {
		return springtide.Errorf(springtide.Conflict, "there is a service %s already", id)
	}
	server := c.server(r, r.Servers[0])
	if made.Folder != server.Folder {
		// Done already if it was killed in between.
		if err := os.Rename(made.Folder, server.Folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(server.Folder, "data")); err != nil {
		return springtide.Errorf(springtide.Failed, "there is no data to adopt: %w", err)
	}
	err = c.change(func(r *record) {
		r.Version, r.Scratch, r.Stopped, r.Servers[0].Made = made.Version, false, false, true
		r.keys.Database = made.Logins.Database
	})
	if err != nil {
		return err
	}
	return c.serving(ctx)
}
