package edge

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// The measures of ending a WebSocket.
const (
	// frameLimit is how long the rest of a frame may take before a close frame.
	frameLimit = 2 * time.Second
	// farewell is how long the client has to answer a close frame.
	farewell = time.Second
)

// relay answers a client that its connection goes on with the other protocol, to
// which the instance agreed. All the rest is the tunnel's.
func (f *forwarder) relay(x *exchange, to destination, u *upstream) error {
	client, early, err := x.client.tunnel()
	if err != nil {
		u.close()
		return &failure{cause: err}
	}
	protocol := upgradeOf(u.head.Upgrade)
	t := newTunnel(f, x, to, u, client, strings.EqualFold(protocol, "websocket"))
	t.up.first, t.down.first = early, bytes.Clone(u.unread())
	if err := x.goOnAs(t); err != nil {
		u.close()
		return &failure{cause: err}
	}
	x.begun.Store(true)
	x.status = u.head.Status
	if _, err := client.Write(appendSwitch(nil, x, u, protocol)); err != nil {
		x.aborted = true
		client.Close() // the tunnel ends as soon as it begins
	}
	u.giveBack()
	return nil
}

// goOnAs has end end the tunnel instead of interrupting the instance's connection.
// It gives the cause if the exchange is ended already.
func (x *exchange) goOnAs(t *tunnel) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil {
		x.tunnel = t
	}
	return x.cause
}

// brief keeps of the request what the access log tells at its end, so that the
// buffer of its head can go: tunnels last, and are many.
func (x *exchange) brief() {
	request := message.Request{Method: strings.Clone(x.request.Method), Target: strings.Clone(x.request.Target)}
	if agent := x.request.Fields.Get("User-Agent"); agent != "" {
		request.Fields = message.Fields{{Name: "User-Agent", Value: strings.Clone(agent)}}
	}
	x.request, x.onward, x.options = request, nil, nil
	x.id, x.host = strings.Clone(x.id), strings.Clone(x.host)
}

// appendSwitch appends the head by which the client is told of the new protocol.
func appendSwitch(to []byte, x *exchange, u *upstream, protocol string) []byte {
	to = appendStatus(to, u.head.Status, u.head.Reason)
	to = appendFields(to, x.withCookie(u.head.Fields), u.head.Options, false)
	to = message.AppendField(to, "X-Request-Id", x.id)
	to = message.AppendField(to, "Connection", "Upgrade")
	return append(message.AppendField(to, "Upgrade", protocol), "\r\n"...)
}

// downstream is the direction to the client. It knows where the frames are.
type downstream struct {
	client net.Conn
	framed bool

	mu     sync.Mutex
	frames frames
	bytes  int64
	// ending is the code of the close frame that goes out at the next boundary.
	ending uint16
	// over: nothing more is written. ended is closed then.
	over    bool
	goodbye bool
	ended   chan struct{}
}

// Write passes on what the instance sent, up to where the stream is to end.
func (d *downstream) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.over:
		return len(p), nil // the client has been told goodbye
	case !d.framed:
	case d.ending != 0:
		p = p[:d.frames.pass(p)]
	default:
		d.frames.passAll(p)
	}
	n, err := d.client.Write(p)
	d.bytes += int64(n)
	if err != nil {
		d.finish()
		return n, err
	}
	if d.ending != 0 && d.frames.boundary() {
		d.sayGoodbye()
	}
	return n, nil
}

// end has the stream end with a close frame where one may stand. If more may
// come from the instance, it waits for the end of a frame that has begun.
func (d *downstream) end(code uint16, more bool) {
	// A client that does not read must not hold up the end.
	_ = d.client.SetWriteDeadline(time.Now().Add(frameLimit))
	d.mu.Lock()
	d.ending, d.ended = code, make(chan struct{})
	ended := d.ended
	switch {
	case d.over:
		close(ended)
	case !d.framed || !more && !d.frames.boundary():
		d.finish()
	case d.frames.boundary():
		d.sayGoodbye()
	}
	d.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(frameLimit):
	}
}

// sayGoodbye writes the close frame, unless the instance did.
func (d *downstream) sayGoodbye() {
	if !d.frames.closing {
		_, _ = d.client.Write(closeFrame(d.ending))
	}
	d.goodbye = true
	d.finish()
}

func (d *downstream) finish() {
	d.over = true
	if d.ended != nil {
		close(d.ended)
		d.ended = nil
	}
}

func (d *downstream) saidGoodbye() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.goodbye
}

func (d *downstream) count() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bytes
}
