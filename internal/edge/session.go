package edge

import (
	"crypto/tls"
	"time"

	"github.com/springtide/springtide/internal/http2"
)

// session is a client's connection that speaks HTTP/2.
type session struct {
	*http2.Session
	edge    *edge
	visitor *visitor
	conn    *tls.Conn
	// address is the client's IP address, port the local one.
	address, port string
	writing       alarm // rings when the client takes nothing
	teller        teller
}

// serveSession goes on with a connection over HTTP/2, until its end.
func (e *edge) serveSession(c *connection, conn *tls.Conn) {
	s := &session{edge: e, visitor: c.visitor, conn: conn, address: c.address, port: c.port}
	s.Session = http2.NewSession(sessionConn{s}, http2.Options{
		Buffers: e.buffers, Crew: &e.crew.Crew, Open: s.open, Client: c.visitor.guest,
		Now: func() time.Duration { return time.Duration(e.clock.elapsed.Load()) },
	})
	e.clock.watch(s)
	defer e.clock.forget(s)
	if e.draining.Load() { // leave did not see it
		s.Drain()
	}
	s.Serve()
}

// look implements watched.
func (s *session) look(now int64) {
	s.writing.check(now, func() { _ = s.visitor.SetWriteDeadline(longAgo) })
	s.Look(time.Duration(now))
}

// sessionConn is what a session is spoken over. Implements http2.Conn.
type sessionConn struct{ *session }

func (s sessionConn) Read(p []byte) (int, error) { return s.conn.Read(p) }

// Write sends at once what is longer than a record, too.
func (s sessionConn) Write(p []byte) (int, error) {
	s.writing.set(s.edge.clock.after(writeTimeout))
	defer s.writing.stop()
	return len(p), s.visitor.sendSecured(s.conn, p, s.edge.buffers)
}

func (s sessionConn) Hangup() {
	s.writing.set(s.edge.clock.after(headerTimeout))
	_ = s.conn.CloseWrite()
	s.writing.stop()
	_ = s.visitor.CloseWrite()
	_ = s.visitor.SetReadDeadline(time.Now().Add(lingerFor))
}

func (s sessionConn) Close() error { return s.visitor.Close() }

// Borrow implements http2.Buffers.
func (b *buffers) Borrow(size int) *[]byte {
	switch {
	case size <= headBuffer:
		return borrow(&b.heads)
	case size <= bodyBuffer:
		return borrow(&b.bodies)
	}
	return borrow(&b.answers)
}

// GiveBack implements http2.Buffers.
func (b *buffers) GiveBack(buffer *[]byte) { b.giveBack(buffer) }

// crew serves the exchanges of all sessions.
type crew struct{ http2.Crew }

// look implements watched.
func (c *crew) look(int64) { c.Rest() }
