package scale

import (
	"math"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// The windows of the rate at which runs arrive.
const (
	longRate  = 60 * time.Second
	shortRate = 6 * time.Second
	// runMemory is how fast the mean time of a run forgets.
	runMemory = time.Minute
	// runRest is what the past is worth at least, in runs, however long ago.
	runRest = 1e-3
)

// workMeter folds what is told of queues into what [DecideWork] needs to know.
type workMeter struct {
	mu     sync.Mutex
	queues map[queueID]*queueMeter
	// last is when it was told, since from when on without a gap.
	last, since time.Time
	reports     int64
}

type queueID struct {
	environment springtide.EnvironmentID
	queue       springtide.QueueName
}

// queueMeter is what is known of one queue.
type queueMeter struct {
	work     Work
	arrivals []arrivals
	// took and ended are sums that decay; their quotient is the mean.
	took, ended float64
	decayed     time.Time
	lastWork    time.Time
	changed     time.Time
	report      int64 // the last one that it was in
}

// arrivals is how many runs had ever arrived at a time.
type arrivals struct {
	at    time.Time
	count int64
}

func newWorkMeter() *workMeter { return &workMeter{queues: make(map[queueID]*queueMeter)} }

// report takes in how all queues stand. It tells whether anything is new, and
// whether runs wait in a queue where none did.
func (m *workMeter) report(now time.Time, all []Work) (news, waiting bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first := m.reports == 0
	if now.Sub(m.last) > workLost {
		m.since = now
		news = true
	}
	m.last = now
	m.reports++
	for _, work := range all {
		id := queueID{work.Environment, work.Queue}
		q, known := m.queues[id]
		if !known {
			q = &queueMeter{decayed: now}
			m.queues[id] = q
			if first || work.Finished > 0 { // what was before is not of now
				q.begin(now, work)
			}
		}
		q.report = m.reports
		waiting = waiting || work.Backlog > 0 && (!known || q.work.Backlog == 0)
		news = q.take(now, work) || news
	}
	for id, q := range m.queues {
		if q.report != m.reports && q.take(now, Work{Arrived: q.work.Arrived, Finished: q.work.Finished, Busy: q.work.Busy}) {
			news = true
		} else if q.report != m.reports && now.Sub(q.changed) > 10*time.Minute {
			delete(m.queues, id)
		}
	}
	return news, waiting
}

// begin starts from counters of which it is not known when they grew. Their
// mean is worth one run.
func (q *queueMeter) begin(now time.Time, work Work) {
	q.arrivals = []arrivals{{now, work.Arrived}}
	q.took, q.ended = 0, 0
	if work.Finished > 0 {
		q.took, q.ended = work.Busy.Seconds()/float64(work.Finished), 1
	}
	q.work.Arrived, q.work.Finished, q.work.Busy = work.Arrived, work.Finished, work.Busy
}

// take takes in how the queue stands; it tells whether that is new.
func (q *queueMeter) take(now time.Time, work Work) bool {
	before := q.work
	if work.Arrived < before.Arrived || work.Finished < before.Finished || work.Busy < before.Busy {
		q.begin(now, work) // the counters are others
		before = q.work
	}
	if ended := work.Finished - before.Finished; ended > 0 {
		keep := math.Exp(-now.Sub(q.decayed).Seconds() / runMemory.Seconds())
		if q.ended > 0 {
			keep = min(max(keep, runRest/q.ended), 1)
		}
		q.took = q.took*keep + (work.Busy - before.Busy).Seconds()
		q.ended = q.ended*keep + float64(ended)
		q.decayed = now
	}
	if n := len(q.arrivals); n == 0 {
		q.arrivals = append(q.arrivals, arrivals{now, before.Arrived})
	} else if now.Sub(q.arrivals[n-1].at) >= time.Second {
		// What arrived since may have done so at any time in between.
		q.arrivals = append(q.arrivals, arrivals{now, work.Arrived})
	}
	for len(q.arrivals) > 1 && now.Sub(q.arrivals[1].at) >= longRate {
		q.arrivals = q.arrivals[1:]
	}
	moved := work.Arrived != before.Arrived || work.Finished != before.Finished
	if moved || work.Backlog+work.UnderWay > 0 || before.Backlog+before.UnderWay > 0 {
		q.lastWork = now
	}
	same := work == before
	q.work = work
	if !same {
		q.changed = now
	}
	return !same
}

// rate gives the arrivals per second: the mean of the last minute, or that of
// the last 6 s if it is more than 4.5 standard deviations above. A burst is no
// rate: both halves of the 6 s must be above.
func (q *queueMeter) rate(now time.Time) float64 {
	long := q.mean(now, 0, longRate)
	short := min(q.mean(now, 0, shortRate/2), q.mean(now, shortRate/2, shortRate/2))
	if short > long+4.5*math.Sqrt(long/shortRate.Seconds()) {
		return short
	}
	return long
}

// mean gives the arrivals per second in a window that ended so long ago.
func (q *queueMeter) mean(now time.Time, ago, window time.Duration) float64 {
	return float64(q.count(now, ago)-q.count(now, ago+window)) / window.Seconds()
}

// count gives how many had arrived so long ago, to a second.
func (q *queueMeter) count(now time.Time, ago time.Duration) int64 {
	if ago == 0 {
		return q.work.Arrived
	}
	count := q.arrivals[0].count
	for _, a := range q.arrivals[1:] {
		if now.Sub(a.at) < ago {
			break
		}
		count = a.count
	}
	return count
}

func (q *queueMeter) service() time.Duration {
	if q.ended <= 0 {
		return 0
	}
	return time.Duration(q.took / q.ended * float64(time.Second))
}

// view gives how the queues of a group stand, since when they are watched, and
// when they last had work.
func (m *workMeter) view(now time.Time, environment springtide.EnvironmentID, names []springtide.QueueName) (o WorkObservation, since, lastWork time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o.Known = !m.last.IsZero() && now.Sub(m.last) <= workLost
	since = m.since
	if !o.Known {
		since = now
	}
	for _, name := range names {
		q, known := m.queues[queueID{environment, name}]
		if !known {
			continue
		}
		lastWork = later(lastWork, q.lastWork)
		o.Queues = append(o.Queues, QueueWork{
			Queue: name, Backlog: max(q.work.Backlog, 0), Oldest: q.work.Oldest,
			UnderWay: max(q.work.UnderWay, 0), Limit: q.work.Limit,
			Rate: q.rate(now), Service: q.service(),
		})
	}
	return o, since, lastWork
}

// changedAt gives when anything was last new about the queues of a group.
func (m *workMeter) changedAt(environment springtide.EnvironmentID, names []springtide.QueueName) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.since
	for _, name := range names {
		if q, known := m.queues[queueID{environment, name}]; known {
			at = later(at, q.changed)
		}
	}
	return at
}

// needs remembers the highest need of a window. Each entry is higher than all
// that follow.
type needs []need

type need struct {
	at        time.Time
	instances int
}

// add takes in the need of now.
func (n *needs) add(now time.Time, instances int) {
	kept := *n
	for len(kept) > 0 && kept[len(kept)-1].instances <= instances {
		kept = kept[:len(kept)-1]
	}
	*n = append(kept, need{now, instances})
}

// highest gives the highest need since so long ago, and forgets what was before.
func (n *needs) highest(now time.Time, window time.Duration) int {
	for len(*n) > 0 && now.Sub((*n)[0].at) >= window {
		*n = (*n)[1:]
	}
	if len(*n) == 0 {
		return 0
	}
	return (*n)[0].instances
}
