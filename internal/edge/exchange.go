package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
	"github.com/springtide/springtide/internal/message"
)

// statusClientGone stands in the access log where no answer was given because
// the client was gone.
const statusClientGone = 499

// Why an exchange is ended by its client.
var (
	errClientGone = errors.New("the client is gone")
	errSlowBody   = &message.Error{Status: http.StatusRequestTimeout, Reason: "the request's body takes too long"}
)

// client is the client's side of an exchange. Implemented by connection
// (HTTP/1) and stream (HTTP/2).
type client interface {
	// Reader reads the request's body.
	io.Reader
	// trailer gives the fields that came behind the body, once that ended.
	trailer() message.Fields
	// inform sends an informational answer at once.
	inform(status int, fields message.Fields, options []string) error
	// begin takes the head of the answer. It and what is written may wait for
	// flush or end, which completes the answer.
	begin(a *answer) error
	io.Writer
	flush() error
	end(trailer message.Fields) error
	// stopReading has a Read that waits return, if the connection is at its end
	// anyway.
	stopReading()
	// tunnel hands out the connection, and what came behind the request.
	tunnel() (net.Conn, []byte, error)
}

// preparer is a client that writes the head of what is stored as the cache has it
// prepared. Implemented by connection and lane; other clients are given its fields.
type preparer interface {
	// beginStored is begin for an answer of the cache's, which has the fields and the
	// Content-Length; what else there is to say is in the answer.
	beginStored(a *answer, stored *cache.Answer) error
}

// answer is the head of an answer as a client gets it.
type answer struct {
	message.Response
	reason  string
	options []string // see message.RequestHead
	// length is the body's, declared what Content-Length says; see message.Framing.
	length, declared int64
	// leaving says that the edge wants its connections to end, unread that the
	// rest of the request's body will not be read.
	leaving, unread bool
	id              string
}

// exchange is one request and what became of it.
type exchange struct {
	client client
	// ctx ends when the client is gone.
	ctx     context.Context //nolint:containedctx // it is that of the request
	request message.Request
	// length is the request's body's; see message.Framing.
	length   int64
	declared int64
	options  []string
	upgrade  string // the protocol that the client would go on with
	expects  bool   // the client waits for 100 before it sends the body
	secure   bool   // the client asks for what there is by https alone
	whole    []byte // the body, where all of it came with the head
	protocol string
	address  string // the client's IP address
	port     string // the local one
	id       string
	digits   [32]byte // of an id that the edge has given
	host     string
	started  time.Time
	ticket   ticket
	guarded
	answer answer
	// onward are the fields that an instance gets in place of the request's; nil: those.
	onward message.Fields
	// covered says that there is another answer if the first instance gives none.
	covered bool
	// gate is that of its route, where it was looked for already.
	gate *gate
	// arrived says that it is counted at that gate, and lease is what it was given
	// there; ahead is the connection that it was sent on. See lane.ahead.
	arrived bool
	lease   *lease
	ahead   *upstream
	// found is what the cache says of the request, once it was asked.
	found found
	// interrupt is end, made once.
	interrupt context.CancelCauseFunc

	// touched says that the body is being sent, so that it cannot be sent again;
	// received that all of it came.
	touched  atomic.Bool
	received atomic.Bool
	// speaking is held while a head goes to the client; begun: the final one did.
	speaking sync.Mutex
	begun    atomic.Bool
	// late rings when the instance takes too long.
	late alarm

	mu       sync.Mutex
	cause    error     // why it was ended from outside
	upstream *upstream // what that interrupts
	tunnel   *tunnel   // what it goes on as, once both sides agreed to another protocol

	// What became of it:
	status  int
	bytes   int64 // of the answer's body
	held    time.Duration
	backend springtide.Backend // the one that answered, or was last tried
	cookie  string             // by which the client is sent there again; may be empty
	aborted bool               // the answer is incomplete: the client must notice
	cached  springtide.CacheResult
}

