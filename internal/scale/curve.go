package scale

import (
	"slices"
	"time"
)

const (
	// aloneBelow is up to how many requests at a time, on average, each is taken to
	// be served alone: what it then takes, no further instance makes less.
	aloneBelow = 0.6
	// curveSpan is over what factor of concurrency the latency must have been seen
	// for it to be told how it goes on, and goodSpan over what it is seen well.
	curveSpan, goodSpan = 1.4, 2.0
	// firstStep is to what part of the concurrency at which the target was exceeded
	// an instance is filled before that is known, nextStep to what part at once
	// when it is.
	firstStep, nextStep = 0.7, 0.5
	// overBase is what is kept of the latency where the target cannot be had: so
	// many times what it is without load.
	overBase = 1.25
)

// Curve is what was seen of the latency of a release by how many requests an
// instance had at a time, in order of that.
type Curve []CurvePoint

// CurvePoint is what was seen while an instance had so many requests at a time.
type CurvePoint struct {
	// Concurrency is the mean number of requests that an instance had.
	Concurrency float64
	// P95 is the latency that 95 of 100 requests stayed below, Service the mean
	// time they took.
	P95, Service time.Duration
	// Weight is how many requests that says of.
	Weight float64
}

// knee is what a curve says of a target.
type knee struct {
	// slots is how many requests at a time an instance has at the target; 0: as
	// many as it may, for the latency never exceeded it.
	slots float64
	// service is the mean time of a request then.
	service time.Duration
	// base is the latency without load, where that exceeds the target: then no
	// number of instances holds it, and slots is where a quarter more is reached.
	base time.Duration
}

// knee finds how many requests at a time an instance may have so that 95 of 100
// stay below the target.
//
// It is between the most at which the latency held and the least at which it did
// not, on the line through both. Where it never held, it is on the line through
// what was seen; where that is too little for a line, in proportion to the
// latency, a step at a time, as in the gradient of Netflix' concurrency-limits: a
// processor that is shared by twice as many takes twice as long. Where the line
// exceeds the target at any concurrency, the latency is not of the load's making.
func (c Curve) knee(target time.Duration) knee {
	rising := c.rising()
	limit := float64(target)
	base := rising.base()
	if base >= limit {
		limit = overBase * base
	} else {
		base = 0
	}
	over := slices.IndexFunc(rising, func(p CurvePoint) bool { return float64(p.P95) > limit })
	if over < 0 {
		return knee{base: roundService(time.Duration(base))}
	}
	k := knee{base: roundService(time.Duration(base))}
	first := rising[over]
	if over > 0 {
		below := rising[over-1]
		share := (limit - float64(below.P95)) / float64(first.P95-below.P95)
		k.slots = below.Concurrency + share*(first.Concurrency-below.Concurrency)
		k.service = below.Service + time.Duration(share*float64(max(first.Service-below.Service, 0)))
	} else {
		// Whether a request takes less then is not known yet.
		k.slots = max(limit/float64(first.P95), firstStep) * rising[len(rising)-1].Concurrency
		k.service = first.Service
		if slope, intercept, ok := rising.line(); ok && slope > 0 && intercept < limit {
			k.slots = min(max((limit-intercept)/slope, nextStep*first.Concurrency), first.Concurrency)
			k.service = time.Duration((intercept + slope*k.slots) / float64(first.P95) * float64(first.Service))
		}
	}
	k.slots = max(k.slots, aloneBelow)
	return k
}

// rising makes the latency grow with the concurrency, as it must but for noise:
// neighbours that contradict each other are given their mean (isotonic
// regression, by pooling adjacent violators).
func (c Curve) rising() Curve {
	type block struct {
		sum, weight float64
		points      int
	}
	var blocks []block
	for _, p := range c {
		blocks = append(blocks, block{float64(p.P95) * p.Weight, p.Weight, 1})
		for n := len(blocks); n > 1 && blocks[n-2].sum*blocks[n-1].weight >= blocks[n-1].sum*blocks[n-2].weight; n = len(blocks) {
			a, b := blocks[n-2], blocks[n-1]
			blocks = append(blocks[:n-2], block{a.sum + b.sum, a.weight + b.weight, a.points + b.points})
		}
	}
	rising := slices.Clone(c)
	i := 0
	for _, b := range blocks {
		for range b.points {
			rising[i].P95 = time.Duration(b.sum / b.weight)
			i++
		}
	}
	return rising
}

// line gives the line through the least loaded point and the first that had
// twice as many requests at a time, or the last; false: that is too near.
func (c Curve) line() (slope, intercept float64, ok bool) {
	for i, p := range c {
		span := p.Concurrency / c[0].Concurrency
		if span >= goodSpan || i == len(c)-1 && span >= curveSpan {
			slope = float64(p.P95-c[0].P95) / (p.Concurrency - c[0].Concurrency)
			return slope, float64(c[0].P95) - slope*c[0].Concurrency, true
		}
	}
	return 0, 0, false
}

// base gives the latency without load, in nanoseconds; 0: not known.
func (c Curve) base() float64 {
	if len(c) > 0 && c[0].Concurrency <= aloneBelow {
		return float64(c[0].P95)
	}
	_, intercept, _ := c.line()
	return max(intercept, 0)
}
