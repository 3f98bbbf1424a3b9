package demand

import (
	"context"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

const (
	// days and weeks are how many of them the same minute is looked at;
	// leastDays and leastWeeks of how many of them something must be known.
	days, leastDays   = 7, 3
	weeks, leastWeeks = 4, 2
)

// expected is what the minutes of an hour needed on other days.
type expected struct {
	hour int64
	// days and weeks are medians; 0: too little is known.
	days, weeks [60]float64
}

// Expected gives the median of what that minute, counted from the year 1970,
// needed on the days and in the weeks before; 0: too little is known. Implements
// scale.Past.
func (r *Recorder) Expected(group springtide.GroupID, minute int64) (ofDays, ofWeeks float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := processOf(group)
	p := r.process(id)
	at := minute / 60
	e := &p.expected[at%2]
	if *e == nil || (*e).hour != at {
		*e = r.expect(id, at)
	}
	return (*e).days[minute%60], (*e).weeks[minute%60]
}

// expect looks at the same hour of other days.
func (r *Recorder) expect(id store.ProcessID, at int64) *expected {
	e := &expected{hour: at}
	var past [days]*hour
	var before [weeks]*hour
	for day := range days {
		past[day] = r.read(id, at-int64(day+1)*24)
	}
	for week := range weeks {
		before[week] = r.read(id, at-int64(week+1)*7*24)
	}
	for minute := range 60 {
		e.days[minute] = median(past[:], minute, leastDays)
		e.weeks[minute] = median(before[:], minute, leastWeeks)
	}
	return e
}

// median is that of what a minute needed, the lower one of two; 0 if it is known
// of too few.
func median(hours []*hour, minute, least int) float64 {
	var known []float64
	for _, h := range hours {
		if h != nil && !h[minute].Time.IsZero() {
			known = append(known, h[minute].Need)
		}
	}
	if len(known) < least {
		return 0
	}
	slices.Sort(known)
	return known[(len(known)-1)/2]
}

// read gives an hour that is over; nil if nothing is known of it.
func (r *Recorder) read(id store.ProcessID, at int64) *hour {
	found, err := r.options.Store.Demand(context.Background(), id, at, at)
	if err != nil || len(found) == 0 {
		return nil // it is only a forecast
	}
	h, err := unpack(found[0].Minutes, time.Unix(at*3600, 0).UTC())
	if err != nil {
		return nil
	}
	return h
}

// Needs gives what the minutes from one until before another needed; negative:
// not known. Implements scale.Past.
func (r *Recorder) Needs(group springtide.GroupID, from, until int64) []float32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	needs := make([]float32, max(until-from, 0))
	for i := range needs {
		needs[i] = -1
	}
	id := processOf(group)
	take := func(h *hour, began int64) {
		for i := range h {
			if at := began*60 + int64(i) - from; at >= 0 && at < int64(len(needs)) && !h[i].Time.IsZero() {
				needs[at] = max(needs[at], float32(h[i].Need))
			}
		}
	}
	for at := from / 60; at <= until/60; at++ {
		if h := r.read(id, at); h != nil {
			take(h, at)
		}
	}
	if p := r.processes[id]; p != nil && p.hour != nil {
		take(p.hour, hourOf(p.began))
	}
	return needs
}

// Needed takes in what is needed now. Implements scale.Past.
func (r *Recorder) Needed(now time.Time, group springtide.GroupID, slots float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, m := r.minute(processOf(group), now)
	m.Need = max(m.Need, slots)
}