// end ends the exchange with an instance from outside. Implements what a lease
// needs.
func (x *exchange) end(cause error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause != nil {
		return
	}
	x.cause = cause
	switch {
	case x.tunnel != nil && errors.Is(cause, errInstanceLost):
		x.tunnel.end(closeBadGateway, false)
	case x.tunnel != nil:
		x.tunnel.end(closeGoingAway, true)
	case x.upstream != nil:
		_ = x.upstream.wire.SetDeadline(longAgo)
	}
}

// longAgo is a deadline that interrupts what waits.
var longAgo = time.Unix(1, 0)

// hold makes a connection the one that end interrupts; nil takes it back. It
// gives the cause if the exchange is ended.
func (x *exchange) hold(u *upstream) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.upstream = u
	return x.cause
}

// tooLate ends an exchange whose instance takes too long.
func (x *exchange) tooLate() { x.end(context.DeadlineExceeded) }

// over gives why the exchange was ended, nil if it was not.
func (x *exchange) over() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cause
}

// apps serves a request for an app.
func (e *edge) apps(x *exchange) {
	defer e.finish(x)
	e.introduce(x)
	e.serve(x)
}

// plain serves what comes without TLS: it redirects to where the apps are.
func (e *edge) plain(x *exchange) {
	defer e.finish(x)
	if e.introduce(x); x.request.Scheme == "https" { // a proxy has done what TLS is for
		e.serve(x)
		return
	}
	path := pathOf(x.request.Target)
	answer, known := e.router.challenge(x.host, path)
	switch {
	case known:
		e.answerChallenge(x, answer)
	case strings.HasPrefix(path, challengePath):
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
		if x.begun.Load() {
			x.aborted = true
		} else {
			e.refuse(x, http.StatusBadGateway, 0, "the edge failed to handle this request")
		}
	}
	if x.tunnel == nil && e.log != nil { // or it is not over yet
		e.log.write(x, time.Now())
	}
}

// serve answers a request: a file, from the cache, or by an instance.
func (e *edge) serve(x *exchange) {
	switch {
	case x.request.Method == http.MethodConnect:
		e.refuse(x, http.StatusNotImplemented, 0, "CONNECT is not served here")
		return
	case x.secure && x.request.Scheme != "https": // RFC 9110, section 7.4
		e.refuse(x, http.StatusMisdirectedRequest, 0, "what there is by https is not served without TLS")
		return
	case x.countsForwards() && e.isLast(x):
		return
	}
	if x.found.gate != nil {
		e.goOn(x)
		return
	}
	g := x.gate
	if g == nil {
		g = e.router.find(x.host)
	}
	if g == nil {
		e.refuseUnknown(x)
		return
	}
	if e.guard(x, g) || e.serveFile(x, g) || e.serveCached(x, g) {
		return
	}
	if g, err := e.pass(x, g); err != nil {
		e.refuseAfter(x, g, err)
	}
}

// pass takes a request through the gate to an instance, and to another one if the
// first fails before it answered. An error means that nothing was answered; the
// gate is the one where that was so, nil if there is none any more.
func (e *edge) pass(x *exchange, g *gate) (*gate, error) {
	if !x.arrived {
		g.arrive(&x.ticket, x.started)
	}
	for {
		err := e.attempt(x, g)
		failure, failed := errors.AsType[*failure](err)
		switch {
		case errors.Is(err, errMoved):
			if g = e.router.find(x.host); g == nil { // the newest table knows where it went
				return nil, err
			}
			g.arrive(&x.ticket, x.started)
		case !failed || x.abandoned(err):
			return g, err
		case x.covered:
			return g, err
		case failure.unsent, failure.repeatable && g.repeat(&x.ticket):
			g.count((*meter).retried)
		default:
			return g, err
		}
	}
}

// refuseAfter answers a request that no instance did, if its client is there.
func (e *edge) refuseAfter(x *exchange, g *gate, err error) {
	failure, failed := errors.AsType[*failure](err)
	switch {
	case e.givenUp(x, err):
	case g == nil:
		e.refuseUnknown(x)
	case failed:
		e.refuseFailed(x, g, failure)
	default:
		e.refuseHeld(x, g, err)
	}
}

