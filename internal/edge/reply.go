package edge

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// buffer gives the place where what is to be sent waits.
func (c *connection) buffer() []byte {
	if c.out == nil {
		c.out = borrow(&c.edge.buffers.sends)
	}
	return (*c.out)[:0]
}

// inform implements client.
func (c *connection) inform(status int, fields message.Fields, options []string) error {
	if c.head.Minor == 0 {
		return nil
	}
	to := appendStatus(c.buffer(), status, "")
	to = appendFields(to, fields, options, false)
	return c.send(append(to, "\r\n"...))
}

// begin implements client.
func (c *connection) begin(a *answer) error {
	c.bare = c.x.request.Method == http.MethodHead || !message.HasBody(a.Status)
	c.persistent = c.persistent && !a.leaving && !a.unread
	if !c.bare && a.length < 0 {
		c.chunked = c.head.Minor > 0
		c.untilClose = !c.chunked
		c.persistent = c.persistent && c.chunked
	}
	to := appendStatus(c.buffer(), a.Status, a.reason)
	to = appendFields(to, a.Fields, a.options, c.chunked)
	if !a.Fields.Has("Date") {
		to = message.AppendField(to, "Date", *c.edge.clock.date.Load())
	}
	switch {
	case c.chunked:
		to = append(to, "Transfer-Encoding: chunked\r\n"...)
	case a.declared >= 0 && (a.Status == http.StatusNotModified || message.HasBody(a.Status)):
		to = appendLength(to, a.declared)
	}
	c.endHead(to, a)
	return nil
}

// beginStored implements preparer.
func (c *connection) beginStored(a *answer, stored *cache.Answer) error { //nolint:unparam // another preparer fails
	c.bare = c.x.request.Method == http.MethodHead || !message.HasBody(a.Status)
	c.persistent = c.persistent && !a.leaving && !a.unread
	to := stored.AppendHead(appendStatus(c.buffer(), stored.Status, ""))
	c.endHead(appendFields(to, a.Fields, nil, false), a)
	return nil
}

// endHead has the head wait, with what it says of the connection.
func (c *connection) endHead(to []byte, a *answer) {
	to = message.AppendField(to, "X-Request-Id", a.id)
	if other := c.edge.quic.announcement(a); other != "" && c.scheme == "https" {
		to = message.AppendField(to, "Alt-Svc", other)
	}
	switch {
	case !c.persistent:
		to = append(to, "Connection: close\r\n"...)
	case c.head.Minor == 0:
		to = append(to, "Connection: keep-alive\r\n"...)
	}
	c.waiting = append(to, "\r\n"...)
}

func appendStatus(to []byte, status int, reason string) []byte {
	if reason == "" {
		reason = http.StatusText(status)
	}
	to = strconv.AppendInt(append(to, "HTTP/1.1 "...), int64(status), 10)
	return append(append(append(to, ' '), reason...), "\r\n"...)
}

// appendFields appends the fields that are for the client.
func appendFields(to []byte, fields message.Fields, options []string, withTrailer bool) []byte {
	for i := range fields {
		name := fields[i].Name
		switch {
		case withTrailer && len(name) == 7 && strings.EqualFold(name, "Trailer"):
		case isHopByHop(name), isNamed(name, options), len(name) == 12 && strings.EqualFold(name, "X-Request-ID"):
			continue
		}
		to = message.AppendField(to, name, fields[i].Value)
	}
	return to
}

// Write implements client: what is written goes out with what waits, once there
// is enough of it.
func (c *connection) Write(p []byte) (int, error) {
	if c.bare {
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		room := cap(c.waiting) - len(c.waiting)
		if c.chunked {
			room -= 2 * 8 // for what goes around a chunk
		}
		switch {
		case len(rest) <= room || c.chunked && room >= sendBuffer/2:
			piece := rest[:min(len(rest), room)]
			if c.chunked {
				c.waiting = message.AppendChunk(c.waiting, piece)
			} else {
				c.waiting = append(c.waiting, piece...)
			}
			rest = rest[len(piece):]
		case len(c.waiting) > 0:
			if err := c.flush(); err != nil {
				return len(p) - len(rest), err
			}
		case c.out == nil:
			c.waiting = c.buffer()
		default: // it is long, and there is nothing to send it with
			piece := rest[:min(len(rest), bodyBuffer)] // each with a time of its own
			if err := c.send(piece); err != nil {
				return len(p) - len(rest), err
			}
			rest = rest[len(piece):]
		}
	}
	return len(p), nil
}

// writeKept implements keeper: what is not encrypted goes out together with what waits,
// without a copy.
func (c *connection) writeKept(p []byte) (int, error) {
	if c.bare || c.chunked || c.quiet == nil || len(p) < keptPiece || len(c.waiting) == 0 {
		return c.Write(p)
	}
	c.writing.set(c.edge.clock.after(writeTimeout))
	n, err := c.wire.writeBoth(c.waiting, p[:min(len(p), bodyBuffer)])
	c.writing.stop()
	if c.waiting = c.buffer(); err != nil || n == len(p) {
		return n, err
	}
	more, err := c.Write(p[n:])
	return n + more, err
}

// keptPiece is from what length on a piece is worth a write that takes it from where it is.
const keptPiece = 4 << 10

// flush implements client.
func (c *connection) flush() error {
	if len(c.waiting) == 0 {
		return nil
	}
	err := c.send(c.waiting)
	c.waiting = c.buffer()
	return err
}

// send sends at once.
func (c *connection) send(p []byte) (err error) {
	c.writing.set(c.edge.clock.after(writeTimeout))
	defer c.writing.stop()
	if c.quiet == nil {
		return c.wire.sendSecured(c.conn, p, c.edge.buffers)
	}
	_, err = c.conn.Write(p)
	return err
}

// end implements client.
func (c *connection) end(trailer message.Fields) error {
	if c.chunked {
		c.waiting = message.AppendLastChunk(c.waiting, trailer)
	}
	return c.flush()
}

// splice implements splicer, where the answer goes out as it comes in.
func (c *connection) splice(from *net.TCPConn, bytes int64) (int64, bool, error) {
	if c.quiet == nil || c.chunked {
		return 0, false, nil
	}
	if err := c.flush(); err != nil {
		return 0, true, err
	}
	c.stall.on.Store(true)
	defer c.stall.on.Store(false)
	moved, err := c.wire.ReadFrom(io.LimitReader(from, bytes))
	return moved, true, err
}

// tunnel implements client.
func (c *connection) tunnel() (net.Conn, []byte, error) {
	c.persistent = false
	early := (*c.input)[c.next:c.filled]
	if c.head.Length == 0 { // nobody reads a body any more
		early = bytes.Clone(early)
		c.x.brief()
		c.release()
	}
	return c.conn, early, nil
}
