package scale

import (
	"math"
	"time"
)

// demand is the reckoning of how many instances are needed now, and what it was
// made of. Every number is rounded as it is printed before it is used, so that
// what a sentence says recomputes to what was done.
type demand struct {
	known    bool          // the service time is known
	rate     float64       // arrivals per second
	service  time.Duration // mean time a request takes
	busy     float64       // slots that are busy at this rate (Little's law)
	held     int           // requests that wait,
	heldNeed float64       // and the slots that work them off in two seconds
	serving  int           // requests being served now
	headroom float64       // slots for noise
	noise    float64
	slots    int // slots of one instance
	need     int // instances
}

// drainHeld is the time in which held requests are to be worked off.
const drainHeld = 2.0 // seconds

// reckon applies rules 2, 5, 6 and 7.
func reckon(spec Spec, o Observation, h History) demand {
	d := demand{held: o.Held, serving: o.Busy, slots: spec.Scale.Concurrency, noise: round(h.noise(), 0.01)}
	six, one := h.rates()
	d.rate = six
	if one > six+4.5*math.Sqrt(d.noise*six) {
		d.rate = one
	}
	d.rate = roundRate(d.rate)
	d.service = roundService(h.Service)
	d.known = d.service > 0
	if d.slots <= 0 {
		return d
	}
	wanted := float64(o.Held + o.Busy)
	if d.known {
		d.busy = round(d.rate*d.service.Seconds(), 0.1)
		d.heldNeed = roundUp(float64(d.held)*d.service.Seconds()/drainHeld, 0.1)
		d.headroom = headroom(d.busy, d.noise, d.slots)
		wanted = d.busy + d.heldNeed + d.headroom
	}
	// What is being served keeps its slots, whatever the rate says.
	d.need = max(instances(wanted, d.slots), instances(float64(d.serving), d.slots))
	return d
}

// headroom is rule 6: two standard deviations of the demand, and up to one
// instance where the demand is small.
func headroom(busy, noise float64, slots int) float64 {
	return roundUp(max(2*math.Sqrt(noise*busy), min(busy, float64(slots))), 0.1)
}

// stableNeed is the highest need, in instances, within the window: of each span,
// the mean demand and its head-room.
func stableNeed(d demand, h History, w windows) float64 {
	arrived, busy := h.peaks(w.stable, w.mean)
	slots := float64(d.slots)
	need := busy / slots
	if d.known {
		slotsBusy := round(arrived*d.service.Seconds(), 0.1)
		need = max(need, (slotsBusy+headroom(slotsBusy, d.noise, d.slots))/slots)
	}
	return roundUp(need, 0.01)
}

// fill is how full the instances may be that are left after a scale-in. It
// keeps the next scale-out from following at once.
const fill = 0.95

// instances gives how many instances have so many slots.
func instances(wanted float64, slots int) int {
	return int(math.Ceil(wanted/float64(slots) - 1e-9))
}

func round(x, unit float64) float64 { return math.Round(x/unit) / (1 / unit) }

func roundUp(x, unit float64) float64 {
	if x <= 0 {
		return 0
	}
	return math.Ceil(x/unit-1e-9) / (1 / unit)
}

// roundRate keeps one decimal below 100 and none above.
func roundRate(rate float64) float64 {
	if rate < 100 {
		return round(rate, 0.1)
	}
	return math.Round(rate)
}

// roundService keeps three digits, and no less than a microsecond.
func roundService(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	unit := time.Microsecond
	for d >= 1000*unit {
		unit *= 10
	}
	return max(d.Round(unit), time.Microsecond)
}
