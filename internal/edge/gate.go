package edge

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cache"
)

// avoidFor is how long an instance that refused a connection is passed over,
// unless a new table says more.
const avoidFor = time.Second

// Why a request gets no instance.
var (
	errStopped     = errors.New("stopped")
	errQueueFull   = errors.New("too many requests wait for an instance")
	errHeldTooLong = errors.New("no instance became free in time")
	errMoved       = errors.New("the route was removed")
	errLeaving     = errors.New("the edge is being stopped")
)

// Why an exchange with an instance is ended from outside.
var (
	errInstanceClosing = errors.New("the instance is being stopped")
	errEdgeClosing     = errors.New("the edge is being stopped")
)

// gate lets the requests of one process through to its instances: as many at a
// time as they may serve; the others are held in the order they came in.
//
// Whenever a slot may have come free, dispatch hands it to the first in the
// queue that can use it. So a request that arrives takes a slot only if nobody
// in the queue could.
type gate struct {
	bell   *bell
	logger *slog.Logger
	files  atomic.Pointer[[]springtide.PublicFiles] // the route's
	sticky atomic.Pointer[springtide.Sticky]        // the route's; nil: any instance will do
	// cached is how the cache deals with the route; nil: not at all.
	cached  atomic.Pointer[cache.Rules]
	results cacheResults
	// protection is the route's.
	protection atomic.Pointer[protection]

	mu        sync.Mutex
	route     springtide.Route
	removed   bool // no table names it any more
	meter     *meter
	meters    map[springtide.GroupID]*meter
	instances map[springtide.InstanceID]*instance
	sessions  map[string]*instance // by what names them in cookies
	balancer  balancer
	retries   retryBudget
	queue     list.List // of *ticket
}

// instance is a [springtide.Backend] and what is open on it.
type instance struct {
	springtide.Backend
	// requests are plain requests, and streams where they count as requests.
	requests int
	streams  int
	// lasting are the streams among the requests.
	lasting int
	// avoid is until when it is passed over, since it refused a connection.
	avoid  time.Time
	leases map[*lease]struct{}
	token  string // in cookies

	conduct
	pace     pace
	weight   float64   // of a request on it, in balancing
	since    time.Time // when it became ready
	answered bool      // since the last sweep
}

// sound says that it may be asked, if it has a free slot.
func (i *instance) sound(now time.Time) bool {
	return !now.Before(i.avoid) && (!i.ejected() || !now.Before(i.until) && i.requests == 0)
}

// ticket is one request at the gate. It may be held more than once, when its
// instance fails before it answered; its place in the queue is by arrival.
type ticket struct {
	arrived time.Time
	// end cancels the exchange with the instance.
	end context.CancelCauseFunc
	// passOver is an instance that failed it, until then.
	passOver springtide.InstanceID
	until    time.Time
	// waited is how long it was held so far, and spent how long instances took
	// that gave no answer.
	waited, spent time.Duration
	// session names the instance that its client was answered by before.
	session string
	// repeated: it was repeated, or is going to be.
	repeated, repeating bool

	element *list.Element
	since   time.Time
	called  chan struct{} // closed when lease or err is set
	lease   *lease
	err     error
	granted lease // what lease is once it is there; an earlier one is done by then
}

// lease is the right to use an instance for one exchange.
type lease struct {
	gate     *gate
	instance *instance
	ticket   *ticket
	meter    *meter
	backend  springtide.Backend
	token    string // the instance's
	end      context.CancelCauseFunc
	// finishStreams is the route's: streams count as requests.
	finishStreams bool
	// answerWithin is how long the instance may take; 0: for ever. tryWithin is
	// how long, if the request can go to another one then; 0: as answerWithin says.
	answerWithin, tryWithin time.Duration
	begun                   time.Time
	// slow: the client's own pace is in the latency.
	slow     bool
	stream   bool
	separate bool // it counts as a stream, not as a request
	answered bool
}

func newGate(bell *bell, logger *slog.Logger) *gate {
	return &gate{
		bell: bell, logger: logger, removed: true, balancer: balancer{random: rand.IntN},
		meters: map[springtide.GroupID]*meter{}, instances: map[springtide.InstanceID]*instance{},
	}
}

// arrive counts a request, which has the ticket from now on.
func (g *gate) arrive(t *ticket, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.meter != nil {
		g.meter.arrived()
	}
	g.retries.arrived(now)
	g.bell.changed()
	*t = ticket{arrived: now}
}