// abandoned says that an exchange failed by its client.
func (x *exchange) abandoned(err error) bool {
	return byClient(x.over()) || x.ctx.Err() != nil || errors.Is(err, errClientGone)
}

// givenUp ends an exchange that failed by its client.
func (e *edge) givenUp(x *exchange, err error) bool {
	if fault, ok := errors.AsType[*message.Error](x.over()); ok {
		e.refuse(x, fault.Status, 0, "%s", fault.Reason)
		return true
	}
	if x.ctx.Err() != nil || errors.Is(err, errClientGone) {
		x.status, x.aborted = statusClientGone, true
		return true
	}
	return false
}

// attempt waits for an instance and has it answer. It gives an error, of type
// *failure if there was an instance, when nothing was answered.
func (e *edge) attempt(x *exchange, g *gate) error {
	l := x.lease
	if x.lease = nil; l == nil {
		x.approach(g)
		var err error
		l, err = g.enter(x.ctx, &x.ticket)
		x.held = x.ticket.waited
		if err != nil {
			return err
		}
	}
	x.backend = l.backend
	defer func() {
		if x.tunnel == nil {
			l.done()
		} else {
			x.tunnel.lease = l
		}
	}()
	l.slow = !x.alone()
	x.remember(g.sticky.Load(), l)
	to, hurried := x.destination(l)
	err := e.forwarder.forward(x, to)
	if failure, failed := errors.AsType[*failure](err); failed {
		x.cookie = ""
		if !failure.byClient {
			failure.repeatable = failure.repeatable || hurried && failure.timedOut()
			g.failed(&x.ticket, l, failure)
		}
	}
	return err
}

// approach makes the exchange ready for the gate.
func (x *exchange) approach(g *gate) {
	x.renew()
	if x.interrupt == nil {
		x.interrupt = x.end
	}
	x.ticket.end = x.interrupt
	if sticky := g.sticky.Load(); sticky != nil {
		x.ticket.session = cookie(x.request.Fields, sticky.Cookie)
	}
}

// destination gives the instance of a lease. Hurried says that it is given less time
// than the route gives, since the request can go to another one then.
func (x *exchange) destination(l *lease) (to destination, hurried bool) {
	to = destination{address: l.backend.Address, answerWithin: l.answerWithin, account: l}
	hurried = l.tryWithin > 0 && x.alone() && idempotent(x.request.Method) && (to.answerWithin == 0 || l.tryWithin < to.answerWithin)
	if hurried {
		to.answerWithin = l.tryWithin
	}
	return to, hurried
}

// renew makes the exchange ready for an attempt: what has ended the one before
// does not end this one, unless it was the client.
func (x *exchange) renew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !byClient(x.cause) {
		x.cause = nil
	}
}

func byClient(cause error) bool {
	_, refused := errors.AsType[*message.Error](cause)
	return refused || errors.Is(cause, errClientGone)
}

// failure is an exchange with an instance that gave no answer.
type failure struct {
	cause error
	// unsent: no byte of the request was sent, so that it may be sent elsewhere.
	unsent bool
	// repeatable: no byte of an answer came, and sending the request once more
	// does no harm.
	repeatable bool
	// byClient: the instance is not to blame.
	byClient bool
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

// timedOut says that the instance took too long.
func (f *failure) timedOut() bool {
	var timeout net.Error
	return errors.As(f.cause, &timeout) && timeout.Timeout()
}

// lacking says that the edge itself has no socket left to reach an instance by.
func (f *failure) lacking() bool {
	return errors.Is(f.cause, syscall.EMFILE) || errors.Is(f.cause, syscall.ENFILE) || errors.Is(f.cause, syscall.EADDRNOTAVAIL)
}

// idempotent says that RFC 9110 lets the request be sent twice.
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
