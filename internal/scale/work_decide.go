package scale

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// workLost is for how long what was told of the queues counts.
const workLost = 10 * time.Second

// DecideWork says how many instances a group of workers should have: all of
// them, those that are coming included. It is pure. See the package
// documentation for the law; spec.Worker must not be nil.
func DecideWork(now time.Time, spec Spec, o WorkObservation, h WorkHistory) Verdict {
	w := spec.windows(h.ColdStart, 0, 0)
	seen := Observation{Replicas: o.Replicas, Instances: o.Instances, Capacity: o.Capacity, Granted: o.Granted, Shared: o.Shared}
	queues := o.Queues
	if o.Known {
		seen.Edges = 1
	} else {
		queues = nil
	}
	load := reckonWork(spec, h.ColdStart, queues)
	c := &workDecider{load: load, needed: h.Needed, decider: decider{
		now: now, spec: spec, o: seen, windows: w,
		h: History{
			Since: h.Since, LastDemand: h.LastWork, LastOut: h.LastOut, LastIn: h.LastIn,
			ColdStart: h.ColdStart, SlowStart: h.SlowStart,
		},
		fleet: seen.fleet(now, h.SlowStart, w.lifetime),
		from:  o.Replicas,
		why:   load.explain,
		blind: "nothing is known of its queues",
	}}
	if o.Trouble != "" {
		c.blind = "nothing is known of its queue: " + o.Trouble
	}
	c.lowest, c.highest = spec.limits()
	want := c.want(load.need)
	c.grant()
	reason, to, sentence := c.decide()
	return Verdict{
		Decision: springtide.Decision{
			Time: now, Group: spec.Group, From: c.from, To: to,
			Sentence: sentence, Inputs: c.inputs(),
		},
		Reason: reason,
		Want:   want,
		Due:    c.due(to),
	}
}

// workDecider holds one decision on workers while it is made.
type workDecider struct {
	decider
	load   workload
	needed int // at most, within the stable window
}

func (c *workDecider) decide() (Reason, int, string) {
	need := c.load.need
	switch {
	case c.from > c.most:
		return ReasonMaximum, c.most, c.change(c.most, "the maximum is %d", c.most)
	case c.from > c.highest:
		return c.giveWay(need)
	case c.from < c.lowest && need <= c.lowest:
		return ReasonMinimum, c.lowest, c.change(c.lowest, "the minimum is %d", c.lowest)
	case c.o.Edges == 0:
		return ReasonBlind, c.from, c.stay("%s", c.blind)
	case c.from == 0 && c.lowest == 0 && c.load.backlog == 0:
		return ReasonIdle, 0, c.stay("no run waits")
	case c.lowest == 0 && c.load.there == 0 && c.quiet() >= c.windows.idle:
		return ReasonIdle, 0, c.change(0, "no run for %s", spell(c.windows.idle))
	case need > c.from:
		return c.up(need)
	}
	return c.down()
}

// down lets workers go slowly, and only once the need has been lower for a while.
func (c *workDecider) down() (Reason, int, string) {
	need, floor := c.load.need, max(c.lowest, 1)
	lower := max(need, c.needed, floor)
	switch {
	case c.from <= floor && c.load.there == 0 && c.lowest > 0:
		return ReasonMinimum, c.from, c.stay("the minimum")
	case c.from <= floor && c.load.there == 0:
		return ReasonIdle, c.from, c.stay("it stops after %s without a run", spell(c.windows.idle))
	case need == c.from:
		return ReasonDemand, c.from, c.stay("%s", c.why())
	case c.from <= floor:
		return ReasonMinimum, c.from, c.stay("the minimum; needs %d: %s", need, c.why())
	case lower >= c.from:
		return ReasonWaiting, c.from, c.stay("needs %d now, and needed up to %d in the last %s", need, c.needed, spell(c.windows.stable))
	}
	if reason, sentence := c.blocked(lower); sentence != "" {
		return reason, c.from, sentence
	}
	c.step = max(c.from/10, 1)
	old := c.fleet.mature + c.fleet.failed
	to := max(lower, c.from-c.step, c.from-old)
	limit := ""
	switch to {
	case lower:
	case c.from - c.step:
		limit = fmt.Sprintf("; at most %d fewer every %s", c.step, spell(c.windows.step))
	default:
		limit = fmt.Sprintf("; %d may go, the others have not lived for %s", old, spell(c.windows.lifetime))
	}
	return ReasonLess, to, c.change(to, "needed at most %d in the last %s%s", lower, spell(c.windows.stable), limit)
}

// due says when to decide again although nothing new is told.
func (c *workDecider) due(to int) time.Time {
	switch {
	case to != c.from, c.load.there > 0, c.limited && c.from > c.highest, c.from > max(c.lowest, 1):
		return c.now
	case c.lowest > 0 || c.from == 0:
		return time.Time{}
	case c.o.Edges == 0:
		return c.now.Add(workLost)
	}
	return c.quietSince().Add(c.windows.idle)
}

// inputs names the numbers of the decision; those of the queues are sums.
func (c *workDecider) inputs() map[string]float64 {
	l, rate, service, left := c.load, 0.0, 0.0, c.spec.Worker.Wait
	for _, q := range l.queues {
		rate += q.Rate
		service = max(service, q.Service.Seconds())
		left = min(left, q.left)
	}
	return map[string]float64{
		"rate":               rate,
		"service_seconds":    service,
		"backlog":            float64(l.backlog),
		"under_way":          float64(l.there - l.backlog),
		"left_seconds":       left.Seconds(),
		"wait_seconds":       c.spec.Worker.Wait.Seconds(),
		"rate_slots":         l.rateSlots,
		"wait_slots":         l.waitSlots,
		"slots_each":         float64(l.slots),
		"need":               float64(l.need),
		"stable_need":        float64(c.needed),
		"step":               float64(c.step),
		"minimum":            float64(c.lowest),
		"maximum":            float64(c.highest),
		"granted":            c.granted(),
		"ready":              float64(c.fleet.ready),
		"coming":             float64(c.fleet.coming),
		"failed":             float64(c.fleet.failed),
		"mature":             float64(c.fleet.mature),
		"cold_start_seconds": c.h.ColdStart.Seconds(),
	}
}