// enter gives the ticket an instance, waiting for one as long as the route
// allows from the ticket's arrival on.
func (g *gate) enter(ctx context.Context, t *ticket) (*lease, error) {
	now := time.Now()
	g.mu.Lock()
	switch {
	case g.removed:
		g.mu.Unlock()
		return nil, errMoved
	case g.route.Stopped:
		g.mu.Unlock()
		return nil, errStopped
	}
	if chosen := g.choose(t, now); chosen != nil {
		l := g.grant(chosen, t, now)
		g.mu.Unlock()
		g.bell.changed()
		return l, nil
	}
	patience := g.route.HoldFor - now.Sub(t.arrived)
	switch {
	case patience <= 0:
		g.mu.Unlock()
		return nil, errHeldTooLong
	case t.called == nil && g.queue.Len() >= g.route.HoldLimit:
		g.mu.Unlock()
		return nil, errQueueFull
	}
	g.hold(t, now)
	g.mu.Unlock()
	g.bell.urgent()

	if t.session != "" && patience > sessionPatience { // then any instance will do
		defer time.AfterFunc(sessionPatience, func() { g.wake(time.Now()) }).Stop()
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-t.called:
	case <-timer.C:
		g.giveUp(t, errHeldTooLong)
	case <-ctx.Done():
		g.giveUp(t, context.Cause(ctx))
	}
	return t.lease, t.err
}

// choose gives the best instance for the ticket, nil if it has to wait: that of
// its session, unless that is not to be asked, or has been full for too long.
func (g *gate) choose(t *ticket, now time.Time) *instance {
	usable := func(i *instance) bool {
		return (g.route.Concurrency <= 0 || i.requests < g.route.Concurrency) && i.sound(now) && !t.passesOver(i, now)
	}
	if own := g.sessions[t.session]; own != nil && own.sound(now) && !t.passesOver(own, now) {
		if usable(own) {
			return own
		}
		if now.Sub(t.arrived) < sessionPatience {
			return nil
		}
	}
	return g.balancer.choose(now, usable)
}

func (t *ticket) passesOver(i *instance, now time.Time) bool {
	return i.Instance == t.passOver && now.Before(t.until)
}

func (g *gate) grant(i *instance, t *ticket, now time.Time) *lease {
	i.requests++
	g.meter.begun(now)
	l := &t.granted
	*l = lease{
		gate: g, instance: i, ticket: t, meter: g.meter, backend: i.Backend, token: i.token, end: t.end,
		finishStreams: g.route.FinishStreams, answerWithin: g.route.AnswerWithin, begun: now,
	}
	if l.answerWithin > 0 {
		l.answerWithin = max(l.answerWithin-t.spent, tick)
	}
	if try := g.route.TryWithin; try > 0 && !t.repeated && g.hasOther(l, now) && g.retries.room(now) {
		l.tryWithin = try
	}
	i.leases[l] = struct{}{}
	return l
}

// hold puts the ticket into the queue, by arrival: one that comes back goes
// before those that came later.
func (g *gate) hold(t *ticket, now time.Time) {
	g.meter.held(t.called != nil)
	t.called, t.lease, t.err, t.since = make(chan struct{}), nil, nil, now
	before := g.queue.Back()
	for before != nil && t.arrived.Before(before.Value.(*ticket).arrived) {
		before = before.Prev()
	}
	if before == nil {
		t.element = g.queue.PushFront(t)
	} else {
		t.element = g.queue.InsertAfter(t, before)
	}
}

// call takes the ticket out of the queue with its answer.
func (g *gate) call(t *ticket, l *lease, err error, now time.Time) {
	g.queue.Remove(t.element)
	t.element = nil
	waited := now.Sub(t.since)
	t.waited += waited
	g.meter.released(waited)
	t.lease, t.err = l, err
	close(t.called)
}

// giveUp takes a ticket out of the queue, unless it was just called.
func (g *gate) giveUp(t *ticket, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.element != nil {
		g.call(t, nil, err, time.Now())
		g.bell.changed()
	}
}

// dispatch hands free slots to the queue, first come, first served.
func (g *gate) dispatch(now time.Time) {
	for e := g.queue.Front(); e != nil; {
		next := e.Next()
		t := e.Value.(*ticket)
		if chosen := g.choose(t, now); chosen != nil {
			g.call(t, g.grant(chosen, t, now), nil, now)
		} else if t.passOver == "" && t.session == "" {
			return // those behind it can do no better, but for slots that they too are kept from
		}
		e = next
	}
}

// refuseAll answers everybody in the queue.
func (g *gate) refuseAll(err error, now time.Time) {
	for e := g.queue.Front(); e != nil; e = g.queue.Front() {
		g.call(e.Value.(*ticket), nil, err, now)
	}
}

