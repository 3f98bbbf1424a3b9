package edge

import (
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// informLimit is how many informational answers an instance may give to a request.
const informLimit = 100

var errNonsense = errors.New("the instance's answer makes no sense")

// forwarder exchanges requests and answers with instances.
type forwarder struct {
	clock   *clock
	buffers *buffers
	pool    *pool
	// leaving says that connections are to end.
	leaving func() bool
	// parking is where tunnels wait.
	parking *parking
}

func newForwarder(clock *clock, buffers *buffers, leaving func() bool) (*forwarder, error) {
	parking, err := newParking()
	return &forwarder{clock: clock, buffers: buffers, pool: newPool(clock, buffers), leaving: leaving, parking: parking}, err
}

// destination is where a request goes, and who is told what comes of it.
type destination struct {
	address string
	// folder is the shared folder that a file is wanted of; "" for an instance.
	folder string
	// answerWithin is how long the answer may take to begin; 0: for ever.
	answerWithin time.Duration
	account
}

// account is told of an exchange. Implemented by lease and unaccounted.
type account interface {
	// answer is told of the answer's head, and sent of bytes of its body.
	answer(status int, latency time.Duration, stream bool, now time.Time)
	sent(bytes int64)
	// lettingGo says that what is left unfinished is no failure.
	lettingGo() bool
	// another says that a request that can be repeated goes to another instance,
	// in place of an answer of that status.
	another(status int) bool
}

// forward sends the request where it is to go and the answer to the client. An
// error means that nothing was answered.
func (f *forwarder) forward(x *exchange, to destination) error {
	u, up, err := f.exchange(x, to)
	if err != nil {
		return err
	}
	if idempotent(x.request.Method) && !x.touched.Load() && to.another(u.head.Status) {
		_ = x.hold(nil) // it is over in any case
		u.close()
		return &failure{cause: errors.New("it answered " + strconv.Itoa(u.head.Status)), repeatable: true}
	}
	stream := u.head.Status == http.StatusSwitchingProtocols || isEventStream(u.head.Fields)
	now := time.Now()
	to.answer(u.head.Status, now.Sub(x.started), stream, now)
	if u.head.Status == http.StatusSwitchingProtocols {
		x.stopUpload(up)
		return f.relay(x, to, u)
	}
	complete := f.answer(x, to, u, stream)
	complete = x.stopUpload(up) && complete
	x.late.stop()
	if ended := x.hold(nil); ended == nil && complete && u.head.Persistent && u.start == u.end {
		_, attend := x.client.(*lane)
		f.pool.keep(u, attend && x.alone())
	} else {
		u.close()
	}
	return nil
}

// exchange sends the request and reads the head of the final answer. By itself
// it tries again only if a connection that was kept turns out to be dead.
func (f *forwarder) exchange(x *exchange, to destination) (*upstream, *upload, error) {
	again := false
	for {
		u, err := f.connect(x, to.address, again)
		if err != nil {
			return nil, nil, &failure{cause: err, unsent: true, byClient: x.ctx.Err() != nil}
		}
		up, err := f.ask(x, to, u)
		if err == nil {
			return u, up, nil
		}
		x.stopUpload(up)
		ended := x.hold(nil)
		if x.late.stop() {
			ended = x.over()
		}
		used, unsent, heard := u.used, errors.Is(err, errStale), u.heard
		u.close()
		repeatable := !x.touched.Load() && (unsent || idempotent(x.request.Method) && !heard)
		if used && ended == nil && repeatable {
			again = !unsent
			continue
		}
		if ended != nil {
			err = ended
		}
		return nil, nil, &failure{cause: err, repeatable: repeatable && !isTimeout(err), byClient: byClient(ended)}
	}
}

// connect gives the connection that the request was sent on ahead, one that was
// kept, or a new one.
func (f *forwarder) connect(x *exchange, address string, fresh bool) (*upstream, error) {
	if u := x.ahead; u != nil {
		x.ahead = nil
		return u, nil
	}
	if !fresh {
		if u := f.pool.take(address); u != nil {
			return u, nil
		}
	}
	return f.pool.dial(x.ctx, address)
}

// ask sends the request and waits for the final answer's head, on one connection.
func (f *forwarder) ask(x *exchange, to destination, u *upstream) (*upload, error) {
	if err := f.send(x, to, u); err != nil {
		return nil, err
	}
	up := f.upload(x, to.answerWithin, u)
	for range informLimit {
		if err := u.readHead(x.request.Method); err != nil {
			return up, err
		}
		switch status := u.head.Status; {
		case status == http.StatusContinue:
			up.agree()
		case status == http.StatusSwitchingProtocols:
			if x.upgrade == "" || !strings.EqualFold(x.upgrade, upgradeOf(u.head.Upgrade)) {
				return up, errNonsense
			}
			return up, f.inTime(x)
		case status < http.StatusOK:
			x.speaking.Lock()
			err := x.client.inform(status, u.head.Fields, u.head.Options)
			x.speaking.Unlock()
			if err != nil {
				x.end(errClientGone)
				return up, errClientGone
			}
		default:
			return up, f.inTime(x)
		}
	}
	return up, errNonsense
}

// send sends the request, unless it was sent ahead, and awaits the first bytes of the
// answer if there is no more to send.
func (f *forwarder) send(x *exchange, to destination, u *upstream) error {
	if u.told {
		u.told = false
		return u.err
	}
	if err := x.hold(u); err != nil {
		return err
	}
	if to.answerWithin > 0 && x.alone() {
		x.late.set(f.clock.after(to.answerWithin))
	}
	buffer := borrow(&f.buffers.sends)
	defer f.buffers.sends.Put(buffer)
	return u.ask(appendRequest((*buffer)[:0], x, to.folder), x.alone())
}

// inTime says whether the answer came before it was given up.
func (f *forwarder) inTime(x *exchange) error {
	if x.late.stop() {
		return x.over()
	}
	return nil
}

// answer passes the instance's answer on. It reports whether it was complete.
func (f *forwarder) answer(x *exchange, to destination, u *upstream, stream bool) bool {
	x.answer = answer{
		Response: u.head.Response, reason: u.head.Reason, options: u.head.Options,
		length: u.head.Length, declared: u.head.Declared, leaving: f.leaving(),
	}
	err := x.begin(&x.answer)
	var trailer message.Fields
	counted := int64(0)
	if err == nil {
		trailer, err = f.pass(x, u, func() {
			if x.bytes-counted >= countEvery {
				to.sent(x.bytes - counted)
				counted = x.bytes
			}
		})
	}
	complete := err == nil
	switch {
	case complete:
		err = x.client.end(passable(trailer))
	case stream && u.head.Length < 0 && x.ctx.Err() == nil && x.endsPolitely(to):
		// An event stream whose instance is let go ends as if it were complete.
		err = x.client.end(nil)
	}
	x.aborted = err != nil
	to.sent(x.bytes - counted)
	return complete
}

// endsPolitely says that what is left unfinished is so since the instance, or the
// edge, is let go.
func (x *exchange) endsPolitely(to account) bool {
	cause := x.over()
	if cause == nil {
		return to.lettingGo()
	}
	return !byClient(cause) && !errors.Is(cause, errInstanceLost)
}

// begin sends the head of the final answer.
func (x *exchange) begin(a *answer) error {
	x.speaking.Lock()
	defer x.speaking.Unlock()
	x.opening(a)
	if _, taken := x.client.(*taking); !taken { // the cache sees what the app said, and no more
		x.protection.dress(x, a)
		a.Fields = x.withCookie(a.Fields)
	}
	return x.client.begin(a)
}

// opening notes that an answer's head goes to the client.
func (x *exchange) opening(a *answer) {
	a.id = x.id
	// The rest of a body must not be taken for a request.
	a.unread = !x.received.Load()
	x.status = a.Status
	x.begun.Store(true)
	x.late.set(0) // who sent the body may have set it after the head came
}

func isEventStream(fields message.Fields) bool {
	kind, _, _ := strings.Cut(fields.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
