package scale

import (
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// play tells a memory a need, minute by minute, and gives the forecasts that
// there were at half past each minute.
func (m *minutes) play(from time.Time, count int, need func(minute int) float64) []Forecast {
	all := make([]Forecast, count)
	for i := range count {
		at := from.Add(time.Duration(i) * time.Minute)
		m.add(at, need(i))
		all[i] = m.forecast(at.Add(30*time.Second), 3*time.Second)
	}
	return all
}

func TestTheSameMinuteOfPastHoursIsForecast(t *testing.T) {
	hourly := func(minute int) float64 {
		if minute%60 < 3 {
			return 80
		}
		return 20
	}
	var m minutes
	all := m.play(noon, 6*60, hourly)
	if f := all[2*60+1]; f.Slots != 0 {
		t.Errorf("after two hours %v are forecast, but that is too little to know", f.Slots)
	}
	for _, minute := range []int{300, 301, 310, 359} {
		if f := all[minute]; f.Slots != hourly(minute) || f.Error > 0.1 {
			t.Errorf("minute %d: %+v, want %v", minute, f, hourly(minute))
		}
	}
	// Before the minute is over, the next one counts when an order takes as long.
	at := noon.Add(6*time.Hour - 10*time.Second)
	if f := m.forecast(at, 3*time.Second); f.Slots != 80 {
		t.Errorf("ten seconds before: %+v", f)
	}
}

func TestForecastsThatWereWrongAreNotHeeded(t *testing.T) {
	var m minutes
	m.play(noon, 5*60, func(int) float64 { return 90 })
	all := m.play(noon.Add(5*time.Hour), 30, func(int) float64 { return 10 })
	h := History{Forecast: all[5]}
	if h.Forecast.Slots != 90 || h.forecastFloor(1, 10) != 0 {
		t.Errorf("%+v is heeded", h.Forecast)
	}
	if n := (History{Forecast: Forecast{Slots: 90}}).forecastFloor(1, 10); n != 4 {
		t.Errorf("from 1 to %d at once, want twice as many and two", n)
	}
}

func TestAForecastOfHardlyMoreThanThereIsIsNotHeeded(t *testing.T) {
	h := History{Forecast: Forecast{Slots: 100}} // ten instances at 95%
	for from, want := range map[int]int{10: 0, 9: 0, 8: 0, 7: 10, 0: 2} {
		if n := h.forecastFloor(from, 10); n != want {
			t.Errorf("with %d there: %d, want %d", from, n, want)
		}
	}
	if n := (History{Forecast: Forecast{Slots: 5}}).forecastFloor(0, 10); n != 1 {
		t.Errorf("with none there one is worth foreseeing, and it is %d", n)
	}
}

func TestAClockThatJumpsLosesNoMoreThanTheForecast(t *testing.T) {
	var m minutes
	m.play(noon, 4*60, func(int) float64 { return 50 })
	m.add(noon.Add(100*24*time.Hour), 10) // forwards
	if f := m.forecast(noon.Add(100*24*time.Hour), time.Second); f.Slots != 0 {
		t.Errorf("what was a hundred days ago is forecast: %+v", f)
	}
	m.add(noon, 10) // and back again
	m.forecast(noon, time.Second)
	m.play(noon.Add(-time.Hour), 10, func(int) float64 { return 5 })
}

func TestAGroupThatGoesUpAndDownIsWatchedForLonger(t *testing.T) {
	var m Memory
	change := func(at time.Duration, from, to int) {
		v := Verdict{Reason: ReasonDemand}
		v.From, v.To = from, to
		m.Remember(noon.Add(at), v)
	}
	change(0, 2, 1)
	change(time.Minute, 1, 2)
	change(6*time.Minute, 2, 1)
	change(30*time.Minute, 1, 2) // long after: no reversal
	var h History
	m.Recall(noon.Add(31*time.Minute), &h)
	if h.Reversals != 1 || !h.LastOut.Equal(noon.Add(30*time.Minute)) || !h.LastIn.Equal(noon.Add(6*time.Minute)) {
		t.Errorf("%+v", h)
	}
	if w := web(1, 10, 10).windows(time.Second, h.Reversals, h.TooLate); w.stable != 3*time.Minute {
		t.Errorf("a window of %s, want twice 90 s", w.stable)
	}
	m.Recall(noon.Add(2*time.Hour), &h)
	if h.Reversals != 0 {
		t.Errorf("%d reversals are remembered for more than an hour", h.Reversals)
	}
}

// fakePast remembers in memory; each day and each week is as it says.
type fakePast struct {
	needs      map[int64]float32
	days, week func(minute int64) float64
}

func (p fakePast) Expected(_ springtide.GroupID, minute int64) (ofDays, ofWeeks float64) {
	return p.days(minute), p.week(minute)
}

func (p fakePast) Needs(_ springtide.GroupID, from, until int64) []float32 {
	all := make([]float32, until-from)
	for i := range all {
		all[i] = -1
		if need, known := p.needs[from+int64(i)]; known {
			all[i] = need
		}
	}
	return all
}

func (p fakePast) Needed(now time.Time, _ springtide.GroupID, slots float64) {
	p.needs[now.Unix()/60] = max(p.needs[now.Unix()/60], float32(slots))
}

func TestTheSameMinuteOfOtherDaysRaisesAndAnotherScalerGoesOnWithIt(t *testing.T) {
	first := noon.Unix() / 60
	show := func(minute int64) float64 {
		if minute >= first+90 && minute < first+120 {
			return 200
		}
		return 30
	}
	past := fakePast{needs: map[int64]float32{}, days: show, week: func(int64) float64 { return 500 }}
	var m minutes
	m.learn(noon, springtide.GroupID{}, past)
	all := m.play(noon, 90, func(minute int) float64 { return show(first + int64(minute)) })
	if f := all[0]; f.Slots != 500 {
		t.Errorf("nothing is known against the weeks yet, but %+v", f)
	}
	if f := all[80]; f.Slots != 30 || f.Error > 0.1 {
		t.Errorf("weeks are wrong and days are right, but %+v", f)
	}
	at := noon.Add(90*time.Minute - 12*time.Second)
	if f := m.forecast(at, 3*time.Second); f.Slots != 200 {
		t.Errorf("just before the show of each day: %+v", f)
	}
	var again minutes // the control plane was killed
	again.learn(at, springtide.GroupID{}, past)
	if a, b := m.forecast(at, 3*time.Second), again.forecast(at, 3*time.Second); a.Slots != b.Slots || b.Error > 0.1 {
		t.Errorf("%+v was known, %+v is left", a, b)
	}
	if got, want := again.median(first+61), float64(0); got != want {
		t.Errorf("of one hour before %v is forecast", got)
	}
	if *again.slot(first + 10) != 30 {
		t.Errorf("ten minutes after noon needed %v", *again.slot(first + 10))
	}
}

func TestGrowthAfterAWhileIsNoReversalUnlessItWasLateOrNobodyAsked(t *testing.T) {
	grown := func(after time.Duration, reason Reason, late float64) int {
		var m Memory
		v := Verdict{Decision: springtide.Decision{From: 2, To: 1}}
		m.Remember(noon, v)
		v = Verdict{Reason: reason, Decision: springtide.Decision{From: 1, To: 2, Inputs: map[string]float64{"held_later": late}}}
		m.Remember(noon.Add(after), v)
		var h History
		m.Recall(noon.Add(after), &h)
		return h.Reversals
	}
	if grown(time.Minute, ReasonDemand, 0) != 1 || grown(5*time.Minute, ReasonDemand, 3) != 1 {
		t.Error("what was missed at once, or too late, should not have gone")
	}
	if grown(5*time.Minute, ReasonDemand, 0) != 0 || grown(time.Minute, ReasonForecast, 0) != 0 {
		t.Error("what came back in time was saved, and a forecast misses nothing")
	}
}
