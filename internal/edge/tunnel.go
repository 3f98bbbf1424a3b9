package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// tunnel is a connection of a client that goes on with another protocol, and passes
// bytes both ways. Tunnels are many, last, and mostly say nothing: while nothing
// comes one has neither a goroutine nor a buffer.
//
//	parked ←──→ running          for each side
//	   └───────────┴── end ──→ patient (it waits by itself) ──→ over
//
// When it is the instance that ends, or has to, the client of a WebSocket is
// told so by a close frame: 1001 if the instance is let go, 1014 if it crashed.
type tunnel struct {
	downstream
	exchange   *exchange
	to         destination
	lease      *lease // given back at its end; nil: there is none
	upstream   *upstream
	buffers    *buffers
	parking    *parking
	connection *connection
	// up is from the client to the instance.
	up, down side

	ending sync.Once
}

func newTunnel(f *forwarder, x *exchange, to destination, u *upstream, client net.Conn, framed bool) *tunnel {
	t := &tunnel{exchange: x, to: to, upstream: u, buffers: f.buffers, parking: f.parking}
	t.client, t.framed = client, framed
	t.up.tunnel, t.up.from, t.up.wire, t.up.to = t, client, wireOf(client), u.wire
	t.down.tunnel, t.down.from, t.down.wire, t.down.to = t, u.wire, u.wire, &t.downstream
	for _, s := range []*side{&t.up, &t.down} {
		s.wire.impatient.Store(true)
		s.over.Add(1)
	}
	return t
}

// start has the tunnel go on without the goroutine that led to it, whose stack has
// grown. It takes over from the connection.
func (t *tunnel) start(c *connection) {
	c.edge.clock.forget(c)
	c.head, c.x.answer, t.upstream.head = message.RequestHead{}, answer{}, message.ResponseHead{}
	t.connection = c
	c.edge.serving.Add(1)
	go t.up.run()
	go t.down.run()
}

// end has the tunnel end soon, if it does not already: with a close frame of that
// code, unless it is 0. If more may come from the instance, the end of a frame is
// waited for. It may be called with locks held.
func (t *tunnel) end(code uint16, more bool) {
	t.ending.Do(func() { go t.windUp(code, more) })
}

func (t *tunnel) windUp(code uint16, more bool) {
	t.up.hurry()
	t.down.hurry()
	if code != 0 {
		t.downstream.end(code, more)
	}
	if t.saidGoodbye() {
		_ = t.client.SetReadDeadline(time.Now().Add(farewell))
		t.up.over.Wait()
	}
	t.upstream.wire.Close()
	t.client.Close()
	t.up.over.Wait()
	t.down.over.Wait()

	x := t.exchange
	x.bytes = t.count()
	t.to.sent(x.bytes)
	if t.lease != nil {
		t.lease.done()
	}
	e := t.connection.edge
	e.log.write(x, time.Now())
	t.connection.close()
	e.serving.Done()
}

// side is one direction of a tunnel.
type side struct {
	tunnel *tunnel
	from   net.Conn // wire, or TLS over it
	wire   *wire
	to     io.Writer
	first  []byte // is passed on before what is read
	over   sync.WaitGroup
	// descriptor is wire's; parking guards it.
	descriptor int32
}

// run passes on what is there, and then lets the side be parked.
func (s *side) run() {
	buffer := borrow(&s.tunnel.buffers.heads)
	parked := s.pass(*buffer)
	s.tunnel.buffers.giveBack(buffer)
	if parked {
		return
	}
	s.over.Done()
	t := s.tunnel
	switch {
	case s == &t.up: // the client is gone, or the instance does not read
		t.upstream.wire.Close()
		t.end(0, false)
	case t.to.lettingGo() || t.exchange.over() != nil:
		t.end(closeGoingAway, false)
	default:
		t.end(closeBadGateway, false)
	}
}

// pass reports whether the side is parked; else it is over.
func (s *side) pass(buffer []byte) bool {
	if len(s.first) > 0 {
		if _, err := s.to.Write(s.first); err != nil {
			return false
		}
		s.first = nil
	}
	for {
		n, err := s.from.Read(buffer)
		if n > 0 {
			if _, err := s.to.Write(buffer[:n]); err != nil {
				return false
			}
		}
		all := err == nil && s.from == net.Conn(s.wire) && n < len(buffer)
		switch {
		case all || errors.Is(err, errNothing):
			if s.tunnel.parking.park(s) {
				return true
			}
		case err != nil:
			return false
		}
	}
}

// hurry has the side wait by itself from now on, as it is needed to see the end.
func (s *side) hurry() {
	s.wire.impatient.Store(false)
	if s.tunnel.parking.take(s) {
		go s.run()
	}
}

// wireOf gives the socket below a client's connection.
func wireOf(client net.Conn) *wire {
	if secured, ok := client.(*tls.Conn); ok {
		client = secured.NetConn().(*visitor).wire
	}
	return client.(*wire)
}
