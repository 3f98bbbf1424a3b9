package service

import (
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/springtide/springtide"
)

// takePort gives a port that no service has and nobody listens on.
func (m *Manager) takePort() (uint16, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for port := m.options.FirstPort; port <= m.options.LastPort; port++ {
		if !m.ports[port] && !taken(netip.AddrPortFrom(m.options.Host, port)) {
			m.ports[port] = true
			return port, nil
		}
	}
	return 0, springtide.Errorf(springtide.Unavailable, "all ports from %d to %d are in use on this machine", m.options.FirstPort, m.options.LastPort)
}

func (m *Manager) holdPorts(ports ...uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, port := range ports {
		m.ports[port] = true
	}
}

func (m *Manager) giveBackPorts(ports ...uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, port := range ports {
		delete(m.ports, port)
	}
}

// taken tries whether somebody listens at the address.
func taken(address netip.AddrPort) bool {
	listener, err := net.Listen("tcp", address.String())
	if err != nil {
		return errors.Is(err, syscall.EADDRINUSE)
	}
	listener.Close()
	return false
}
