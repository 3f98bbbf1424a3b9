package scale

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// Reason says which rule had the last word in a decision.
type Reason string

// The reasons.
const (
	ReasonDemand   Reason = "demand"   // the demand needs so many
	ReasonMaximum  Reason = "maximum"  // more are needed than are allowed
	ReasonMinimum  Reason = "minimum"  // fewer are needed than must be
	ReasonLess     Reason = "less"     // fewer have been needed for long enough
	ReasonWaiting  Reason = "waiting"  // fewer are needed, but not for long enough yet
	ReasonIdle     Reason = "idle"     // nothing is under way
	ReasonCapacity Reason = "capacity" // the machine is full
	ReasonFailing  Reason = "failing"  // instances do not become ready, so more would not help
	ReasonEvent    Reason = "event"    // so many were announced
	ReasonForecast Reason = "forecast" // past hours needed so many
	ReasonBlind    Reason = "blind"    // no edge reports
	ReasonFixed    Reason = "fixed"    // there is nothing to scale by
)

// Verdict is a decision, and when to look again.
type Verdict struct {
	springtide.Decision
	Reason Reason
	// Want is how many there would be if the machine were the group's own.
	Want int
	// Due is when the verdict may become another though nothing new is reported;
	// zero: never.
	Due time.Time
}

// Decide says how many instances a group should have: all of them, those that
// are coming included. It is pure. See the package documentation for the law.
func Decide(now time.Time, spec Spec, o Observation, h History) Verdict {
	w := spec.windows(h.ColdStart, h.Reversals, h.TooLate)
	f := o.fleet(now, h.SlowStart, w.lifetime)
	c := &decider{
		now: now, spec: spec, o: o, h: h, windows: w,
		demand: reckon(now, spec, o, h, f),
		fleet:  f,
		from:   o.Replicas,
		blind:  "no edge reports, so nothing is known of the demand",
	}
	c.why = c.demand.explain
	c.lowest, c.highest = spec.limits()
	c.raise()
	want := c.want(c.demand.need)
	c.grant()
	reason, to, sentence := c.decide()
	return Verdict{
		Decision: springtide.Decision{
			Time: now, Group: spec.Group, From: c.from, To: to,
			Sentence: sentence, Inputs: c.inputs(),
		},
		Reason: reason,
		Want:   want,
		Due:    earlier(c.due(reason, to), spec.nextFloor(now, h)),
	}
}

// decider holds one decision while it is made.
type decider struct {
	now     time.Time
	spec    Spec
	o       Observation
	h       History
	windows windows
	demand  demand
	fleet   fleet

	from, lowest, highest int
	// most is the highest number that is allowed, limited says that the machine has
	// no more than highest for the group.
	most    int
	limited bool
	// why spells out the need, blind why nothing is known of it.
	why   func() string
	blind string
	// What raised lowest, if anything did: to what, why, and in words.
	floor      int
	floorBy    Reason
	floorWords string
	// Set by down: the need within the stable window, and how many may go at once.
	stable float64
	step   int
}

// raise makes the lowest number what was announced or is forecast, within the range.
func (c *decider) raise() {
	c.floorBy = ReasonMinimum
	if !c.spec.Requests || c.demand.slots <= 0 {
		c.h.Forecast = Forecast{}
	}
	stable := 0.0
	if len(c.spec.Floors) > 0 && c.demand.slots > 0 {
		stable = stableNeed(c.demand, c.h, c.windows)
	}
	if n, why := c.spec.floorNow(c.now, c.h, stable); min(n, c.highest) > c.lowest {
		c.lowest = min(n, c.highest)
		c.floor, c.floorBy, c.floorWords = c.lowest, ReasonEvent, why
	}
	if n := min(c.h.forecastFloor(c.from, c.demand.slots), c.highest); n > c.lowest {
		c.lowest, c.floor, c.floorBy = n, n, ReasonForecast
		c.floorWords = fmt.Sprintf("past hours needed %s slots in these minutes, %d slots each at %.0f%% fill", number(round(c.h.Forecast.Slots, 0.1)), c.demand.slots, 100*fill)
	}
}

// least names what keeps the group from having fewer.
func (c *decider) least() string {
	if c.floor > 0 {
		return c.floorWords
	}
	return "the minimum"
}

