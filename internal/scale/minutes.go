package scale

import (
	"math"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

const (
	// keptHours is how many hours back the same minute is looked at.
	keptHours = 5
	// leastHours is of how many of them something must be known.
	leastHours = 3
	// errorMemory is over how many minutes the error of the forecasts is a mean.
	errorMemory = 30
	// mostError is up to what error forecasts are heeded.
	mostError = 0.35
)

// Forecast is what past hours, days and weeks say of the minutes to come.
type Forecast struct {
	// Slots is the highest need among the minute that goes on and those until an
	// order of now is there: of each, the median of the same minute of the hours, of
	// the days, or of the weeks before, where those were right of late. 0: nothing
	// is known.
	Slots float64
	// Error is by what share such forecasts were wrong of late.
	Error float64
}

// Past remembers what minutes needed for longer than the scaler does, and over its
// end. Minutes are counted from the year 1970, needs are in slots. Implemented by
// demand.Recorder.
type Past interface {
	// Expected gives what is usual for a minute, by the days and by the weeks before
	// it; 0: too little is known.
	Expected(group springtide.GroupID, minute int64) (ofDays, ofWeeks float64)
	// Needs gives what minutes needed, from one until before another; negative: it is
	// not known.
	Needs(group springtide.GroupID, from, until int64) []float32
	// Needed takes in what is needed now.
	Needed(now time.Time, group springtide.GroupID, slots float64)
}

// The kinds of forecasts; each is guarded by an error of its own.
const (
	byHours = iota
	byDays
	byWeeks
	forecasts
)

// minutes remembers the need of each minute of the last hours, in slots.
type minutes struct {
	needs   []float32 // a ring; negative: not known
	current int64     // the minute that goes on, counted from the year 1970
	highest float64   // need of it so far
	kinds   [forecasts]struct {
		began  float64 // what was forecast for the minute that goes on; 0: nothing
		error  float64 // a mean, of shares
		errors int
		cached float64
	}
	at    int64 // the minute for which cached is
	ahead int64

	past  Past // of days and weeks; nil: nothing is known of them
	group springtide.GroupID
}

func (m *minutes) slot(minute int64) *float32 { return &m.needs[minute%int64(len(m.needs))] }

// learn takes up what an earlier scaler, or an earlier release, had learnt.
func (m *minutes) learn(now time.Time, group springtide.GroupID, past Past) {
	m.past, m.group = past, group
	minute := now.Unix() / 60
	m.begin(minute)
	from := minute - int64(len(m.needs)) + 1
	for i, need := range past.Needs(group, from, minute) {
		at := from + int64(i)
		*m.slot(at) = need
		if at < minute-errorMemory || need < 0 {
			continue
		}
		for kind, expected := range m.expected(at) { // how right they would have been
			m.kinds[kind].began = expected
		}
		m.judge(float64(need))
	}
	for kind, expected := range m.expected(minute) {
		m.kinds[kind].began = expected
	}
}

func (m *minutes) begin(minute int64) {
	m.needs = make([]float32, keptHours*60+1)
	for i := range m.needs {
		m.needs[i] = -1
	}
	m.current = minute
}

// add takes in what is needed now.
func (m *minutes) add(now time.Time, slots float64) {
	minute := now.Unix() / 60
	if m.needs == nil {
		m.begin(minute)
	}
	if minute > m.current {
		m.close(minute)
	}
	if slots > m.highest && m.past != nil {
		m.past.Needed(now, m.group, slots)
	}
	m.highest = max(m.highest, slots)
}

// close writes the minute down that is over, and those of which nothing is known.
func (m *minutes) close(minute int64) {
	*m.slot(m.current) = float32(m.highest)
	m.judge(m.highest)
	for gone := max(m.current+1, minute-int64(len(m.needs))+1); gone < minute; gone++ {
		*m.slot(gone) = -1
	}
	m.current, m.highest = minute, 0
	for kind, expected := range m.expected(minute) {
		m.kinds[kind].began = expected
	}
}

// judge compares what was forecast for a minute with what it needed.
func (m *minutes) judge(need float64) {
	for i := range m.kinds {
		kind := &m.kinds[i]
		if kind.began > 0 {
			wrong := math.Abs(kind.began-need) / max(need, 1)
			kind.errors = min(kind.errors+1, errorMemory)
			kind.error += (wrong - kind.error) / float64(kind.errors)
		}
	}
}

// expected gives what each kind of forecast says of a minute; 0: nothing.
func (m *minutes) expected(minute int64) (all [forecasts]float64) {
	all[byHours] = m.median(minute)
	if m.past != nil {
		all[byDays], all[byWeeks] = m.past.Expected(m.group, minute)
	}
	return all
}

// median gives the median need of the same minute of the hours before; 0 if too
// little is known.
func (m *minutes) median(minute int64) float64 {
	known := make([]float32, 0, keptHours)
	for hour := int64(1); hour <= keptHours; hour++ {
		if ago := minute - 60*hour; ago >= 0 && ago < m.current && ago > m.current-int64(len(m.needs)) && *m.slot(ago) >= 0 {
			known = append(known, *m.slot(ago))
		}
	}
	if len(known) < leastHours {
		return 0
	}
	slices.Sort(known)
	return float64(known[(len(known)-1)/2])
}

// forecast gives what is to be expected by the time an order of now is there: the
// highest of the forecasts that are heeded.
func (m *minutes) forecast(now time.Time, slowStart time.Duration) Forecast {
	if m.needs == nil {
		return Forecast{}
	}
	minute, until := now.Unix()/60, now.Add(slowStart+10*time.Second).Unix()/60
	if m.at != minute || m.ahead != until {
		m.at, m.ahead = minute, until
		for i := range m.kinds {
			m.kinds[i].cached = 0
		}
		for ; minute <= until; minute++ {
			for kind, expected := range m.expected(minute) {
				m.kinds[kind].cached = max(m.kinds[kind].cached, expected)
			}
		}
	}
	var best Forecast
	for _, kind := range m.kinds {
		heeded, before := kind.error < mostError, best.Error < mostError && best.Slots > 0
		if kind.cached > 0 && (heeded && !before || heeded == before && kind.cached > best.Slots) {
			best = Forecast{Slots: kind.cached, Error: kind.error}
		}
	}
	return best
}
