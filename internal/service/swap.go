package service

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// journalName is the file of an environment in which a swap is decided.
const journalName = "swap.json"

// journal holds the records of two services as they are after the swap. Once it
// is on disk the swap has happened; whoever finds it writes them.
type journal struct {
	Records [2]json.RawMessage `json:"records"`
}

// Swap exchanges the data of two services of an environment: the first serves
// what the second had, under its own addresses and logins, and the second keeps,
// stopped, what the first had. Swapped again they are as before.
func (m *Manager) Swap(ctx context.Context, current, other springtide.ServiceID) error {
	if current == other || current.Environment != other.Environment {
		return springtide.Errorf(springtide.Invalid, "%s and %s are not two services of one environment", current, other)
	}
	a, err := m.cluster(current)
	if err != nil {
		return err
	}
	b, err := m.cluster(other)
	if err != nil {
		return err
	}
	// In one order always, so that two swaps do not wait for each other.
	first, second := a, b
	if first.id.Name > second.id.Name {
		first, second = second, first
	}
	for _, c := range []*cluster{first, second} {
		release, err := c.operate(ctx)
		if err != nil {
			return err
		}
		defer release()
	}
	if r := b.snapshot(); r.Scratch {
		return springtide.Errorf(springtide.Conflict, "service %s is being made", other)
	}
	return m.swap(ctx, a, b)
}

// swap swaps the data of two services whose operations are held, and waits until
// the first serves.
func (m *Manager) swap(ctx context.Context, a, b *cluster) error {
	for _, c := range []*cluster{a, b} {
		if err := swappable(c.snapshot()); err != nil {
			return err
		}
	}
	if one, two := a.snapshot().Spec.Kind, b.snapshot().Spec.Kind; one != two {
		return springtide.Errorf(springtide.Invalid, "%s is a %s, and %s a %s", a.id, one, b.id, two)
	}
	releaseA, err := a.hold(ctx)
	if err != nil {
		return err
	}
	defer releaseA()
	releaseB, err := b.hold(ctx)
	if err != nil {
		return err
	}
	defer releaseB()
	ra, rb := a.snapshot(), b.snapshot()
	m.exchange(&ra, &rb)
	decided, err := m.commit(ra, rb)
	if decided && err != nil {
		// What is on disk is not known. They stay down until the journal is read.
		for _, c := range []*cluster{a, b} {
			c.note(func() { c.problem, c.record.Stopped = err, true })
		}
	}
	if err != nil {
		return err
	}
	a.note(func() { a.record = ra })
	b.note(func() { b.record = rb })
	releaseB()
	releaseA()
	if err := a.serving(ctx); err != nil {
		return err
	}
	return a.settlePooler(ctx)
}

// swappable says whether a service's data can be another's now.
func swappable(r record) error {
	one := r.member(RolePrimary)
	switch {
	case one == nil || !one.Made || r.Spec.External != "":
		return springtide.Errorf(springtide.Failed, "service %s has no data here", r.ID)
	case r.Promoting != "":
		return springtide.Errorf(springtide.Conflict, "a replica of service %s is being promoted", r.ID)
	case r.keys.Previous.Name != "" || r.keys.Next.Name != "":
		return springtide.Errorf(springtide.Conflict, "the passwords of service %s are being rotated", r.ID)
	}
	return nil
}

// exchange exchanges what belongs to the data.
func (m *Manager) exchange(a, b *record) {
	a.Servers, b.Servers = b.Servers, a.Servers
	a.Version, b.Version = b.Version, a.Version
	a.keys.Database, b.keys.Database = b.keys.Database, a.keys.Database
	for _, r := range []*record{a, b} {
		r.Standby, r.Scratch = false, false
		for i := range r.Servers {
			r.Servers[i].PID = 0
		}
	}
	a.Stopped, b.Stopped = false, true
	b.Spec.Version = b.Version
	if a.Spec.Replica && a.member(RoleReplica) == nil {
		m.add(a, RoleReplica)
	}
}

// commit makes two records durable at once. Once it is decided an error means
// that only the next start of the manager can say what is.
func (m *Manager) commit(a, b record) (decided bool, err error) {
	var both journal
	for i, r := range []record{a, b} {
		if both.Records[i], err = m.encode(r); err != nil {
			return false, err
		}
	}
	data, err := json.Marshal(both)
	if err != nil {
		return false, err
	}
	path := filepath.Join(filepath.Dir(m.place(a.ID)), journalName)
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		_, missing := os.Lstat(path)
		return missing == nil, err
	}
	return true, m.replay(path)
}

// replay writes the records of a journal, and then removes it.
func (m *Manager) replay(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var both journal
	if err := json.Unmarshal(data, &both); err != nil {
		return springtide.Errorf(springtide.Internal, "read %s: %w", path, err)
	}
	for _, data := range both.Records {
		r, err := parseRecord(data)
		if err != nil {
			return springtide.Errorf(springtide.Internal, "read %s: %w", path, err)
		}
		if err := durable.WriteFile(filepath.Join(m.place(r.ID), recordName), data, 0o600); err != nil {
			return err
		}
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(path))
}
