package edge

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// statusClientGone stands in the access log where no answer was given because
// the client was gone.
const statusClientGone = 499

// exchange is one request and what became of it.
type exchange struct {
	writer  http.ResponseWriter
	control *http.ResponseController
	request *http.Request
	id      string
	host    string
	started time.Time
	body    *attemptBody // as the last attempt saw it

	// What became of it:
	status  int
	bytes   int64 // of the answer's body
	held    time.Duration
	backend springtide.Backend // the one that answered, or was last tried
	begun   bool               // the answer's head was sent
	aborted bool               // the answer is incomplete: the client must notice
}

func newExchange(w http.ResponseWriter, r *http.Request) *exchange {
	return &exchange{
		writer: w, control: http.NewResponseController(w), request: r,
		id: requestID(r.Header), host: hostOf(r.Host), started: time.Now(),
	}
}

// apps serves the requests for apps.
func (e *edge) apps(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	defer e.finish(x)
	e.serve(x)
}

// plain serves what comes without TLS: it redirects to where the apps are.
func (e *edge) plain(w http.ResponseWriter, r *http.Request) {
	x := newExchange(w, r)
	defer e.finish(x)
	answer, known := e.router.challenge(x.host, r.URL.Path)
	switch {
	case known:
		e.answerChallenge(x, answer)
	case strings.HasPrefix(r.URL.Path, challengePath):
		e.refuse(x, http.StatusNotFound, 0, "there is no such challenge")
	case e.router.find(x.host) == nil:
		e.refuseUnknown(x)
	default:
		e.redirect(x)
	}
}

// finish ends an exchange, also one that panicked: it is that request's failure
// and no other's.
func (e *edge) finish(x *exchange) {
	if fault := recover(); fault != nil {
		e.options.Logger.Error("a request panicked", "request", x.id, "host", x.host, "fault", fault, "stack", string(debug.Stack()))
		if x.begun {
			x.aborted = true
		} else {
			e.refuse(x, http.StatusBadGateway, 0, "the edge failed to handle this request")
		}
	}
	e.log.write(x, time.Now())
	if x.aborted {
		panic(http.ErrAbortHandler) // net/http closes the connection or resets the stream
	}
}

// serve takes a request through the gate to an instance, and to another one if
// the first fails before it answered.
func (e *edge) serve(x *exchange) {
	if x.request.Method == http.MethodConnect {
		e.refuse(x, http.StatusMethodNotAllowed, 0, "CONNECT is not served here")
		return
	}
	var g *gate
	var t *ticket
	repeated := false
	for {
		if g == nil {
			if g = e.router.find(x.host); g == nil {
				e.refuseUnknown(x)
				return
			}
			t = g.arrive(x.started)
		}
		err := e.attempt(x, g, t)
		failure, failed := errors.AsType[*failure](err)
		switch {
		case err == nil:
			return
		case errors.Is(err, errMoved):
			g = nil // the newest table knows where it went
			continue
		case x.request.Context().Err() != nil:
			x.status, x.aborted = statusClientGone, true
			return
		case !failed:
			e.refuseHeld(x, g, err)
			return
		case failure.unsent, failure.repeatable && !repeated:
			repeated = repeated || !failure.unsent
			g.count((*meter).retried)
		default:
			e.refuseFailed(x, g, failure)
			return
		}
	}
}

// attempt waits for an instance and has it answer. It gives an error, of type
// *failure if there was an instance, when nothing was answered.
func (e *edge) attempt(x *exchange, g *gate, t *ticket) error {
	ctx, end := context.WithCancelCause(x.request.Context())
	defer end(nil)
	t.end = end
	l, err := g.enter(ctx, t)
	x.held = t.waited
	if err != nil {
		return err
	}
	x.backend = l.backend
	defer l.done()
	err = e.forwarder.forward(ctx, x, l)
	if failure, failed := errors.AsType[*failure](err); failed {
		g.failed(t, l, failure.unsent)
	}
	return err
}

// failure is an exchange with an instance that gave no answer.
type failure struct {
	cause error
	// unsent: no byte of the request was sent, so that it may be sent elsewhere.
	unsent bool
	// repeatable: no byte of an answer came, and sending the request once more
	// does no harm.
	repeatable bool
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// timedOut says that the instance took too long.
func (f *failure) timedOut() bool {
	var timeout net.Error
	return errors.As(f.cause, &timeout) && timeout.Timeout()
}

// idempotent says that RFC 9110 lets the request be sent twice.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// hasBody says that the request may have a body.
func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}
