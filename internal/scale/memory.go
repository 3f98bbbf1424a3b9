package scale

import (
	"slices"
	"time"

	"github.com/springtide/springtide"
)

const (
	// reversalMemory is for how long it counts that a group should not have shrunk:
	// that its demand made it grow again within reversalSoon, or within
	// reversalWithin too late for all to be served in time.
	reversalMemory = time.Hour
	reversalSoon   = shortestStable
	reversalWithin = 10 * time.Minute
)

// Memory is what is remembered of a group from one decision to the next. Its
// zero value remembers nothing.
type Memory struct {
	lastOut, lastIn time.Time
	// reversals are when it grew though it should not have shrunk, in the last hour.
	reversals []time.Time
	// tooLate are those of them that came too late for some.
	tooLate []time.Time
	minutes minutes
}

// Learn takes up what is known of the minutes before, of an earlier release or an
// earlier scaler; from now on past is told and asked.
func (m *Memory) Learn(now time.Time, group springtide.GroupID, past Past) {
	m.minutes.learn(now, group, past)
}

// Recall adds to a history what is remembered.
func (m *Memory) Recall(now time.Time, h *History) {
	forgotten := func(at time.Time) bool { return now.Sub(at) > reversalMemory }
	m.reversals, m.tooLate = slices.DeleteFunc(m.reversals, forgotten), slices.DeleteFunc(m.tooLate, forgotten)
	h.LastOut, h.LastIn, h.Reversals, h.TooLate = m.lastOut, m.lastIn, len(m.reversals), len(m.tooLate)
	h.Forecast = m.minutes.forecast(now, h.SlowStart)
}

// Remember takes in a decision that was carried out, or that changes nothing.
func (m *Memory) Remember(now time.Time, v Verdict) {
	if need, known := v.Inputs["need_slots"]; known {
		m.minutes.add(now, need)
	}
	switch {
	case v.To > v.From:
		since, late := now.Sub(m.lastIn), v.Inputs["held_later"] > 0
		if v.Reason == ReasonDemand && (since < reversalSoon || late && since < reversalWithin) {
			m.reversals = append(m.reversals, now)
			if late {
				m.tooLate = append(m.tooLate, now)
			}
		}
		m.lastOut = now
	case v.To < v.From:
		m.lastIn = now
	}
}
