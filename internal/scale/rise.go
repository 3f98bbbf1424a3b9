package scale

import (
	"math"
	"time"

	"github.com/springtide/springtide"
)

const (
	// mostRise bounds what is expected of a rise: so many times the rate of now.
	mostRise = 4.0
	// riseDeviations is by how many standard deviations a rise must exceed what
	// may be noise, and riseClumps by how many clumps of requests.
	riseDeviations = 3.0
	riseClumps     = 3.0
	// riseAhead is how far ahead a rise is followed, in windows in which it was
	// seen: what a second showed says nothing of the next twenty.
	riseAhead = 6.0
	// riseLong is the cold start from which on a rise is expected to go on at its
	// pace: for a shorter one the straight line is drawn anew soon enough.
	riseLong = 8 * time.Second
)

// peakMean is over how many seconds the rates are means among which a peak is looked for.
const peakMean = 4

// arrivedWithin gives how many requests arrived in the last so many seconds; the
// oldest second counts for the part of it that is within.
func (h History) arrivedWithin(ago float64) float64 {
	elapsed := min(max(h.Elapsed.Seconds(), 1e-3), 1)
	if ago <= elapsed {
		return float64(h.Current.Arrived) * ago / elapsed
	}
	sum := float64(h.Current.Arrived)
	ago -= elapsed
	for i := len(h.Seconds) - 1; i >= 0 && ago > 0; i-- {
		sum += float64(h.Seconds[i].Arrived) * min(ago, 1)
		ago--
	}
	return sum
}

// rise gives the rate over a window of so many seconds that has just ended, and
// by how much it grows in a second as far as that is certain; no more than 0 if
// it does not grow.
//
// There is a rise where the straight line through four windows one after the other
// climbs by more than three standard deviations and three clumps. Its growth is
// that of the line or of the last two windows, whichever is more, less a standard
// deviation, and no more than that of the last two. It must have been under way: no more
// than twice that of the windows before, and four times that of those before
// them, each with a standard deviation more. So a step is no rise that goes on.
func (h History) rise(window, noise float64) (rate, growth float64) {
	var means [4]float64
	before := 0.0
	for i := range means {
		sum := h.arrivedWithin(window * float64(i+1))
		means[i] = (sum - before) / window
		before = sum
	}
	deviation := func(mean float64) float64 { return math.Sqrt(noise * max(mean, 1/window) / window) }
	climb := 3*means[0] + means[1] - means[2] - 3*means[3] // ten times the slope of the line
	uncertain := deviation(9*means[0] + means[1] + means[2] + 9*means[3])
	if climb < riseDeviations*uncertain+3*riseClumps*noise/window {
		return means[0], 0
	}
	last := means[0] - means[1]
	growth = min(last, max((climb-uncertain)/10, last-deviation(means[0]+means[1])),
		2*(means[1]-means[2])+deviation(means[1]+means[2]),
		4*(means[2]-means[3])+deviation(means[2]+means[3]))
	return means[0], growth / window
}

// expected gives the rate when an order of now has become an instance: a rise
// goes on in a straight line, or where that takes long by the same factor from one
// window to the next, for up to six windows and up to four times the rate of now; one that has not
// passed the highest rate of the last minutes goes no further than that: it may
// be a swing. Without a rise, or before it was watched for long enough to know, it
// is 0.
func (h History) expected(now time.Time, noise float64) float64 {
	coldStart := h.ColdStart.Seconds()
	highest := 0.0
	// A short window sees a steep rise at once, a long one a slow rise through the noise.
	for _, window := range [...]float64{1, 2, 4, 8} {
		rate, growth := h.rise(window, noise)
		if now.Sub(h.Since).Seconds() < 4*window {
			continue
		}
		// What is seven times as high as its growth has stepped up rather than risen, or
		// ten times in the longest window, which noise moves least.
		// Then the highest rate counts at which that would have been a rise, so that
		// more requests never need fewer instances.
		times := 7.0
		if window == 8 {
			times = 10
		}
		rate = min(rate, times*growth*window)
		if growth <= 0 {
			continue
		}
		ahead := min(coldStart/window, riseAhead) + 0.5 // the mean of a window is that of its middle
		factor := 1 + ahead*growth*window/rate
		if h.ColdStart > riseLong {
			factor = math.Pow(rate/(rate-growth*window), ahead)
		}
		highest = max(highest, rate*min(factor, mostRise))
	}
	if highest == 0 {
		return 0
	}
	if before := h.peakBefore(); h.arrivedWithin(peakMean)/peakMean <= before {
		return min(highest, before)
	}
	return highest
}

// peakBefore gives the highest rate, a mean of four seconds, that the history
// knows but for the last seconds.
func (h History) peakBefore() float64 {
	sum, highest := 0.0, 0.0
	for i := range max(len(h.Seconds)-noiseExclude, 0) {
		sum += float64(h.Seconds[i].Arrived)
		if i >= peakMean {
			sum -= float64(h.Seconds[i-peakMean].Arrived)
		}
		highest = max(highest, sum)
	}
	return highest / peakMean
}

// heldAfter gives how many requests will be held when an order of now has become
// an instance: what is held now, and what arrives (the rate going straight from
// that of now to the expected one) beyond what the instances serve that are
// ready, or were ordered and come before. Nobody waits for longer than is held for,
// so it is no more than arrives in that time, nor than edges hold.
func (o Observation) heldAfter(now time.Time, h History, f fleet, rate, expected float64, service time.Duration, slots int) float64 {
	const parts = 20
	perInstance := float64(slots) / service.Seconds()
	part := h.ColdStart.Seconds() / parts
	coming := o.comingAt(now, h, f)
	held, there := float64(o.Held), float64(f.ready)
	most := max(springtide.HoldLimit*float64(max(o.Edges, 1)), held)
	for i := range parts {
		at := (float64(i) + 0.5) / parts
		for len(coming) > 0 && coming[0] <= at*h.ColdStart.Seconds() {
			coming = coming[1:]
			there++
		}
		held = min(max(held+(rate+(expected-rate)*at-there*perInstance)*part, 0), most)
		if begun := at - springtide.HoldFor.Seconds()/h.ColdStart.Seconds(); begun >= 0 {
			held = min(held, (rate+(expected-rate)*(at+begun)/2)*springtide.HoldFor.Seconds())
		}
	}
	return held
}
