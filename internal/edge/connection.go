package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// The limits of a client's connection.
const (
	headerTimeout = 10 * time.Second // for a handshake, and for a head
	idleTimeout   = 2 * time.Minute  // between requests
	writeTimeout  = time.Minute      // for one write, of at most 64 KiB
	// A request's body has to bring so many bytes in so much of the time that it
	// is waited for, as long as it has no answer.
	bodyTimeout  = 30 * time.Second
	bodyProgress = 16 << 10
	// lingerFor is how long a client may go on sending a request that was
	// answered already, before the connection is closed under it.
	lingerFor = 2 * time.Second
	// halfClosed is for how many ticks a request is still served of which the
	// client sends nothing more: one that is gone looks the same.
	halfClosed = 8
)

// connection is a client's, that speaks HTTP/1.
type connection struct {
	edge    *edge
	visitor *visitor
	wire    *wire
	conn    net.Conn // the socket, or TLS over it
	quiet   *quiet   // nil with TLS
	first   [1]byte  // of a request
	handle  func(*exchange)
	scheme  string
	address string // the client's IP address
	port    string // the local one
	gone    context.CancelCauseFunc

	// reading and writing ring when the client is too slow.
	reading, writing alarm
	// idle says that nothing of a request has come, so that there is no harm in
	// closing.
	idle atomic.Bool
	// served is odd while a request is. seen and ended are of look only: the value
	// that it saw last, and for how many ticks the client has sent its end.
	served      atomic.Uint32
	seen, ended uint32
	stall       stall

	x    exchange
	head message.RequestHead
	// input has what was read: the head up to body, then (*input)[next:filled].
	input              *[]byte
	body, next, filled int
	// left is what is left of a body with a length; chunks and piece are of one without.
	left     int64
	chunks   message.Chunks
	piece    []byte
	patience time.Duration // that is left for bodyProgress
	progress int

	out     *[]byte
	waiting []byte // to be sent; in out, if it is not too long for that
	// How the answer's body is delimited; none of the two: by its length.
	chunked, untilClose bool
	bare                bool // the answer has no body
	// persistent says that another request may follow.
	persistent bool
}

// serveConnection serves one connection until its end.
func (e *edge) serveConnection(c *connection) {
	ctx, gone := context.WithCancelCause(context.Background())
	c.gone, c.x.ctx, c.x.client = gone, ctx, c
	c.x.address, c.x.port = c.address, c.port
	e.clock.watch(c)
	defer func() {
		if t := c.x.tunnel; t != nil {
			t.start(c)
		} else {
			c.close()
		}
	}()
	for first := true; c.awaitHead(first) && c.serve(); first = false {
	}
}

func (c *connection) close() {
	c.edge.clock.forget(c)
	c.gone(errClientGone)
	c.release()
	c.visitor.Close()
}

// awaitHead reads the next request's head. It reports false if there is none.
func (c *connection) awaitHead(first bool) bool {
	limit := idleTimeout
	if first {
		limit = headerTimeout
	}
	if c.next == c.filled {
		c.release()
		c.reading.set(c.edge.clock.after(limit))
		c.idle.Store(true)
		err := c.awaitByte()
		c.idle.Store(false)
		if err != nil {
			return false
		}
	}
	c.reading.set(c.edge.clock.after(headerTimeout))
	err := c.readHead()
	if c.reading.stop() && err == nil {
		_ = c.wire.SetReadDeadline(time.Time{}) // all of it came at the last moment
	}
	if err == nil {
		return true
	}
	refused, ok := errors.AsType[*message.Error](err)
	if !ok && errors.Is(err, os.ErrDeadlineExceeded) && c.filled > c.next {
		refused, ok = &message.Error{Status: http.StatusRequestTimeout, Reason: "the request's head takes too long"}, true
	}
	if ok {
		c.refuse(refused)
	}
	return false
}

// awaitByte waits for the beginning of a request without holding a buffer.
func (c *connection) awaitByte() (err error) {
	c.body, c.next, c.filled = 0, 0, 0
	if c.quiet != nil {
		c.input, c.filled, err = c.quiet.read()
	} else {
		c.filled, err = c.conn.Read(c.first[:])
		if c.filled > 0 {
			c.input, err = borrow(&c.edge.buffers.heads), nil
			(*c.input)[0] = c.first[0]
		}
	}
	if err == nil && c.filled == 0 {
		err = io.EOF
	}
	return err
}

