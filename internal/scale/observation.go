package scale

import (
	"math"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Observation is what is seen of a group now.
type Observation struct {
	// Replicas is how many instances it is told to have.
	Replicas int
	// Instances are those the engine sees of the group.
	Instances []springtide.Instance
	// Held, Busy and Streams are sums over all edges.
	Held, Busy, Streams int
	// Edges is how many edges report. With none, nothing is known of the demand.
	Edges int
	// Capacity says why no further instance can be started; empty if one can.
	Capacity string
	// Granted is how many instances the machine has for the group, where it has not
	// for all that groups want; then Shared says so.
	Granted int
	Shared  string
}

// open is how much is under way.
func (o Observation) open() int { return o.Held + o.Busy + o.Streams }

// History is what was seen of a group before.
type History struct {
	// Since is from when on its demand has been watched without a gap.
	Since time.Time
	// Seconds are whole seconds, the oldest first; Current is the one that has
	// only lasted for Elapsed.
	Seconds []Second
	Current Second
	Elapsed time.Duration
	// Quarters are the requests of the last quarters of a second, the newest first,
	// which has only lasted for Quarter.
	Quarters [3]float32
	Quarter  time.Duration
	// Service is the mean time a request takes, waiting excluded; 0: not known yet.
	Service time.Duration
	// ColdStart is the 90th percentile of the times from an order to readiness,
	// SlowStart the 99th.
	ColdStart, SlowStart time.Duration
	// LastDemand is when anything was last under way; zero: not since Since.
	LastDemand time.Time
	// LastOut and LastIn are when instances were last added and taken away.
	LastOut, LastIn time.Time
	// Reversals is how often it grew soon after it had shrunk, in the last hour;
	// TooLate, how many of these times too late for some.
	Reversals, TooLate int
	// Curve is what was learnt of the latency by concurrency, where that is a
	// target.
	Curve Curve
	// Processor says that it was measured of late what the instances use.
	Processor bool
	// Forecast is what past hours say of the minutes to come.
	Forecast Forecast
}

// Second is the demand of one second.
type Second struct {
	// Arrived counts requests.
	Arrived float32
	// Busy is the mean number of requests being served.
	Busy float32
	// Cores is the mean number of processor cores that instances with requests used.
	Cores float32
}

// The part of the history that says how noisy the arrivals are: the newest
// seconds are left out so that a rise is not taken for noise.
const (
	noiseWindow  = 120
	noiseExclude = 8
)

// rates gives the arrivals per second: the mean of the last minute, and that of
// now. The latter is the mean of the last 6 s, or that of the last 2 s less 1.5
// standard deviations, or of the last second, half or quarter of one less 3, if those
// are more.
func (h History) rates(noise float64) (minute, now float64) {
	watched := min(max(float64(len(h.Seconds)), 6), 60)
	now = h.arrivedWithin(6) / 6
	certain := func(arrived, window, z float64) float64 {
		return (arrived - z*math.Sqrt(noise*arrived)) / window
	}
	now = max(now, certain(h.arrivedWithin(2), 2, 1.5), certain(h.arrivedWithin(1), 1, 3))
	half, quarter := h.arrivedLately()
	return h.arrivedWithin(watched) / watched, max(now, certain(half, 0.5, 3), certain(quarter, 0.25, 3))
}

// arrivedLately gives how many requests arrived in the last half and the last quarter
// of a second.
func (h History) arrivedLately() (half, quarter float64) {
	rest := 1 - min(max(4*h.Quarter.Seconds(), 0), 1) // of the oldest quarter that is within
	quarter = float64(h.Quarters[0]) + rest*float64(h.Quarters[1])
	half = float64(h.Quarters[0]) + float64(h.Quarters[1]) + rest*float64(h.Quarters[2])
	return half, quarter
}

// noise is how much the arrivals scatter from one second to the next: 1 for
// independent ones (Poisson), more if they come in clumps, never less than 1.
// For two counts of a steady rate, the expectation of (a-b)² is a+b if they are
// independent, whatever the rate, so each pair is one estimate. The two largest
// are left out: a step is one such pair and a spike two, and neither is noise.
func (h History) noise() float64 {
	const prior = 10 // so many pairs of the independent kind are taken for granted
	sum, count, first, second := 0.0, 0, 0.0, 0.0
	end := len(h.Seconds) - noiseExclude
	for i := max(1, end-noiseWindow); i < end; i++ {
		a, b := float64(h.Seconds[i-1].Arrived), float64(h.Seconds[i].Arrived)
		if a+b == 0 {
			continue
		}
		pair := (a - b) * (a - b) / (a + b)
		sum += pair
		count++
		if pair > first {
			first, second = pair, first
		} else if pair > second {
			second = pair
		}
	}
	if count < 2 {
		return 1
	}
	return max(1, (prior+sum-first-second)/float64(prior+count-2))
}

// peaks gives the highest means of arrivals and of cores in use, over a span each,
// and of requests being served, over another that is no shorter, among all spans that
// ended within the window.
func (h History) peaks(window, span, work time.Duration) (arrived, busy, used float64) {
	width := max(int(span/time.Second), 1)
	wide := max(int(work/time.Second), width)
	n := len(h.Seconds)
	first := max(n-int(window/time.Second), 0) // the first span ends with this second
	from, wideFrom := max(first-width+1, 0), max(first-wide+1, 0)
	var arrivals, slots, cores float64
	for i := wideFrom; i < n; i++ {
		slots += float64(h.Seconds[i].Busy)
		if begin := i - wide; begin >= wideFrom {
			slots -= float64(h.Seconds[begin].Busy)
		}
		if i < from {
			continue
		}
		arrivals += float64(h.Seconds[i].Arrived)
		cores += float64(h.Seconds[i].Cores)
		if begin := i - width; begin >= from {
			arrivals -= float64(h.Seconds[begin].Arrived)
			cores -= float64(h.Seconds[begin].Cores)
		}
		if i < first {
			continue
		}
		// Ten thousand groups are gone through: max would look for what is no number.
		covered, coveredWide := float64(min(width, i+1)), float64(min(wide, i+1))
		if arrivals > arrived*covered {
			arrived = arrivals / covered
		}
		if cores > used*covered {
			used = cores / covered
		}
		if slots > busy*coveredWide {
			busy = slots / coveredWide
		}
	}
	return arrived, busy, used
}

// fleet counts a group's instances by what can be expected of them.
type fleet struct {
	ready  int // get requests
	mature int // of them: have lived for the minimum lifetime
	coming int // are starting, and not late
	failed int // crash, or should have been ready by now
}

// comingAt gives in how many seconds each of those that come will be there, the
// first first. What is late is taken to come in a tenth of a cold start.
func (o Observation) comingAt(now time.Time, h History, f fleet) []float64 {
	if f.coming == 0 {
		return nil
	}
	coming := make([]float64, 0, f.coming)
	for i := range o.Instances {
		if instance := &o.Instances[i]; instance.State == springtide.InstanceStarting && len(coming) < f.coming {
			left := h.ColdStart - now.Sub(instance.Ordered)
			coming = append(coming, max(left, h.ColdStart/10).Seconds())
		}
	}
	for len(coming) < f.coming { // ordered, and not seen yet; or it starts again
		coming = append(coming, h.ColdStart.Seconds())
	}
	slices.Sort(coming)
	return coming
}

// fleet sorts the instances. One that starts counts as coming for as long as
// 99 of 100 starts took, and for 10 s at least; one that crashed, until it is
// known to do so again and again.
func (o Observation) fleet(now time.Time, slowStart, lifetime time.Duration) fleet {
	var f fleet
	patience, ripe := max(slowStart, 10*time.Second), now.Add(-lifetime)
	for i := range o.Instances {
		instance := &o.Instances[i]
		switch instance.State {
		case springtide.InstanceReady:
			f.ready++
			if !instance.Ready.After(ripe) {
				f.mature++
			}
		case springtide.InstanceStarting:
			began := instance.Ordered
			if instance.Started.After(began) {
				began = instance.Started
			}
			if instance.CrashLoop || now.Sub(began) > patience {
				f.failed++
			} else {
				f.coming++
			}
		case springtide.InstanceCrashed:
			if instance.CrashLoop {
				f.failed++
			} else {
				f.coming++
			}
		case springtide.InstanceUnhealthy:
			f.failed++
		case springtide.InstanceRetiring, springtide.InstanceStopping:
		}
	}
	// What is ordered and not seen yet is coming too.
	f.coming += max(o.Replicas-f.ready-f.coming-f.failed, 0)
	return f
}
