package edge

import (
	"context"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"time"
)

// The measures of forwarding.
const (
	connectTimeout = time.Second
	// idleInstanceConnection is shorter than what servers are known to keep an
	// idle connection for (gunicorn 2 s, Node and uvicorn 5 s), so that none is
	// closed by its server just when a request that must not be repeated is sent.
	idleInstanceConnection = 1500 * time.Millisecond
	// lateBody is how long a client may go on sending a request that was answered already.
	lateBody = 5 * time.Second
	// headWithBody is up to what length a body is waited for so that it goes out
	// together with its head.
	headWithBody = 32 << 10
	// countEvery is after how many bytes those of a long body are counted.
	countEvery = 1 << 20
)

// forwarder exchanges requests and answers with instances, over net/http.
type forwarder struct {
	transport *http.Transport
	buffers   sync.Pool // of *[]byte, for bodies
	small     sync.Pool // of *[]byte, for streams: they are many and mostly silent
	head      func(x *exchange, status int)
}

func newForwarder(head func(*exchange, int)) *forwarder {
	dialer := &net.Dialer{Timeout: connectTimeout}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &forwarder{
		transport: &http.Transport{
			DialContext:            dialer.DialContext,
			Protocols:              protocols,
			DisableCompression:     true,
			MaxIdleConnsPerHost:    1024,
			IdleConnTimeout:        idleInstanceConnection,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 1 << 20,
		},
		buffers: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }},
		small:   sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }},
		head:    head,
	}
}

// forward sends the request to the leased instance and its answer to the
// client. An error means that nothing was answered.
func (f *forwarder) forward(ctx context.Context, x *exchange, l *lease) error {
	body := newAttemptBody(x)
	x.body = body
	defer body.leave(x)
	listener := &answerListener{x: x, lease: l}
	response, err := f.transport.RoundTrip(outgoing(listener.trace(ctx), x, l, body))
	listener.stop()
	if err == nil {
		err = f.check(x, response)
	}
	if err != nil {
		untouched := body.giveUp()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		dial, isDial := errors.AsType[*net.OpError](err)
		return &failure{
			cause:      err,
			unsent:     isDial && dial.Op == "dial" && untouched,
			repeatable: untouched && idempotent(x.request.Method) && !listener.heard() && !isTimeout(err),
		}
	}
	defer response.Body.Close()
	stream := response.StatusCode == http.StatusSwitchingProtocols || isEventStream(response)
	l.answer(response.StatusCode, time.Since(x.started), stream)
	if response.StatusCode == http.StatusSwitchingProtocols {
		return f.relay(ctx, x, l, response)
	}
	f.answer(ctx, x, l, response)
	return nil
}

// check refuses answers that make no sense.
func (f *forwarder) check(x *exchange, response *http.Response) error {
	switch {
	case response.StatusCode == http.StatusSwitchingProtocols:
		asked, got := upgradeOf(x.request.Header), upgradeOf(response.Header)
		if _, writable := response.Body.(io.ReadWriteCloser); asked != "" && strings.EqualFold(asked, got) && writable {
			return nil
		}
	case response.StatusCode >= 200 && response.StatusCode <= 999:
		return nil
	}
	response.Body.Close()
	return errors.New("the instance's answer makes no sense")
}

// answer passes the instance's answer on.
func (f *forwarder) answer(ctx context.Context, x *exchange, l *lease, response *http.Response) {
	header := x.writer.Header()
	copyFields(header, response.Header, func(string) bool { return false })
	if _, ok := header["Content-Type"]; !ok {
		header["Content-Type"] = nil // or net/http guesses one
	}
	for name := range response.Trailer {
		header.Add("Trailer", name)
	}
	f.head(x, response.StatusCode)
	announced := len(response.Trailer)
	err := f.copyBody(x, l, response)
	switch {
	case err == nil:
		response.Body.Close() // completes the trailer
		if len(response.Trailer) > 0 && announced == 0 {
			x.flush()
		}
		for name, values := range response.Trailer {
			if len(response.Trailer) != announced {
				name = http.TrailerPrefix + name
			}
			header[name] = values
		}
	case l.stream && response.ContentLength < 0 && x.request.Context().Err() == nil &&
		(context.Cause(ctx) != nil || l.lettingGo()):
		// An event stream whose instance is let go ends as if it were complete.
	default:
		x.aborted = true
	}
}