// readHead reads until the head is complete, and understands it.
func (c *connection) readHead() error {
	looked := 0
	for {
		for looked == 0 && c.filled-c.next >= 2 && string((*c.input)[c.next:c.next+2]) == "\r\n" {
			c.next += 2 // RFC 9112, section 2.2
		}
		if c.filled > c.next {
			end, err := message.HeadEnd((*c.input)[c.next:c.filled], looked)
			if err != nil {
				return err
			}
			if end > 0 {
				head := (*c.input)[c.next : c.next+end]
				c.next += end
				c.body = c.next
				return c.head.Parse(head)
			}
		}
		looked = c.filled - c.next
		if c.filled == len(*c.input) || c.next == c.filled {
			c.widen()
		}
		n, err := c.conn.Read((*c.input)[c.filled:])
		c.filled += n
		if n == 0 && err != nil {
			return err
		}
	}
}

// widen makes room behind what was read.
func (c *connection) widen() {
	if c.next > 0 {
		c.filled = copy(*c.input, (*c.input)[c.next:c.filled])
		c.next = 0
		return
	}
	if c.filled < len(*c.input) {
		return
	}
	wider := borrow(&c.edge.buffers.bodies)
	copy(*wider, *c.input)
	c.edge.buffers.giveBack(c.input)
	c.input = wider
}

// serve serves one request. It reports whether another may follow.
func (c *connection) serve() bool {
	h, x := &c.head, &c.x
	c.visitor.asked = true
	c.persistent, c.chunked, c.untilClose, c.bare = h.Persistent, false, false, false
	if h.Method == http.MethodConnect { // what follows may be meant for a tunnel, and is no request
		c.persistent = false
	}
	c.left, c.piece, c.patience, c.progress = h.Length, nil, bodyTimeout, 0
	c.chunks = message.Chunks{}
	x.reset()
	x.request = h.Request
	x.request.Scheme = c.scheme
	x.received.Store(h.Length == 0)
	x.length, x.declared, x.options, x.expects, x.secure = h.Length, h.Declared, h.Options, h.Continue, h.Secure
	x.upgrade, x.protocol = upgradeOf(h.Upgrade), "HTTP/1.1"
	if h.Minor == 0 {
		x.protocol = "HTTP/1.0"
	}
	x.host, x.started = hostOf(h.Host), time.Now()
	x.identify()
	if err := c.readAhead(); err != nil {
		return c.refuseBody(err)
	}
	if h.Length > 0 && h.Length <= int64(c.filled-c.next) {
		x.whole = (*c.input)[c.next : c.next+int(h.Length)]
		c.next += int(h.Length)
		c.left, x.expects = 0, false
		x.received.Store(true)
	}
	c.served.Add(1)
	c.handle(x)
	c.served.Add(1)
	switch {
	case x.tunnel != nil:
		return false
	case x.aborted:
		c.abort()
		return false
	case c.persistent:
		return true
	}
	c.finish()
	return false
}

// readAhead reads what there is room for of a body whose length is known, before
// the request asks for an instance: who sends it slowly takes no place from others.
func (c *connection) readAhead() error {
	if c.head.Continue {
		return nil
	}
	for c.filled < len(*c.input) && c.head.Length > int64(c.filled-c.next) {
		n, err := c.readBody((*c.input)[c.filled:])
		if c.filled += n; err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// refuseBody ends a request of which the body did not come.
func (c *connection) refuseBody(why error) bool {
	x, fault := &c.x, clientFault(why)
	if refused, ok := errors.AsType[*message.Error](fault); ok {
		c.edge.refuse(x, refused.Status, 0, "%s", refused.Reason)
		c.edge.log.write(x, time.Now())
		c.finish()
		return false
	}
	x.status, x.aborted = statusClientGone, true
	c.edge.log.write(x, time.Now())
	c.abort()
	return false
}

// refuse answers what is no proper request.
func (c *connection) refuse(why *message.Error) {
	x := &c.x
	x.reset()
	c.chunked, c.untilClose, c.bare, c.persistent = false, false, false, false
	c.left = 1 // nobody knows how much there is to come
	x.request, x.protocol, x.host, x.started = message.Request{Method: "-"}, "HTTP/1.1", "", time.Now()
	x.identify()
	x.length, x.whole, x.declared = 0, nil, -1
	c.edge.refuse(x, why.Status, 0, "%s", why.Reason)
	c.edge.log.write(x, time.Now())
	c.finish()
}

// reset makes an exchange ready for the next request of its connection.
func (x *exchange) reset() {
	x.late.stop()
	x.aborted, x.whole = false, nil
	x.touched.Store(false)
	x.received.Store(true)
	x.begun.Store(false)
	x.status, x.bytes, x.held, x.backend, x.cookie, x.cached = 0, 0, 0, springtide.Backend{}, "", ""
	x.guarded.reset()
	x.mu.Lock()
	defer x.mu.Unlock()
	if !errors.Is(x.cause, errClientGone) {
		x.cause = nil
	}
	x.upstream = nil
}

// Read reads the request's body.
func (c *connection) Read(p []byte) (int, error) {
	if c.head.Length == message.Chunked {
		return c.readChunks(p)
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), c.left)]
	var n int
	var err error
	if c.next < c.filled {
		n = copy(p, (*c.input)[c.next:c.filled])
		c.next += n
	} else {
		n, err = c.readBody(p)
	}
	c.left -= int64(n)
	return n, unexpected(err)
}

