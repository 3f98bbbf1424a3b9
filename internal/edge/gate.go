package edge

import (
	"container/list"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
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
	errInstanceLost    = errors.New("the instance cannot be reached any more")
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
	leases []*lease // each knows its place
	token  string   // in cookies

	conduct
	pace     pace
	weight   float64   // of a request on it, in balancing
	since    time.Time // when it became ready
	answered bool      // since the last sweep
	doubted  bool      // somebody looks whether it can be reached
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

// enterNow gives the ticket an instance if there is no need to wait for one.
func (g *gate) enterNow(t *ticket) *lease {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.removed || g.route.Stopped {
		return nil
	}
	chosen := g.choose(t, now)
	if chosen == nil {
		return nil
	}
	g.bell.changed()
	return g.grant(chosen, t, now)
}

// choose gives the best instance for the ticket, nil if it has to wait: that of
// its session, unless that is not to be asked, or has been full for too long.
func (g *gate) choose(t *ticket, now time.Time) *instance {
	usable := func(i *instance) bool {
		return g.open(i, now) && !t.passesOver(i, now)
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
		} else if t.passOver == "" && t.session == "" || !g.free(now) {
			return // those behind it can do no better, but for slots that they too are kept from
		}
		e = next
	}
}

// free says that an instance has a free slot, for whomever.
func (g *gate) free(now time.Time) bool {
	return slices.ContainsFunc(g.balancer.ready, func(i *instance) bool { return g.open(i, now) })
}

// open says that an instance is to be asked, and has a free slot.
func (g *gate) open(i *instance, now time.Time) bool {
	return (g.route.Concurrency <= 0 || i.requests < g.route.Concurrency) && i.sound(now)
}

// refuseAll answers everybody in the queue.
func (g *gate) refuseAll(err error, now time.Time) {
	for e := g.queue.Front(); e != nil; e = g.queue.Front() {
		g.call(e.Value.(*ticket), nil, err, now)
	}
}

// wake hands free slots to the queue after a time that somebody waited for.
func (g *gate) wake(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.dispatch(now)
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
			i = &instance{}
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
		case springtide.BackendLost:
			g.doubt(i)
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

// drain gives how long what is open may go on; 0 if nothing is.
func (g *gate) drain() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, i := range g.instances {
		if len(i.leases) > 0 {
			return g.route.Drain
		}
	}
	return 0
}

func (i *instance) end(cause error, streamsOnly bool) {
	for _, l := range i.leases {
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
