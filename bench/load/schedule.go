package load

import (
	"math"
	"time"
)

// Stage is a time with a rate that is constant or changes evenly.
type Stage struct {
	// From and To are requests per second at its beginning and at its end.
	From, To float64
	For      time.Duration
}

// Steady is a stage of a constant rate.
func Steady(rate float64, d time.Duration) Stage { return Stage{From: rate, To: rate, For: d} }

// Ramp is a stage whose rate changes evenly.
func Ramp(from, to float64, d time.Duration) Stage { return Stage{From: from, To: to, For: d} }

// Schedule is stages one after the other.
type Schedule []Stage

// Length is how long the schedule takes.
func (s Schedule) Length() time.Duration {
	var length time.Duration
	for _, stage := range s {
		length += stage.For
	}
	return length
}

// Requests is how many requests the schedule asks for.
func (s Schedule) Requests() float64 {
	var n float64
	for _, stage := range s {
		n += stage.requests()
	}
	return n
}

func (s Stage) requests() float64 { return (s.From + s.To) / 2 * s.For.Seconds() }

// when gives the time at which n requests are due, counted in parts of a
// request; false if the schedule does not ask for so many.
func (s Schedule) when(n float64) (time.Duration, bool) {
	var before time.Duration
	for _, stage := range s {
		if all := stage.requests(); n >= all {
			n -= all
			before += stage.For
			continue
		}
		return before + time.Duration(stage.secondsUntil(n)*float64(time.Second)), true
	}
	return 0, false
}

// secondsUntil solves n = From·t + (To-From)/(2·For)·t² for t, in the form that
// loses no digits when the rate hardly changes.
func (s Stage) secondsUntil(n float64) float64 {
	growth := (s.To - s.From) / s.For.Seconds()
	root := math.Sqrt(max(s.From*s.From+2*growth*n, 0))
	if s.From+root == 0 {
		return 0
	}
	return 2 * n / (s.From + root)
}
