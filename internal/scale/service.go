package scale

import (
	"math"
	"time"
)

const (
	// serviceMemory is how fast the mean service time forgets.
	serviceMemory = 10 * time.Second
	// serviceRest is what the past is worth at least, in requests, however long
	// ago: a quiet night forgets nothing. Of those that come in the morning the short
	// ones are over first, so a few of them say that all are short.
	serviceRest = 100

	// startSettle is for how long after the last start requests are still slower for it.
	startSettle = 2 * time.Second
	// startSurely is for how long starts are believed to make requests slow without
	// being measured, and startLikely where the processors are not measured at all.
	startSurely = 3 * time.Second
	startLikely = 10 * time.Second
	// startBusy is the share of the machine's processors in use from which on
	// instances that start make others wait.
	startBusy = 0.8
)

// serviceMeter learns how long requests take, waiting excluded: a mean that
// forgets. It does not learn while instances start and leave others too little of
// the processors. Requests are slow then because of the starts, and who answered
// that with more of them would make it worse.
type serviceMeter struct {
	// seconds and completed are sums that decay; their quotient is the mean.
	seconds, completed float64
	decayed            time.Time

	starting bool
	// began is when the first of the starts began that followed each other without
	// a rest, and ended when the last was over.
	began, ended time.Time
}

// newServiceMeter knows what the predecessor did, if there is one: it is worth one
// request, so the first of its own outweigh it.
func newServiceMeter(now time.Time, predecessor *serviceMeter) serviceMeter {
	m := serviceMeter{decayed: now}
	if predecessor != nil && predecessor.completed > 0 {
		m.seconds, m.completed = predecessor.seconds/predecessor.completed, 1
	}
	return m
}

// add takes in requests that are completed, and how long all of them took
// together. busy is the share of the machine's processors in use; below 0: not known.
func (m *serviceMeter) add(now time.Time, completed int, took time.Duration, busy float64) {
	if m.completed > 0 && m.disturbed(now, busy) {
		return
	}
	m.decay(now)
	m.seconds += took.Seconds()
	m.completed += float64(completed)
}

// observe takes in whether any instance is starting.
func (m *serviceMeter) observe(now time.Time, starting bool) {
	if starting && !m.starting && now.Sub(m.ended) > startSettle {
		m.began = now
	}
	if m.starting && !starting {
		m.ended = now
	}
	m.starting = starting
}

// disturbed tells whether starts make requests slow.
func (m *serviceMeter) disturbed(now time.Time, busy float64) bool {
	if !m.starting && now.Sub(m.ended) > startSettle {
		return false
	}
	switch lasted := now.Sub(m.began); {
	case lasted <= startSurely:
		return true
	case busy < 0:
		return lasted <= startLikely
	default:
		return busy >= startBusy
	}
}

// decay lets the past count less.
func (m *serviceMeter) decay(now time.Time) {
	keep := math.Exp(-max(now.Sub(m.decayed), 0).Seconds() / serviceMemory.Seconds())
	m.decayed = now
	if m.completed > 0 {
		keep = min(max(keep, serviceRest/m.completed), 1)
	}
	m.seconds *= keep
	m.completed *= keep
}

// mean gives the service time; 0: not known.
func (m *serviceMeter) mean() time.Duration {
	if m.completed <= 0 {
		return 0
	}
	return time.Duration(m.seconds / m.completed * float64(time.Second))
}