func (c *connection) readChunks(p []byte) (int, error) {
	for len(c.piece) == 0 {
		if c.chunks.Done {
			return 0, io.EOF
		}
		if c.next == c.filled {
			if err := c.readMoreChunks(); err != nil {
				return 0, err
			}
		}
		piece, used, err := c.chunks.Next((*c.input)[c.next:c.filled])
		if err != nil {
			return 0, err
		}
		c.next += used
		c.piece = piece
	}
	n := copy(p, c.piece)
	c.piece = c.piece[n:]
	return n, nil
}

// readMoreChunks reads into the room behind the head, whose strings are in use.
func (c *connection) readMoreChunks() error {
	if len(*c.input)-c.body < headBuffer/4 {
		// The head stays in the old buffer, which is not lent out again.
		c.input, c.body = borrow(&c.edge.buffers.heads), 0
	}
	n, err := c.readBody((*c.input)[c.body:])
	c.next, c.filled = c.body, c.body+n
	return unexpected(err)
}

// readBody reads from the client, with the patience that is left for it.
func (c *connection) readBody(p []byte) (int, error) {
	began := c.edge.clock.elapsed.Load()
	if !c.x.begun.Load() {
		c.reading.set(began + int64(c.patience))
	}
	n, err := c.conn.Read(p)
	if c.reading.stop() && n > 0 {
		_ = c.wire.SetReadDeadline(time.Time{})
	}
	c.patience -= time.Duration(c.edge.clock.elapsed.Load() - began)
	if c.progress += n; c.progress >= bodyProgress {
		c.patience, c.progress = bodyTimeout, 0
	}
	if n > 0 {
		err = nil
	}
	return n, err
}

func (c *connection) trailer() message.Fields { return c.chunks.Trailer }

func (c *connection) stopReading() { _ = c.wire.SetReadDeadline(longAgo) }

// rest gives back what a long answer needs no more, if the request's body has come.
func (c *connection) rest() {
	if c.head.Length != 0 || c.next < c.filled || c.input == nil && c.out == nil || len(c.waiting) > 0 {
		return
	}
	if c.input != nil {
		c.x.brief()
	}
	c.release()
}

// release gives the buffers back.
func (c *connection) release() {
	if c.input != nil {
		c.edge.buffers.giveBack(c.input)
		c.input = nil
	}
	if c.out != nil {
		c.edge.buffers.sends.Put(c.out)
		c.out = nil
	}
	c.next, c.filled, c.waiting = 0, 0, nil
}

// finish ends a connection whose client has its answer. If it may still be
// sending, what it sends is read for a while: closed at once, the kernel would
// take the answer back.
func (c *connection) finish() {
	unread := c.next < c.filled || c.left != 0 && !c.chunks.Done
	if tlsConn, ok := c.conn.(*tls.Conn); ok {
		c.writing.set(c.edge.clock.after(headerTimeout))
		_ = tlsConn.CloseWrite()
		c.writing.stop()
	}
	if !unread || c.wire.CloseWrite() != nil {
		return
	}
	_ = c.wire.SetReadDeadline(time.Now().Add(lingerFor))
	buffer := borrow(&c.edge.buffers.heads)
	defer c.edge.buffers.giveBack(buffer)
	for {
		if _, err := c.wire.Read(*buffer); err != nil {
			return
		}
	}
}

// abort ends a connection so that its client cannot take the answer for whole.
func (c *connection) abort() {
	if c.untilClose {
		_ = c.wire.SetLinger(0)
	}
	_ = c.wire.Close()
}

// look is called by the clock.
func (c *connection) look(now int64) {
	c.reading.check(now, c.stopReading)
	c.writing.check(now, func() { _ = c.wire.SetWriteDeadline(longAgo) })
	c.x.late.check(now, c.x.tooLate)
	if c.stall.look(c.wire.raw) {
		_ = c.wire.SetWriteDeadline(longAgo)
	}
	served := c.served.Load()
	if served%2 == 0 || served != c.seen || c.x.touched.Load() && !c.x.received.Load() {
		c.seen, c.ended = served, 0
		return
	}
	ended, broken := hungUp(c.wire.raw)
	if c.ended++; !ended {
		c.ended = 0
	}
	if broken || c.ended > halfClosed {
		c.gone(errClientGone)
		c.x.end(errClientGone)
	}
}

// closeIdle closes the connection unless a request has begun to come.
func (c *connection) closeIdle() {
	if c.idle.Load() {
		c.stopReading()
	}
}
