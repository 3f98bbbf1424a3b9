package edge

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// caps bounds how many connections each client has, by the address that the PROXY
// protocol gives where it is spoken. Those of this machine and of proxies, which
// have connections of many clients, are not counted.
type caps struct {
	each   int
	floods *floods

	mu   sync.Mutex
	open map[netip.Addr]*guest // by what counts as one client
}

// guest is a client as long as it has a connection; nil: one that is not counted.
// Implements http2.Client.
type guest struct {
	caps        *caps
	client      netip.Addr
	connections int // the lock of caps guards it
	streams     atomic.Int64
	// handshake is locked by who computes one of the client's.
	handshake sync.Mutex
}

// streamsPerConnection is how many requests over HTTP/2 a client may have under way for
// each connection that it may have: 1,000 connections of 250 streams would be too many.
const streamsPerConnection = 5

func newCaps(each int, floods *floods) *caps {
	return &caps{each: each, floods: floods, open: map[netip.Addr]*guest{}}
}

// enter counts a connection of a client, unless it has too many, or floods.
func (c *caps) enter(client netip.Addr) (*guest, bool) {
	if c.floods.refuses(client) {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.open[client]
	if g == nil {
		g = &guest{caps: c, client: client}
		c.open[client] = g
	}
	if g.connections >= c.each {
		return nil, false
	}
	g.connections++
	return g, true
}

// leave says that a connection has ended.
func (g *guest) leave() {
	if g == nil {
		return
	}
	g.caps.mu.Lock()
	defer g.caps.mu.Unlock()
	if g.connections--; g.connections <= 0 {
		delete(g.caps.open, g.client)
	}
}

// Owes implements http2.Client.
func (g *guest) Owes(floods, resets, noise int) bool {
	if g == nil {
		return false
	}
	all := g.caps.floods
	all.ended.Add(int64(floods))
	return all.owes(g.client, time.Duration(floods)*floodDebt+time.Duration(resets)*resetDebt+time.Duration(noise)*noiseDebt)
}

// Streams implements http2.Client.
func (g *guest) Streams(change int) (full bool) {
	return g != nil && g.streams.Add(int64(change)) >= int64(g.caps.each)*streamsPerConnection
}

// admit finds out whose connection it is, and whether one more of that client is
// served.
func (e *edge) admit(v *visitor) (ok bool) {
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
	v.guest, ok = e.enterCap(v.client.Addr())
	return ok
}

// enterCap counts a connection of a client, unless it has too many.
func (e *edge) enterCap(address netip.Addr) (*guest, bool) {
	if e.counts(address) {
		return e.caps.enter(clientOf(address.Unmap().WithZone("")))
	}
	return nil, true
}

// counts says whether an address is one client's.
func (e *edge) counts(address netip.Addr) bool {
	return !address.IsLoopback() && !networks(e.options.TrustedProxies).have(address)
}

func endOf(address net.Addr) netip.AddrPort {
	tcp, ok := address.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	end := tcp.AddrPort()
	return netip.AddrPortFrom(end.Addr().Unmap(), end.Port())
}
