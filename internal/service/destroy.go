package service

import (
	"context"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Destroy ends the servers of a service and deletes its data. It cannot be
// undone. Killed in between it is finished when the manager starts again.
func (m *Manager) Destroy(ctx context.Context, id springtide.ServiceID) error {
	c, err := m.cluster(id)
	if err != nil {
		return err
	}
	return m.destroy(ctx, c)
}

func (m *Manager) destroy(ctx context.Context, c *cluster) error {
	release, err := c.operate(ctx)
	if err != nil {
		if springtide.KindOf(err) == springtide.NotFound {
			return nil // Somebody else has.
		}
		return err
	}
	defer release()
	if err := c.broken(); err != nil {
		return err
	}
	if err := c.change(func(r *record) { r.Destroying = true }); err != nil {
		return err
	}
	letGo, err := c.hold(ctx)
	if err != nil {
		return err
	}
	defer letGo()
	c.stepping.Lock()
	r := c.snapshot()
	c.endPooler(r)
	c.stepping.Unlock()
	folders := append(r.folders(), r.Discard...)
	if r.hasPooler() {
		folders = append(folders, r.Pooler.Folder)
	}
	for _, folder := range folders {
		path := filepath.Join(m.options.Folder, folder)
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(path)) // That of another service's name, if nothing else is in it.
	}
	// The record goes last: as long as it is there somebody knows of the rest.
	place := m.place(c.id)
	if err := os.Remove(filepath.Join(place, recordName)); err != nil {
		return err
	}
	if err := durable.SyncFolder(place); err != nil {
		return err
	}
	sweep(place)
	m.mu.Lock()
	delete(m.clusters, c.id)
	m.mu.Unlock()
	m.giveBackPorts(r.Port, r.ReplicaPort, r.PoolerPort)
	c.note(func() { c.gone = true })
	if !r.Scratch {
		m.happened(c.id, "service.destroyed", "service "+string(c.id.Name)+" and its data were deleted")
	}
	return nil
}

// sweep deletes the folder of a service that is no more, and the half-written
// records in it; unless another service has its data there since a swap.
func sweep(place string) {
	halves, _ := filepath.Glob(filepath.Join(place, "."+recordName+".*"))
	for _, half := range halves {
		_ = os.Remove(half)
	}
	_ = os.Remove(place)
}
