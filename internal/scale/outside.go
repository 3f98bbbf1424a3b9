package scale

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// Outside is what a look at the outside queue of a process gave.
type Outside struct {
	// Group is the one that takes from the queue.
	Group springtide.GroupID
	// Waiting and UnderWay count messages; what nobody counts is 0.
	Waiting, UnderWay int
	// Trouble says why nothing was seen; empty: it was.
	Trouble string
	// Every is how often it is looked at.
	Every time.Duration
}

const (
	// A span in which a queue drains is one measure of how fast instances work: as
	// soon as so many messages went, or when it is so long.
	drainedEnough = 8
	drainSpan     = 20 * time.Second
	// keptDrains is of how many spans the best counts: in the others messages came,
	// which hid some of those that went.
	keptDrains = 6
	// stillFor is for how many times as long as a message is taken to take nothing must
	// have moved for it to take longer, stillLong where that was learnt: as many may
	// have come as went.
	stillFor, stillLong = 3, 10
)

// outsideMeter learns of outside queues what a ledger would tell: how fast
// messages come, and how long one takes. All that is seen is how many there are.
type outsideMeter struct {
	mu     sync.Mutex
	queues map[process]*outsideQueue
}

// process names a process of an environment.
type process struct {
	environment springtide.EnvironmentID
	name        springtide.ProcessName
}

func processOf(id springtide.GroupID) process { return process{id.Environment, id.Process} }

// outsideQueue is what is known of one.
type outsideQueue struct {
	last, since time.Time // when it was seen last, and from when on without a gap
	lost        time.Duration
	trouble     string
	seen        Outside
	ready       int // instances then
	// work has what came and went, reckoned from the depths.
	work          queueMeter
	arrived, gone float64
	occupied      time.Time // from when on something waits; zero: nothing does
	flow          float64   // messages that came in a second, while instances were busy
	worked        time.Time // when they were so last
	speed         float64   // messages a second that an instance does; 0: not known
	drains        []float64 // speeds of the last spans
	span          drain
}

// drain is a span in which a queue got shorter, or stood still.
type drain struct {
	took   time.Duration
	worked float64 // seconds of all instances together
	went   int     // messages less than before
}

func newOutsideMeter() *outsideMeter { return &outsideMeter{queues: make(map[process]*outsideQueue)} }

// report takes in a look, with how many instances were ready. It tells whether
// that is news, and whether messages wait where none did.
func (m *outsideMeter) report(now time.Time, o Outside, ready int) (news, waiting bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[processOf(o.Group)]
	if q == nil {
		q = &outsideQueue{}
		q.work.decayed = now
		m.queues[processOf(o.Group)] = q
	}
	if o.Trouble != "" {
		news = q.trouble == ""
		q.trouble, q.last, q.span = o.Trouble, time.Time{}, drain{}
		q.work.changed = now
		return news, false
	}
	waiting = o.Waiting > 0 && (q.seen.Waiting == 0 || q.last.IsZero())
	news = q.trouble != "" || o.Waiting != q.seen.Waiting || o.UnderWay != q.seen.UnderWay
	q.trouble, q.lost = "", workLost+2*o.Every
	q.look(now, o, ready)
	return news, waiting
}

// look learns from the difference to the look before.
func (q *outsideQueue) look(now time.Time, o Outside, ready int) {
	if o.Waiting == 0 {
		q.occupied = time.Time{}
	} else if q.occupied.IsZero() {
		q.occupied = now
	}
	interval := now.Sub(q.last)
	if q.last.IsZero() || interval > q.lost {
		q.since, q.span = now, drain{}
	} else {
		went := q.seen.Waiting + q.seen.UnderWay - o.Waiting - o.UnderWay
		busy := q.seen.Waiting > 0 && o.Waiting > 0 && ready > 0
		q.learn(interval, went, max(ready, q.ready), busy)
		done := max(q.working(now, o, busy, ready)*q.speed*interval.Seconds(), float64(went))
		q.gone += done
		q.arrived += done - float64(went)
		if busy {
			q.worked, q.flow = now, q.flow+(max(done-float64(went), 0)/interval.Seconds()-q.flow)/4
		}
	}
	q.last, q.seen, q.ready = now, o, ready
	q.work.take(now, Work{
		Backlog: o.Waiting, UnderWay: o.UnderWay, Arrived: int64(q.arrived), Finished: int64(q.gone),
	})
}

// working is how many instances had a message in an interval. Where nothing waits
// and nobody counts what is under way, it is as if as many came as did while
// something waited, for a minute: that is what keeps the queue empty.
func (q *outsideQueue) working(now time.Time, o Outside, busy bool, ready int) float64 {
	switch underWay := max(o.UnderWay, q.seen.UnderWay); {
	case busy:
		return float64(ready)
	case underWay > 0:
		return float64(min(underWay, ready))
	case q.speed > 0 && now.Sub(q.worked) < longRate:
		return min(q.flow/q.speed, float64(ready))
	}
	return 0
}

