package scale

import (
	"math"
	"slices"
	"time"
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

// Forecast is what past hours say of the minutes to come.
type Forecast struct {
	// Slots is the highest need among the minute that goes on and those until an
	// order of now is there: of each, the median of the same minute of the hours
	// before. 0: nothing is known.
	Slots float64
	// Error is by what share such forecasts were wrong of late.
	Error float64
}

// minutes remembers the need of each minute of the last hours, in slots.
type minutes struct {
	needs   []float32 // a ring; negative: not known
	current int64     // the minute that goes on, counted from the year 1970
	highest float64   // need of it so far
	began   float64   // the median that was forecast for it; 0: none
	error   float64   // a mean, of shares
	errors  int
	cached  float64
	at      int64 // the minute for which cached is
	ahead   int64
}

func (m *minutes) slot(minute int64) *float32 { return &m.needs[minute%int64(len(m.needs))] }

// add takes in what is needed now.
func (m *minutes) add(now time.Time, slots float64) {
	minute := now.Unix() / 60
	if m.needs == nil {
		m.needs = make([]float32, keptHours*60+1)
		for i := range m.needs {
			m.needs[i] = -1
		}
		m.current = minute
	}
	if minute > m.current {
		m.close(minute)
	}
	m.highest = max(m.highest, slots)
}

// close writes the minute down that is over, and those of which nothing is known.
func (m *minutes) close(minute int64) {
	*m.slot(m.current) = float32(m.highest)
	if m.began > 0 {
		wrong := math.Abs(m.began-m.highest) / max(m.highest, 1)
		m.errors = min(m.errors+1, errorMemory)
		m.error += (wrong - m.error) / float64(m.errors)
	}
	for gone := max(m.current+1, minute-int64(len(m.needs))+1); gone < minute; gone++ {
		*m.slot(gone) = -1
	}
	m.current, m.highest = minute, 0
	m.began = m.median(minute)
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

// forecast gives what is to be expected by the time an order of now is there.
func (m *minutes) forecast(now time.Time, slowStart time.Duration) Forecast {
	if m.needs == nil {
		return Forecast{}
	}
	minute, until := now.Unix()/60, now.Add(slowStart+10*time.Second).Unix()/60
	if m.at != minute || m.ahead != until {
		m.at, m.ahead, m.cached = minute, until, 0
		for ; minute <= until; minute++ {
			m.cached = max(m.cached, m.median(minute))
		}
	}
	return Forecast{Slots: m.cached, Error: m.error}
}