// failed records that an instance failed the ticket's exchange before it
// answered. One that could not even be reached is passed over by all requests.
func (g *gate) failed(t *ticket, l *lease, f *failure) {
	now := time.Now()
	g.mu.Lock()
	t.passOver, t.until = l.backend.Instance, now.Add(avoidFor)
	t.spent += now.Sub(l.begun)
	i := l.instance
	if f.unsent && i.Address == l.backend.Address {
		i.avoid = t.until
	}
	if f.timedOut() && !l.slow {
		g.balancer.learn(i, now.Sub(l.begun), now)
	}
	g.blame(i, f.Error(), l.begun, now)
	g.mu.Unlock()
	time.AfterFunc(avoidFor, func() { g.wake(time.Now()) })
}

// blame records a failure of an instance, and ejects it if it fails too often.
func (g *gate) blame(i *instance, what string, begun, now time.Time) {
	if !g.balancer.failing(i, what, begun, now) {
		return
	}
	g.meter.ejected()
	g.bell.urgent()
	pause, failures, number := i.until.Sub(now), i.failures, i.ejections
	time.AfterFunc(pause, func() { g.wake(time.Now()) })
	go g.logger.Warn("an instance is given no requests for a while, since it fails", // not with the lock held
		"instance", i.Instance, "failures", failures, "last", what, "for", pause.Round(time.Millisecond), "time", number)
}

// wake hands free slots to the queue after a time that somebody waited for.
func (g *gate) wake(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dispatch(now)
}

// hasOther says that there is an instance that the lease's request could go to
// in place of its own, and that does not fail itself.
func (g *gate) hasOther(l *lease, now time.Time) bool {
	for _, i := range g.balancer.ready {
		if i != l.instance && i.failures == 0 && i.sound(now) && (g.route.Concurrency <= 0 || i.requests < g.route.Concurrency) {
			return true
		}
	}
	return false
}

// repeat reports whether the ticket's request may be repeated, once, within the
// budget, and counts it.
func (g *gate) repeat(t *ticket) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	granted := t.repeating || !t.repeated && g.retries.take(time.Now())
	t.repeated, t.repeating = t.repeated || granted, false
	return granted
}

// apply makes a route of a new table count for all requests from now on.
func (g *gate) apply(route springtide.Route, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	previous := g.meter
	g.route, g.removed = route, false
	g.files.Store(&route.Files)
	g.cached.Store(cacheRules(&route))
	g.protection.Store(newProtection(route))
	g.sticky.Store(route.Sticky)
	g.balancer.slowStart = route.SlowStart
	if g.meters[route.Group] == nil {
		g.meters[route.Group] = newMeter(route.Group, now)
	}
	g.meter = g.meters[route.Group]
	if n := g.queue.Len(); previous != nil && previous != g.meter && n > 0 {
		previous.demand.Held -= n
		previous.touched = true
		g.meter.demand.Held += n
		g.meter.touched = true
	}
	g.place(route.Backends, now)
	for e := g.queue.Front(); e != nil; e = e.Next() {
		e.Value.(*ticket).passOver = ""
	}
	if route.Stopped {
		g.refuseAll(errStopped, now)
	}
	g.dispatch(now)
}

// place takes over the backends of a table. What is open on one that is closing
// or gone is ended.
func (g *gate) place(backends []springtide.Backend, now time.Time) {
	named := make(map[springtide.InstanceID]bool, len(backends))
	ready := g.balancer.ready
	clear(ready)
	ready = ready[:0]
	g.sessions = nil
	if g.route.Sticky != nil {
		g.sessions = make(map[string]*instance, len(backends))
	}
	for _, backend := range backends {
		if named[backend.Instance] {
			continue
		}
		named[backend.Instance] = true
		i := g.instances[backend.Instance]
		if i == nil {
			i = &instance{leases: map[*lease]struct{}{}}
			g.instances[backend.Instance] = i
		}
		if i.State != springtide.BackendReady || i.Address != backend.Address { // it was started anew
			i.conduct, i.pace, i.weight, i.since = conduct{}, 0, 1, now
		}
		i.Backend, i.avoid = backend, time.Time{}
		switch backend.State {
		case springtide.BackendReady:
			ready = append(ready, i)
			if g.sessions != nil {
				i.token = tokenOf(g.route.SessionKey, i.Instance)
				g.sessions[i.token] = i
			}
		case springtide.BackendClosing:
			i.end(errInstanceClosing, false)
		}
	}
	g.balancer.ready = ready
	g.balancer.keepFloor()
	g.balancer.sweep(now)
	for id, i := range g.instances {
		if named[id] {
			continue
		}
		i.State = springtide.BackendClosing
		i.end(errInstanceClosing, false)
		if len(i.leases) == 0 {
			delete(g.instances, id)
		}
	}
}

