package edge

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// The measures of ending a WebSocket.
const (
	// frameLimit is how long the rest of a frame may take before a close frame.
	frameLimit = 2 * time.Second
	// farewell is how long the client has to answer a close frame.
	farewell = time.Second
)

// relay passes bytes both ways after the instance agreed to another protocol.
// When it is the instance that ends, or has to, the client of a WebSocket is
// told so by a close frame: 1001 if the instance is let go, 1014 if it crashed.
func (f *forwarder) relay(ctx context.Context, x *exchange, l *lease, response *http.Response) error {
	instance := response.Body.(io.ReadWriteCloser) // check looked
	client, buffered, err := x.control.Hijack()
	if err != nil {
		instance.Close()
		return &failure{cause: err}
	}
	defer client.Close()
	x.begun, x.status = true, response.StatusCode

	header := make(http.Header, len(response.Header)+3)
	copyFields(header, response.Header, func(string) bool { return false })
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", upgradeOf(response.Header))
	header.Set("X-Request-Id", x.id)
	head := &http.Response{StatusCode: response.StatusCode, ProtoMajor: 1, ProtoMinor: 1, Header: header}
	if err := head.Write(client); err != nil {
		instance.Close()
		return nil
	}

	down := &downstream{client: client, framed: strings.EqualFold(upgradeOf(response.Header), "websocket")}
	clientGone, instanceGone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(clientGone)
		f.copySmall(instance, buffered.Reader)
		instance.Close() // the client is gone, or the instance does not read
	}()
	go func() {
		defer close(instanceGone)
		f.copySmall(down, instance)
	}()
	select {
	case <-clientGone:
	case <-instanceGone:
		code := uint16(closeBadGateway)
		if l.lettingGo() || context.Cause(ctx) != nil {
			code = closeGoingAway
		}
		down.end(code, false)
	case <-ctx.Done():
		down.end(closeGoingAway, true)
	}
	if down.saidGoodbye() {
		_ = client.SetReadDeadline(time.Now().Add(farewell))
		<-clientGone
	}
	instance.Close()
	client.Close()
	<-clientGone
	<-instanceGone
	x.bytes = down.count()
	l.sent(x.bytes)
	return nil
}

// copySmall copies until either side fails.
func (f *forwarder) copySmall(to io.Writer, from io.Reader) {
	buffer := f.small.Get().(*[]byte)
	defer f.small.Put(buffer)
	for {
		n, err := from.Read(*buffer)
		if n > 0 {
			if _, err := to.Write((*buffer)[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
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
