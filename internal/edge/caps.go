package edge

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// caps bounds how many connections each client has, by the address that the PROXY
// protocol gives where it is spoken. Those of this machine and of proxies, which
// have connections of many clients, are not counted.
type caps struct {
	each int

	mu   sync.Mutex
	open map[netip.Addr]int // by what counts as one client
}

func newCaps(each int) *caps { return &caps{each: each, open: map[netip.Addr]int{}} }

// enter counts a connection of a client, unless it has too many.
func (c *caps) enter(client netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[client] >= c.each {
		return false
	}
	c.open[client]++
	return true
}

func (c *caps) leave(client netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[client]--; c.open[client] <= 0 {
		delete(c.open, client)
	}
}

// admit finds out whose connection it is, and whether one more of that client is
// served.
func (e *edge) admit(v *visitor) bool {
	proxies := networks(e.options.TrustedProxies)
	if e.options.ProxyProtocol && proxies.have(v.client.Addr()) {
		_ = v.wire.SetReadDeadline(time.Now().Add(headerTimeout))
		said, err := readProxyHeader(v.wire)
		_ = v.wire.SetReadDeadline(time.Time{})
		if err != nil {
			e.options.Logger.Warn("a proxy was not understood", "proxy", v.client.Addr(), "error", err)
			return false
		}
		if said.client.IsValid() {
			v.client, v.local = said.client, said.local
		}
	}
	var ok bool
	v.leave, ok = e.enterCap(v.client.Addr())
	return ok
}

// enterCap counts a connection of a client, unless it has too many. Leave, which
// may be nil, is to be called when it ends.
func (e *edge) enterCap(address netip.Addr) (leave func(), ok bool) {
	if address.IsLoopback() || networks(e.options.TrustedProxies).have(address) {
		return nil, true
	}
	client := clientOf(address.Unmap().WithZone(""))
	if !e.caps.enter(client) {
		return nil, false
	}
	return func() { e.caps.leave(client) }, true
}

func endOf(address net.Addr) netip.AddrPort {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	end := tcp.AddrPort()
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
}
