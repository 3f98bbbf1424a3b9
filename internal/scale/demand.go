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
	rate     float64       // arrivals per second,
	expected float64       // and what they grow to within ahead; 0: they do not grow
	coming   float64       // that, also where it is less than rate
	ahead    time.Duration // a cold start
	service  time.Duration // mean time a request takes
	busy     float64       // slots that are busy at this rate (Little's law)
	held     int           // requests that wait,
	later    int           // how many will when an order of now is there,
	heldNeed float64       // and the slots that work them off in two seconds, if head-room does not
	serving  int           // requests being served now
	headroom float64       // slots for noise
	noise    float64
	lasting  float64 // slots that are needed at the rate of now
	slots    int     // slots of one instance
	need     int     // instances
	own      int     // of them, for the concurrency alone
	aims     []aim   // what the other targets need,
	won      int     // the first of them that needs most is this one, from 1 on; 0: the concurrency
	spare    int     // instances beyond what is needed, which need has
	enough   bool    // need is what there is, since that leaves half of the head-room
}

// drainHeld is the time in which held requests are to be worked off.
const drainHeld = 2.0 // seconds

// reckon applies rules 2 to 6.
func reckon(now time.Time, spec Spec, o Observation, h History, f fleet) demand {
	d := demand{
		held: o.Held, serving: o.Busy, slots: spec.Scale.Concurrency, noise: round(h.noise(), 0.01),
		ahead: h.ColdStart.Round(100 * time.Millisecond),
	}
	minute, rateOfNow := h.rates(d.noise)
	d.rate = roundRate(rateOfNow)
	d.service = roundService(h.Service)
	d.known = d.service > 0
	if d.slots <= 0 {
		return d
	}
	wanted := float64(o.Held + o.Busy)
	if d.known {
		if d.coming = roundRate(h.expected(now, d.noise)); d.coming > d.rate {
			d.expected = d.coming
		}
		rate := max(d.rate, d.expected)
		d.busy = round(rate*d.service.Seconds(), 0.1)
		// A rise alone is no reason to expect a queue: only when one has begun.
		then := rate
		if d.brief(f) {
			then = d.rate
		}
		d.later = int(math.Round(o.heldAfter(now, h, f, d.rate, then, d.service, d.slots)))
		d.heldNeed = roundUp(float64(d.later)*d.service.Seconds()/drainHeld, 0.1)
		d.headroom = headroom(d.calm(minute, rate)*d.service.Seconds(), d.noise, float64(d.slots), d.service)
		d.lasting = round(d.rate*d.service.Seconds(), 0.1) + d.headroom
		wanted = d.wanted()
	}
	slots, replicas := float64(d.slots), max(o.Replicas-spec.Scale.Spare, 0)
	// What is being served keeps its slots, whatever the rate says.
	d.need = max(instances(wanted, slots), instances(float64(d.serving), slots))
	// Noise is what head-room is for: it orders nothing before half of it is gone,
	// nor for requests that wait for less than two thirds of what goes unnoticed.
	if d.known && d.expected == 0 && d.later == 0 && d.need > replicas &&
		d.brief(f) &&
		max(instances(d.busy+d.headroom/2, slots), instances(float64(d.serving), slots)) <= replicas {
		d.need, d.enough = replicas, true
	}
	d.aim(aims(spec, h, d, minute, rateOfNow, replicas), spec.Scale.Spare)
	return d
}

// wanted are the slots that the concurrency needs: head-room works off what is
// held, too.
func (d demand) wanted() float64 { return d.busy + max(d.heldNeed, d.headroom) }

// brief says that those who are held wait for less than two thirds of what goes unnoticed.
func (d demand) brief(f fleet) bool {
	return float64(d.held)*d.service.Seconds() <= 2*unnoticed/3*float64(f.ready*d.slots)
}

// aim takes in what the other targets need: the highest need counts. Instances
// to spare are added to any.
func (d *demand) aim(aims []aim, spare int) {
	d.aims, d.own = aims, d.need
	for i, a := range aims {
		if a.need > d.need {
			d.need, d.won = a.need, i+1
		}
		if a.each > 0 {
			d.lasting = max(d.lasting, round(a.lasting/a.each*float64(d.slots), 0.1))
		}
	}
	if d.need > 0 && spare > 0 {
		d.spare = spare
		d.need += spare
	}
}

// calm is the rate for which there is to be head-room: that of the last minute,
// unless the rate is really another.
func (d demand) calm(minute, rate float64) float64 {
	if rate < minute+3*math.Sqrt(d.noise*minute/6) {
		return min(minute, rate)
	}
	return rate
}

// unnoticed is for how long, in seconds, a request may wait without anybody
// noticing: short peaks even out over that.
const unnoticed = 0.125

// headroom is rule 5: two standard deviations of the demand, as it is over the
// time of a request and an unnoticed wait, and up to one instance where the
// demand is small.
func headroom(busy, noise, slots float64, service time.Duration) float64 {
	share := service.Seconds() / (service.Seconds() + unnoticed)
	return roundUp(max(2*math.Sqrt(noise*busy*share), min(busy, slots)), 0.1)
}

// stableNeed is the highest need, in instances, within the window: of each span,
// the mean demand and its head-room. What is being served counts over longer spans:
// those who were held are served at once when instances come, and that is no demand.
func stableNeed(d demand, h History, w windows) float64 {
	arrived, busy, cores := h.peaks(w.stable, w.mean, w.work)
	slots := float64(d.slots)
	need := busy / slots
	if d.known {
		slotsBusy := round(arrived*d.service.Seconds(), 0.1)
		need = max(need, (slotsBusy+headroom(slotsBusy, d.noise, slots, d.service))/slots)
	}
	for _, a := range d.aims {
		need = max(need, a.stable(d.noise, arrived, cores))
	}
	return roundUp(need, 0.01)
}

// fill is how full the instances may be that are left after a scale-in. It
// keeps the next scale-out from following at once.
const fill = 0.95

// instances gives how many instances have what is wanted, where one has each.
func instances(wanted, each float64) int {
	return int(math.Ceil(wanted/each - 1e-9))
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