// remove says that no route of the new table is for this gate.
func (g *gate) remove(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.removed {
		return
	}
	g.removed = true
	g.refuseAll(errMoved, now)
	g.place(nil, now)
}

// end ends what is open on all instances; with the streams left or all of it.
func (g *gate) end(cause error, streamsOnly bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refuseAll(errLeaving, time.Now())
	for _, i := range g.instances {
		i.end(cause, streamsOnly)
	}
}

func (i *instance) end(cause error, streamsOnly bool) {
	for l := range i.leases {
		if l.stream || !streamsOnly {
			l.end(cause)
		}
	}
}

// report adds what is open and what was counted. It reports true when the gate
// is no longer needed.
func (g *gate) report(report *springtide.EdgeReport, now time.Time, interval time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, i := range g.instances {
		if i.requests+i.streams > 0 || i.ejected() {
			load := springtide.InstanceLoad{Instance: id, Requests: i.requests, Streams: i.streams, Lasting: i.lasting}
			if i.ejected() {
				load.Ejected, load.Failing = i.until, i.last
			}
			report.Instances = append(report.Instances, load)
		}
	}
	g.results.move(g.meter)
	for group, m := range g.meters {
		if !m.quiet() {
			report.Demand = append(report.Demand, m.take(now, interval))
		} else if m != g.meter || g.removed {
			delete(g.meters, group)
		}
	}
	return g.removed && len(g.instances) == 0 && len(g.meters) == 0
}

// putBack takes counts that could not be reported.
func (g *gate) putBack(demand *springtide.Demand) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.meters[demand.Group]; m != nil {
		m.putBack(demand)
	}
}

// current gives the route in force.
func (g *gate) current() springtide.Route {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.route
}

// count lets the group's meter count something besides an exchange.
func (g *gate) count(what func(*meter)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.meter != nil {
		what(g.meter)
		g.bell.changed()
	}
}

// answer counts the first byte of the instance's answer. A stream then gives
// its slot back, unless streams count as requests.
func (l *lease) answer(status int, latency time.Duration, stream bool) {
	now := time.Now()
	g := l.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	l.answered, l.stream = true, stream
	l.meter.answered(status, latency)
	if isGatewayFailure(status) {
		g.blame(l.instance, "it answered "+strconv.Itoa(status), l.begun, now)
	} else {
		l.instance.succeeded(l.begun, now)
		if !l.slow {
			g.balancer.learn(l.instance, now.Sub(l.begun), now)
		}
	}
	if stream && l.finishStreams {
		l.instance.lasting++
	}
	if stream && !l.finishStreams {
		l.separate = true
		l.instance.requests--
		l.instance.streams++
		l.meter.ended(now)
		l.meter.completed(now.Sub(l.begun))
		l.meter.streams(1)
		g.dispatch(now)
	}
	g.bell.changed()
}

// another reports whether an answer of that status is not to be passed on: the
// request, which can be repeated, goes to another instance.
func (l *lease) another(status int) bool {
	if status != http.StatusBadGateway && status != http.StatusServiceUnavailable {
		return false
	}
	now := time.Now()
	g, t := l.gate, l.ticket
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.repeated || !g.hasOther(l, now) || !g.retries.take(now) {
		return false
	}
	t.repeated, t.repeating = true, true
	return true
}

// sent counts bytes of the answer's body.
func (l *lease) sent(bytes int64) {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	l.meter.sent(bytes)
}

// lettingGo says that the instance is to end: what it leaves unfinished is no failure.
func (l *lease) lettingGo() bool {
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	return l.instance.State != springtide.BackendReady
}

// done gives the slot back.
func (l *lease) done() {
	now := time.Now()
	g := l.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	i := l.instance
	delete(i.leases, l)
	if l.separate {
		i.streams--
		l.meter.streams(-1)
	} else {
		i.requests--
		if l.stream {
			i.lasting--
		}
		l.meter.ended(now)
		if l.answered {
			l.meter.completed(now.Sub(l.begun))
		}
	}
	if len(i.leases) == 0 && g.instances[i.Instance] == i && i.State == springtide.BackendClosing && !g.names(i.Instance) {
		delete(g.instances, i.Instance)
	}
	g.dispatch(now)
	g.bell.changed()
}

// names says whether the route in force has the instance.
func (g *gate) names(id springtide.InstanceID) bool {
	if g.removed {
		return false
	}
	for _, backend := range g.route.Backends {
		if backend.Instance == id {
			return true
		}
	}
	return false
}
