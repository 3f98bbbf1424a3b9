package edge

import (
	"container/list"
	"context"
	"errors"
	"math/rand/v2"
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
	bell  *bell
	files atomic.Pointer[[]springtide.PublicFiles] // the route's
	// cached is how the cache deals with the route; nil: not at all.
	cached atomic.Pointer[cache.Rules]
	// protection is the route's.
	protection atomic.Pointer[protection]

	mu        sync.Mutex
	route     springtide.Route
	removed   bool // no table names it any more
	meter     *meter
	meters    map[springtide.GroupID]*meter
	instances map[springtide.InstanceID]*instance
	ready     []*instance // those that may be given requests
	queue     list.List   // of *ticket
}

// instance is a [springtide.Backend] and what is open on it.
type instance struct {
	springtide.Backend
	// requests are plain requests, and streams where they count as requests.
	requests int
	streams  int
	// avoid is until when it is passed over, since it refused a connection.
	avoid  time.Time
	leases map[*lease]struct{}
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
	// waited is how long it was held so far.
	waited time.Duration

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
	meter    *meter
	backend  springtide.Backend
	end      context.CancelCauseFunc
	// finishStreams is the route's: streams count as requests.
	finishStreams bool
	// answerWithin is the route's: how long the instance may take; 0: for ever.
	answerWithin time.Duration
	begun        time.Time
	stream       bool
	separate     bool // it counts as a stream, not as a request
	answered     bool
}

func newGate(bell *bell) *gate {
	return &gate{
		bell: bell, removed: true,
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

// choose gives the best instance for the ticket, nil if it has to wait.
func (g *gate) choose(t *ticket, now time.Time) *instance {
	return balance(g.ready, rand.IntN, func(i *instance) bool {
		return (g.route.Concurrency <= 0 || i.requests < g.route.Concurrency) &&
			!now.Before(i.avoid) && (i.Instance != t.passOver || !now.Before(t.until))
	})
}

func (g *gate) grant(i *instance, t *ticket, now time.Time) *lease {
	i.requests++
	g.meter.begun(now)
	l := &t.granted
	*l = lease{
		gate: g, instance: i, meter: g.meter, backend: i.Backend, end: t.end,
		finishStreams: g.route.FinishStreams, answerWithin: g.route.AnswerWithin, begun: now,
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
		} else if t.passOver == "" {
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
func (g *gate) failed(t *ticket, l *lease, unreachable bool) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t.passOver, t.until = l.backend.Instance, now.Add(avoidFor)
	if unreachable && l.instance.Address == l.backend.Address {
		l.instance.avoid = t.until
	}
	time.AfterFunc(avoidFor, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.dispatch(time.Now())
	})
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
	g.place(route.Backends)
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
func (g *gate) place(backends []springtide.Backend) {
	named := make(map[springtide.InstanceID]bool, len(backends))
	g.ready = g.ready[:0]
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
		i.Backend, i.avoid = backend, time.Time{}
		switch backend.State {
		case springtide.BackendReady:
			g.ready = append(g.ready, i)
		case springtide.BackendClosing:
			i.end(errInstanceClosing, false)
		}
	}
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
	g.place(nil)
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
		if i.requests+i.streams > 0 {
			report.Instances = append(report.Instances, springtide.InstanceLoad{Instance: id, Requests: i.requests, Streams: i.streams})
		}
	}
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
