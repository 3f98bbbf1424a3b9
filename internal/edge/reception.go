package edge

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime/debug"
	"strconv"
	"time"
)

// attend takes the connections of a door until it is closed.
func (e *edge) attend(door *door) {
	for {
		conn, err := door.Accept()
		switch {
		case err == nil:
			e.serving.Go(func() { e.receive(conn.(*visitor), door.name) })
		case errors.Is(err, net.ErrClosed):
			return
		default: // there are too many open files, or the client is gone again
			e.options.Logger.Error("a connection could not be accepted", "listener", door.name, "error", err)
			select {
			case <-door.closed:
				return
			case <-time.After(acceptPause):
			}
		}
	}
}

// acceptPause is how long nothing is accepted after it has failed.
const acceptPause = 50 * time.Millisecond

// receive serves a connection.
func (e *edge) receive(v *visitor, kind string) {
	defer func() {
		if fault := recover(); fault != nil {
			e.options.Logger.Error("a connection panicked", "fault", fault, "stack", string(debug.Stack()))
			v.Close()
		}
	}()
	if !e.admit(v) {
		v.refuse()
		return
	}
	c := e.newConnection(v, kind)
	if kind == HTTPS {
		defer v.account()
		secured := tls.Server(v, e.tls)
		e.clock.watch(c)
		c.reading.set(e.clock.after(headerTimeout))
		err := v.handshake(secured)
		late := c.reading.stop()
		e.clock.forget(c)
		switch {
		case err != nil || late:
			refuseHandshake(err)
			v.Close()
			return
		case secured.ConnectionState().NegotiatedProtocol == challengeProtocol:
			secured.Close() // all has been said
			return
		case secured.ConnectionState().NegotiatedProtocol == "h2":
			e.serveSession(c, secured)
			return
		}
		c.conn, c.quiet, c.scheme = secured, nil, "https"
	}
	e.serveConnection(c)
}

func (e *edge) newConnection(v *visitor, kind string) *connection {
	c := &connection{
		edge: e, visitor: v, wire: v.wire, conn: v.wire, quiet: newQuiet(v.wire, &e.buffers.heads), handle: e.apps, scheme: "http",
		address: v.client.Addr().String(),
	}
	if kind == HTTP {
		c.handle = e.plain
	}
	if local, ok := v.LocalAddr().(*net.TCPAddr); ok {
		c.port = strconv.Itoa(local.Port)
	}
	return c
}

// account notes that a connection has ended on which nothing was asked for.
func (v *visitor) account() {
	if g := v.guest; g != nil && !v.asked {
		g.caps.floods.owes(g.client, idleDebt)
	}
}

// refuseHandshake tells a client that speaks HTTP without TLS what is wrong.
func refuseHandshake(err error) {
	record, ok := errors.AsType[tls.RecordHeaderError](err)
	if !ok || record.Conn == nil {
		return
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		_, _ = io.WriteString(record.Conn, "HTTP/1.0 400 Bad Request\r\nConnection: close\r\n\r\nThis is a port for HTTPS.\n")
	}
}
