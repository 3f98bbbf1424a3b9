package service

import (
	"context"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
)

// State is how a service, or a server, does.
type State string

// The states.
const (
	StateMaking   State = "making"   // its data is being made
	StateStarting State = "starting" // it does not serve yet
	StateReady    State = "ready"
	StateDegraded State = "degraded" // of a service: its primary serves, its replica does not
	StateDown     State = "down"     // it has failed, and is tried again
	StateStopped  State = "stopped"
)

// Status is how a service does.
type Status struct {
	ID      springtide.ServiceID `json:"id"`
	Spec    springtide.Service   `json:"spec"`
	Version string               `json:"version,omitempty"`
	State   State                `json:"state"`
	// Reason says why it is not ready.
	Reason string `json:"reason,omitempty"`
	// Address is where apps reach the primary, or its pooler; of an external service it is not set.
	Address netip.AddrPort `json:"address,omitzero"`
	Servers []ServerStatus `json:"servers,omitempty"`
	// Folder holds its record, and its data unless it was swapped.
	Folder string `json:"folder"`
	// Orphan says that no manifest names it any more, Apart that none ever did.
	Orphan bool `json:"orphan,omitempty"`
	Apart  bool `json:"apart,omitempty"`
	// Moved says that its address has changed, and instances may not know: see
	// [Manager.Learned].
	Moved bool `json:"moved,omitempty"`
	// Rotating says that an earlier login still works.
	Rotating bool `json:"rotating,omitempty"`
	// Protected says that its replica has all that was acknowledged, and is promoted
	// by itself.
	Protected bool      `json:"protected,omitempty"`
	Created   time.Time `json:"created"`
	// Restarts counts servers that ended by themselves, Failovers replicas that took
	// over by themselves, since the manager was made.
	Restarts  int `json:"restarts"`
	Failovers int `json:"failovers"`
}

// ServerStatus is how one server of a service does.
type ServerStatus struct {
	Role   Role   `json:"role"`
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
	PID    int    `json:"pid,omitempty"`
	Lag    Lag    `json:"lag,omitzero"`
	// Folder holds its data, its socket and its output.
	Folder string `json:"folder"`
}

// Lag is how much a replica is behind.
type Lag struct {
	Time  time.Duration `json:"time"`
	Bytes int64         `json:"bytes"`
}

// List gives the services of an environment in order of their names, also those
// that no manifest names.
func (m *Manager) List(id springtide.EnvironmentID) []Status {
	return m.statuses(func(other springtide.ServiceID) bool { return other.Environment == id })
}

// All gives all services.
func (m *Manager) All() []Status {
	return m.statuses(func(springtide.ServiceID) bool { return true })
}

func (m *Manager) statuses(match func(springtide.ServiceID) bool) []Status {
	var all []Status
	for _, c := range m.of(match) {
		all = append(all, c.status())
	}
	return all
}

func (c *cluster) status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.record
	s := Status{
		ID: r.ID, Spec: r.Spec, Version: r.Version, Folder: c.manager.place(r.ID), Orphan: r.Orphan, Apart: r.Apart || r.Scratch,
		Moved: r.Moved, Rotating: r.keys.Previous.Name != "", Protected: r.Standby && r.Spec.Synchronous, Created: r.Created, State: StateStopped,
		Restarts: c.restarts, Failovers: c.failovers,
	}
	switch {
	case c.problem != nil:
		s.State, s.Reason = StateDown, c.problem.Error()
		return s
	case r.Spec.External != "":
		u := c.unit(externalUnit)
		if s.State, s.Reason = StateReady, u.reason; u.reason != "" {
			s.State = StateDown
		}
		return s
	}
	if s.Address = netip.AddrPortFrom(c.manager.options.Host, r.Port); r.hasPooler() {
		s.Address = netip.AddrPortFrom(c.manager.options.Host, r.PoolerPort)
	}
	for _, one := range r.all() {
		server := c.serverStatus(r, one)
		s.Servers = append(s.Servers, server)
		switch {
		case one.Role == RolePrimary:
			s.State, s.Reason = server.State, server.Reason
		case server.State != StateReady && s.State == StateReady:
			s.State, s.Reason = StateDegraded, "the "+string(one.Role)+" is "+string(server.State)
			if server.Reason != "" {
				s.Reason += ": " + server.Reason
			}
		}
	}
	if r.Scratch {
		s.State, s.Reason = StateMaking, ""
	}
	return s
}

// serverStatus is how a server does; the lock is held.
func (c *cluster) serverStatus(r record, one member) ServerStatus {
	u := c.unit(one.Folder)
	s := ServerStatus{Role: one.Role, Lag: u.lag, Reason: u.reason, Folder: filepath.Join(c.manager.options.Folder, one.Folder)}
	if u.child != nil {
		s.PID = u.child.pid
	}
	switch {
	case r.Stopped:
		s.State, s.Reason = StateStopped, ""
	case !one.Made:
		s.State = StateMaking
	case u.ready:
		s.State = StateReady
	case u.child != nil && !u.hung || u.failures == 0:
		s.State = StateStarting
	default:
		s.State = StateDown
	}
	return s
}

// Server gives the primary of a service, and its driver.
func (m *Manager) Server(id springtide.ServiceID) (Server, Driver, error) {
	c, err := m.cluster(id)
	if err != nil {
		return Server{}, nil, err
	}
	if c.snapshot().Spec.External != "" {
		return Server{}, nil, springtide.Errorf(springtide.Invalid, "service %s is not the platform's: it is a server of your own", id)
	}
	server, err := c.primary()
	return server, c.driver(), err
}

// Restart ends the servers of a service, the primary first, starts them again
// and waits until it serves.
func (m *Manager) Restart(ctx context.Context, id springtide.ServiceID) error {
	c, err := m.cluster(id)
	if err != nil {
		return err
	}
	release, err := c.operate(ctx)
	if err != nil {
		return err
	}
	defer release()
	if r := c.snapshot(); r.Stopped || r.Spec.External != "" {
		return springtide.Errorf(springtide.Failed, "service %s does not run here", id)
	}
	letGo, err := c.hold(ctx)
	if err != nil {
		return err
	}
	c.note(func() {
		for _, u := range c.units {
			u.next, u.failures = time.Time{}, 0
		}
	})
	letGo()
	if err := c.serving(ctx); err != nil {
		return err
	}
	return c.settlePooler(ctx)
}
