package edge

import (
	"errors"
	"io"
	"sync"
	"time"
)

var errBodyLeft = errors.New("the request's body is no longer read")

// attemptBody is the request's body as one attempt sees it. net/http may read
// on after the attempt is over; then it gets an error instead of bytes that the
// next attempt needs.
type attemptBody struct {
	body   io.Reader
	length int64

	mu      sync.Mutex
	read    int64
	touched bool
	reading bool
	ended   bool
	left    bool
}

func newAttemptBody(x *exchange) *attemptBody {
	b := &attemptBody{body: x.request.Body, length: x.request.ContentLength}
	b.ended = !hasBody(x.request)
	if !b.ended && x.request.ProtoMajor == 1 {
		// Both directions may flow at a time. Not all of net/http's writers can,
		// and then they take turns.
		_ = x.control.EnableFullDuplex()
	}
	return b
}

// Read reads from the client.
func (b *attemptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.left {
		b.mu.Unlock()
		return 0, errBodyLeft
	}
	b.touched, b.reading = true, true
	b.mu.Unlock()
	n, err := b.body.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.read += int64(n)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// Close does not close the client's body, which is net/http's to close.
func (b *attemptBody) Close() error { return nil }

// giveUp ends the attempt; it reports whether the body is still whole.
func (b *attemptBody) giveUp() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	return !b.touched
}

// complete says that all of the body came.
func (b *attemptBody) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended || b.length >= 0 && b.read >= b.length
}

// leave ends the attempt, and has net/http not wait for ever for the rest of a
// body that is of no more use.
func (b *attemptBody) leave(x *exchange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
	if b.reading && x.request.ProtoMajor == 1 {
		_ = x.control.SetReadDeadline(time.Now().Add(lateBody))
	}
}
