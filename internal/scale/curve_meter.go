package scale

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

const (
	// binsPerOctave is how finely the concurrency of an instance is told apart.
	binsPerOctave = 4
	// enoughLatencies is of how many requests a latency must be known.
	enoughLatencies = 40
	// latencyMemory is how fast latencies of one concurrency are forgotten while it
	// is seen again, curveMemory for how long they count where it is not.
	latencyMemory = 30 * time.Second
	curveMemory   = time.Hour
	// mostSettled bounds for how many seconds the load must have been steady
	// before its latency counts.
	mostSettled = 8
)

// curveMeter learns the [Curve] of a group. Its zero value knows nothing.
type curveMeter struct {
	bins  map[int]*curveBin
	next  int64 // the second that is looked at next
	ready int   // instances that get requests, and
	since int64 // from which second on

	curve Curve
	at    int64 // the second for which curve is
}

// curveBin is what was seen at about one concurrency. All but the time are sums
// that decay.
type curveBin struct {
	at                   time.Time
	latencies            [len(springtide.Latencies{})]float32
	requests             float64
	service, completed   float64 // seconds, of how many requests
	concurrency, seconds float64
}

// learn takes in the seconds before the given one that are over, and of which no
// report comes any more. A second counts where nothing had changed while its
// requests were under way: as many instances, about as many requests, none held.
func (m *curveMeter) learn(now time.Time, second int64, g *groupMeter) {
	if ready := g.ready(); ready != m.ready {
		m.ready, m.since = ready, second
	}
	m.next = max(m.next, second-liveSeconds+mostSettled)
	for ; m.next < second-1; m.next++ {
		slot := g.live.at(m.next)
		if slot == nil || m.ready == 0 || slot.completed == 0 {
			continue
		}
		settled := min(1+int64(slot.latencies.Quantile(0.95)/time.Second), mostSettled)
		if busy, steady := m.steady(g, settled); steady {
			m.bin(now, busy/float64(m.ready)).add(now, slot, busy/float64(m.ready))
		}
	}
}

// steady gives the mean number of requests under way in the second that is
// looked at and so many before it, if it was about the same all the time.
func (m *curveMeter) steady(g *groupMeter, settled int64) (busy float64, steady bool) {
	if m.next-settled <= m.since {
		return 0, false
	}
	lowest, highest := math.Inf(1), 0.0
	for s := m.next - settled; s <= m.next; s++ {
		of := float64(g.seconds.at(s).Busy)
		lowest, highest, busy = min(lowest, of), max(highest, of), busy+of
		if slot := g.live.at(s); slot != nil && slot.heldTime > slot.service/50 {
			return 0, false
		}
	}
	busy /= float64(settled + 1)
	return busy, busy > 0 && highest-lowest <= busy/2+3*math.Sqrt(busy)
}

func (m *curveMeter) bin(now time.Time, concurrency float64) *curveBin {
	index := int(math.Round(binsPerOctave * math.Log2(max(concurrency, 0.1))))
	if m.bins == nil {
		m.bins = make(map[int]*curveBin)
	}
	if m.bins[index] == nil {
		m.bins[index] = &curveBin{at: now}
	}
	m.at = 0
	return m.bins[index]
}

func (b *curveBin) add(now time.Time, slot *liveSecond, concurrency float64) {
	keep := math.Exp(-max(now.Sub(b.at), 0).Seconds() / latencyMemory.Seconds())
	if b.requests > 0 { // what is known is not forgotten before something else is
		keep = max(keep, min(enoughLatencies/b.requests, 1)*0.9)
	}
	b.at = now
	b.requests, b.service, b.completed = b.requests*keep, b.service*keep, b.completed*keep
	b.concurrency, b.seconds = b.concurrency*keep+concurrency, b.seconds*keep+1
	for i, n := range slot.latencies {
		b.latencies[i] = b.latencies[i]*float32(keep) + float32(n)
		b.requests += float64(n)
	}
	b.service += slot.service.Seconds()
	b.completed += float64(slot.completed)
}

// quantile gives the latency that a share q of the requests stayed below. Within
// a bucket they are taken to be spread evenly.
func (b *curveBin) quantile(q float64) time.Duration {
	rank := q * b.requests
	for i, n := range b.latencies {
		if rank > float64(n) {
			rank -= float64(n)
			continue
		}
		lower, upper := time.Duration(0), springtide.LatencyBound(i)
		if i > 0 {
			lower = springtide.LatencyBound(i - 1)
		}
		return lower + time.Duration(rank/float64(n)*float64(upper-lower))
	}
	return springtide.LatencyBound(len(b.latencies) - 1)
}

// known gives what was learnt.
func (m *curveMeter) known(now time.Time, second int64) Curve {
	if m.at == second {
		return m.curve
	}
	m.at, m.curve = second, nil // not changed in place: it was given away
	for index, b := range m.bins {
		if now.Sub(b.at) > curveMemory {
			delete(m.bins, index)
		} else if b.requests >= enoughLatencies && b.completed > 0 {
			m.curve = append(m.curve, CurvePoint{
				Concurrency: b.concurrency / b.seconds, P95: b.quantile(0.95),
				Service: time.Duration(b.service / b.completed * float64(time.Second)), Weight: b.requests,
			})
		}
	}
	slices.SortFunc(m.curve, func(a, b CurvePoint) int { return cmp.Compare(a.Concurrency, b.Concurrency) })
	return m.curve
}

// inherit begins with what another release taught.
func (m *curveMeter) inherit(from *curveMeter) {
	m.bins = make(map[int]*curveBin, len(from.bins))
	for index, b := range from.bins {
		m.bins[index] = new(*b)
	}
}