// learn takes in an interval. How many messages came is not seen, so at least as
// many went as there are less: the most of some spans counts. Where something waits
// and nothing moves, a message takes longer than that.
func (q *outsideQueue) learn(interval time.Duration, went, ready int, busy bool) {
	span := &q.span
	if ready == 0 || span.went+went < 0 || went != 0 && span.went+went == 0 {
		*span = drain{}
		return
	}
	span.took += interval
	span.worked += interval.Seconds() * float64(ready)
	span.went += went
	switch {
	case span.went >= drainedEnough || span.took >= drainSpan && span.went > 0:
		q.drains = append(q.drains, float64(span.went)/span.worked)
		q.drains = q.drains[max(len(q.drains)-keptDrains, 0):]
		q.speed = slices.Max(q.drains)
		*span = drain{}
	case !busy:
		*span = drain{}
	case span.went == 0 && (len(q.drains) == 0 && span.took.Seconds()*max(q.speed, 1/assumedService.Seconds()) > stillFor ||
		span.took.Seconds()*q.speed > stillLong):
		q.speed, q.drains = 1/span.took.Seconds(), nil
	}
}

// view gives how the queue of a group stands, for so many slots of an instance,
// since when it is watched, and when it last had work.
func (m *outsideMeter) view(now time.Time, id springtide.GroupID, queue *springtide.OutsideQueue, slots int) (o WorkObservation, since, lastWork time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queues[processOf(id)]
	if q == nil {
		return WorkObservation{Trouble: queue.String() + " has not been looked at yet"}, now, time.Time{}
	}
	o.Trouble = q.trouble
	if o.Known = q.trouble == "" && now.Sub(q.last) <= q.lost; !o.Known {
		return o, now, q.work.lastWork
	}
	slots = max(slots, 1)
	// Workers that take more than they can do at a time leave the rest waiting.
	underWay := min(q.seen.UnderWay, q.ready*slots)
	work := QueueWork{
		Queue: springtide.QueueName(queue.String()), UnderWay: underWay, Backlog: q.seen.Waiting + q.seen.UnderWay - underWay,
		Rate: q.work.rate(now),
	}
	if q.speed > 0 {
		work.Service = time.Duration(float64(slots) / q.speed * float64(time.Second))
	}
	if work.Backlog > 0 {
		if !q.occupied.IsZero() {
			work.Oldest = now.Sub(q.occupied)
		}
		if work.Rate > 0 { // by Little's law, in a queue that is served in turn
			work.Oldest = min(work.Oldest, time.Duration(float64(work.Backlog)/work.Rate*float64(time.Second)))
		}
	}
	o.Queues = []QueueWork{work}
	return o, q.since, q.work.lastWork
}

// forget drops what is known of queues that nobody takes from any more.
func (m *outsideMeter) forget(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, q := range m.queues {
		if now.Sub(q.work.changed) > 10*time.Minute && now.Sub(q.last) > 10*time.Minute {
			delete(m.queues, id)
		}
	}
}

func (m *outsideMeter) changedAt(id springtide.GroupID) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q := m.queues[processOf(id)]; q != nil {
		return q.work.changed
	}
	return time.Time{}
}

// OutsideState is how an outside queue was when it was looked at last.
type OutsideState struct {
	Environment springtide.EnvironmentID
	Process     springtide.ProcessName
	// Waiting and UnderWay, and Trouble, are as in [Outside].
	Waiting, UnderWay int
	Trouble           string
}

// Outside tells how all outside queues are, in order of their processes.
func (s *Scaler) Outside() []OutsideState {
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	all := make([]OutsideState, 0, len(s.outside.queues))
	for id, q := range s.outside.queues {
		all = append(all, OutsideState{id.environment, id.name, q.seen.Waiting, q.seen.UnderWay, q.trouble})
	}
	slices.SortFunc(all, func(a, b OutsideState) int {
		return cmp.Or(cmp.Compare(a.Environment.String(), b.Environment.String()), cmp.Compare(a.Process, b.Process))
	})
	return all
}

// ReportOutside takes in a look at an outside queue; it does not block. Of what was
// not looked at for ten seconds and two of its intervals nothing is known.
func (s *Scaler) ReportOutside(o Outside) {
	news, waiting := s.outside.report(time.Now(), o, s.meter.ready(o.Group))
	if waiting {
		wake(s.held)
	} else if news {
		wake(s.news)
	}
}

// ready counts the instances of a group that are ready.
func (m *Meter) ready(id springtide.GroupID) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := m.groups[id]; g != nil {
		return g.ready()
	}
	return 0
}

// workOf gives what is known of the queues that a group takes from, its own or an
// outside one.
func (s *Scaler) workOf(now time.Time, spec Spec) (o WorkObservation, since, lastWork time.Time) {
	if queue := spec.Scale.Queue; queue != nil {
		return s.outside.view(now, spec.Group, queue, spec.Scale.Concurrency)
	}
	return s.work.view(now, spec.Group.Environment, spec.Worker.Queues)
}

// workChanged gives when anything was last new about them.
func (s *Scaler) workChanged(spec Spec) time.Time {
	if spec.Scale.Queue != nil {
		return s.outside.changedAt(spec.Group)
	}
	return s.work.changedAt(spec.Group.Environment, spec.Worker.Queues)
}