// keeps says what keeps the group at its lowest number.
func (c *decider) keeps() string {
	if c.floor > 0 {
		return c.floorWords
	}
	return fmt.Sprintf("the minimum is %d", c.lowest)
}

// decide goes from what is certain to what has to be weighed.
func (c *decider) decide() (Reason, int, string) {
	need := c.demand.need
	switch {
	case c.from > c.most:
		return ReasonMaximum, c.most, c.change(c.most, "the maximum is %d", c.most)
	case c.from > c.highest:
		return c.giveWay(need)
	case c.from < c.lowest && (need <= c.lowest || !c.spec.Requests):
		return c.floorBy, c.lowest, c.change(c.lowest, "%s", c.keeps())
	case !c.spec.Requests:
		return ReasonFixed, c.from, c.stay("it is given no requests to scale by")
	case c.from == 0 && c.lowest == 0 && c.o.Held == 0:
		return ReasonIdle, 0, c.stay("no request waits")
	case c.from == 0 && c.demand.slots <= 0:
		return c.up(1)
	case need > c.from:
		return c.up(need)
	case c.lowest == 0 && c.from > 0 && c.o.open() == 0 && c.o.Edges > 0 && c.quiet() >= c.windows.idle:
		return ReasonIdle, 0, c.change(0, "no request for %s", spell(c.windows.idle))
	case c.demand.slots <= 0:
		return ReasonFixed, c.from, c.stay("no concurrency is set to scale by")
	default:
		return c.down()
	}
}

// up is rule 6: at once, as far as the range and the machine allow.
func (c *decider) up(need int) (Reason, int, string) {
	to := min(need, c.highest)
	switch {
	case to == c.from && c.limited:
		return ReasonCapacity, to, c.stay("capacity: %s; needs %d: %s", c.o.Shared, need, c.why())
	case to == c.from:
		return ReasonMaximum, to, c.stay("the maximum; needs %d: %s", need, c.why())
	case c.from >= c.lowest && c.o.Capacity != "":
		return ReasonCapacity, c.from, c.stay("capacity: %s; needs %d: %s", c.o.Capacity, need, c.why())
	case c.from >= c.lowest && c.fleet.ready == 0 && c.fleet.failed > 0:
		return ReasonFailing, c.from, c.stay("%s; needs %d: %s", c.notReady(), need, c.why())
	case to < need && c.limited:
		return ReasonCapacity, to, c.change(to, "capacity: %s; needs %d: %s", c.o.Shared, need, c.why())
	case to < need:
		return ReasonMaximum, to, c.change(to, "the maximum; needs %d: %s", need, c.why())
	}
	return ReasonDemand, to, c.change(to, "%s", c.why())
}

// down is rule 9: slowly, and only once the need has been lower for a while.
func (c *decider) down() (Reason, int, string) {
	floor := max(c.lowest, 1)
	if c.from <= floor {
		return c.atFloor()
	}
	c.stable = stableNeed(c.demand, c.h, c.windows)
	filled, spare := instances(c.stable/fill, 1), 0
	if filled > 0 {
		spare = c.spec.Scale.Spare
	}
	lower := max(filled+spare, c.demand.need, floor)
	if c.demand.need == c.from {
		return ReasonDemand, c.from, c.stay("%s", c.why())
	}
	if lower >= c.from {
		return ReasonWaiting, c.from, c.stay("needs %d now, and needed up to %s in the last %s, %d at %.0f%% fill%s",
			c.demand.need, number(c.stable), spell(c.windows.stable), filled, 100*fill, spareWords(spare))
	}
	if reason, sentence := c.blocked(lower); sentence != "" {
		return reason, c.from, sentence
	}
	return c.shrink(lower, filled, spare)
}

// atFloor explains why a group that cannot shrink stays as it is.
func (c *decider) atFloor() (Reason, int, string) {
	switch {
	case c.demand.rate > 0 || c.o.Held+c.o.Busy > 0:
		if c.demand.need < c.lowest {
			return c.floorBy, c.from, c.stay("%s; needs %d: %s", c.least(), c.demand.need, c.why())
		}
		return ReasonDemand, c.from, c.stay("%s", c.why())
	case c.lowest > 0:
		return c.floorBy, c.from, c.stay("%s", c.least())
	case c.o.Edges == 0:
		return ReasonBlind, c.from, c.stay("%s", c.blind)
	case c.o.Streams > 0:
		return ReasonDemand, c.from, c.stay("%d streams are open", c.o.Streams)
	}
	return ReasonIdle, c.from, c.stay("it stops after %s without a request", spell(c.windows.idle))
}

