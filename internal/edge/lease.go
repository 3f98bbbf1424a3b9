package edge

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/springtide/springtide"
)

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
	at       int   // its place among the instance's
	rest     int64 // what was sent and is not counted yet
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
	l.at, i.leases = len(i.leases), append(i.leases, l)
	return l
}

// answer counts the first byte of the instance's answer. A stream then gives
// its slot back, unless streams count as requests.
func (l *lease) answer(status int, latency time.Duration, stream bool, now time.Time) {
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

// sent counts bytes of the answer's body: many at once, and the rest when it is done.
func (l *lease) sent(bytes int64) {
	if l.rest += bytes; l.rest < countEvery {
		return
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	l.meter.sent(l.rest)
	l.rest = 0
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
	last := len(i.leases) - 1
	i.leases[l.at], i.leases[last].at = i.leases[last], l.at
	i.leases[last] = nil
	i.leases = i.leases[:last]
	if l.rest > 0 {
		l.meter.sent(l.rest)
	}
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

// failed records that an instance failed the ticket's exchange before it
// answered. One that could not even be reached is passed over by all requests; if
// that is for want of sockets here, by this one, which tries again later.
func (g *gate) failed(t *ticket, l *lease, f *failure) {
	now := time.Now()
	g.mu.Lock()
	t.passOver, t.until = l.backend.Instance, now.Add(avoidFor)
	t.spent += now.Sub(l.begun)
	i := l.instance
	if !f.lacking() {
		if f.unsent && i.Address == l.backend.Address {
			i.avoid = t.until
		}
		if f.timedOut() && !l.slow {
			g.balancer.learn(i, now.Sub(l.begun), now)
		}
		g.blame(i, f.Error(), l.begun, now)
	}
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

// hasOther says that there is an instance that the lease's request could go to
// in place of its own, and that does not fail itself.
func (g *gate) hasOther(l *lease, now time.Time) bool {
	return slices.ContainsFunc(g.balancer.ready, func(i *instance) bool {
		return i != l.instance && i.failures == 0 && g.open(i, now)
	})
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