// copyBody copies the body as it comes.
func (f *forwarder) copyBody(x *exchange, l *lease, response *http.Response) error {
	length := response.ContentLength
	if x.request.Method == http.MethodHead || length == 0 ||
		response.StatusCode == http.StatusNoContent || response.StatusCode == http.StatusNotModified {
		return nil
	}
	pool := &f.buffers
	if l.stream {
		pool = &f.small
	}
	buffer := pool.Get().(*[]byte)
	defer pool.Put(buffer)
	if length < 0 || length > headWithBody {
		if err := x.flush(); err != nil {
			return err
		}
	}
	counted := int64(0)
	defer func() { l.sent(x.bytes - counted) }()
	for {
		n, readErr := response.Body.Read(*buffer)
		if n > 0 {
			written, err := x.writer.Write((*buffer)[:n])
			x.bytes += int64(written)
			if err == nil && readErr == nil && x.bytes != length {
				err = x.flush()
			}
			if err != nil {
				return err
			}
		}
		if x.bytes-counted >= countEvery {
			l.sent(x.bytes - counted)
			counted = x.bytes
		}
		if readErr == io.EOF {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}

// flush sends the client what is buffered.
func (x *exchange) flush() error { return x.control.Flush() }

func isEventStream(response *http.Response) bool {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	return kind == "text/event-stream"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// outgoing makes the request that the instance gets.
func outgoing(ctx context.Context, x *exchange, l *lease, body *attemptBody) *http.Request {
	r := x.request
	out := &http.Request{
		Method: r.Method, URL: outgoingURL(r, l.backend.Address), Host: r.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: outgoingHeader(x), ContentLength: r.ContentLength, Trailer: r.Trailer,
	}
	switch {
	case hasBody(r):
		out.Body = body
	case !idempotent(r.Method) && (r.Header["Idempotency-Key"] != nil || r.Header["X-Idempotency-Key"] != nil):
		// net/http would repeat it by itself; with a body that it cannot rewind it does not.
		out.Body = io.NopCloser(strings.NewReader(""))
	}
	return out.WithContext(ctx)
}

// answerListener hears the first signs of an answer: whether there was one at
// all, and the informational answers, which it passes on.
type answerListener struct {
	x     *exchange
	lease *lease

	mu      sync.Mutex
	began   bool
	stopped bool // the exchange's writer is no longer for the listener to use
	late    *time.Timer
}

func (a *answerListener) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: a.await,
		GotFirstResponseByte: func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.began = true
		},
		Got1xxResponse: a.inform,
	})
}

// await ends the exchange if its answer does not begin in time. The time of an
// upload is the client's, so it starts when the request is with the instance.
func (a *answerListener) await(httptrace.WroteRequestInfo) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit := a.lease.answerWithin; limit > 0 && !a.stopped && a.late == nil {
		a.late = time.AfterFunc(limit, func() { a.lease.end(context.DeadlineExceeded) })
	}
}

func (a *answerListener) inform(status int, fields textproto.MIMEHeader) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	// net/http itself tells the client to continue, when the body is read.
	if a.stopped || status == http.StatusContinue || !a.x.request.ProtoAtLeast(1, 1) {
		return nil
	}
	header := a.x.writer.Header()
	copyFields(header, http.Header(fields), func(string) bool { return false })
	a.x.writer.WriteHeader(status)
	clear(header)
	return nil
}

func (a *answerListener) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.late != nil {
		a.late.Stop()
	}
}

func (a *answerListener) heard() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.began
}