// blocked says what keeps a group from shrinking to lower now; nothing: "".
func (c *decider) blocked(lower int) (Reason, string) {
	w := c.windows
	switch {
	case c.o.Edges == 0:
		return ReasonBlind, c.stay("%s", c.blind)
	case c.now.Sub(c.h.Since) < w.stable:
		return ReasonWaiting, c.stay("needs %d, but the demand has been watched for less than %s", lower, spell(w.stable))
	case c.now.Sub(c.h.LastOut) < c.rest(lower):
		return ReasonWaiting, c.stay("needs %d, but the last scale-out was less than %s ago", lower, spell(c.rest(lower)))
	case c.fleet.mature+c.fleet.failed == 0 && !c.surplus(lower):
		return ReasonWaiting, c.stay("needs %d, but none has lived for %s", lower, spell(w.lifetime))
	case c.now.Sub(c.h.LastIn) < w.step:
		return ReasonWaiting, c.stay("needs %d; the next goes %s after the last", lower, spell(w.step))
	}
	return "", ""
}

// surplus says that there are more than half as many again, and one, as were needed in
// the whole window: what was ordered for requests that were held and are worked off.
func (c *decider) surplus(lower int) bool {
	return c.demand.slots > 0 && 2*c.from > 3*lower+2 && c.demand.held+c.demand.later == 0
}

// rest is for how long after a scale-out none may go.
func (c *decider) rest(lower int) time.Duration {
	if c.surplus(lower) {
		return min(c.windows.afterOut/3, surplusRest)
	}
	return c.windows.afterOut
}

// shrink takes away a tenth at most, one at least, and none before its time; of
// a surplus half, whatever its age.
func (c *decider) shrink(lower, filled, spare int) (Reason, int, string) {
	c.step = max(c.from/10, 1)
	old := c.fleet.mature + c.fleet.failed
	if c.surplus(lower) {
		c.step, old = max(c.from/2, 1), c.from
	}
	to := max(lower, c.from-c.step, c.from-old)
	var limit string
	switch to {
	case filled + spare:
	case c.from - c.step:
		limit = fmt.Sprintf("; at most %d fewer every %s", c.step, spell(c.windows.step))
	case c.from - old:
		limit = fmt.Sprintf("; %d may go, the others have not lived for %s", old, spell(c.windows.lifetime))
	case c.demand.need:
		limit = fmt.Sprintf("; needs %d now", to)
	default:
		limit = "; " + c.keeps()
	}
	return ReasonLess, to, c.change(to, "needed at most %s in the last %s, %d at %.0f%% fill%s%s",
		number(c.stable), spell(c.windows.stable), filled, 100*fill, spareWords(spare), limit)
}

// quiet is for how long nothing has been under way.
func (c *decider) quiet() time.Duration { return c.now.Sub(c.quietSince()) }

func (c *decider) quietSince() time.Time {
	since := c.h.Since
	for _, t := range []time.Time{c.h.LastDemand, c.h.LastOut} {
		if t.After(since) {
			since = t
		}
	}
	return since
}

// due says when to decide again although nothing new is reported: at once while
// there is demand, or more instances than must be; else when the last one is to stop.
func (c *decider) due(reason Reason, to int) time.Time {
	if reason == ReasonFixed && c.lowest > 0 || !c.spec.Requests {
		return time.Time{}
	}
	scaled := c.demand.slots > 0
	switch {
	case to != c.from, c.o.Held > 0, c.limited && c.from > c.highest, scaled && (c.o.Busy > 0 || c.demand.rate > 0 || c.from > max(c.lowest, 1)):
		return c.now
	case c.lowest > 0 || c.from == 0:
		return time.Time{}
	case c.o.open() > 0 || c.o.Edges == 0:
		// An edge that is gone does not say so: look again.
		return c.now.Add(edgeLost)
	}
	return c.quietSince().Add(c.windows.idle)
}
