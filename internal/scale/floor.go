package scale

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// Floor announces that so many instances are to be there from one time until
// another.
type Floor struct {
	// Event is what it is for, as it is told to people.
	Event       string
	From, Until time.Time
	Instances   int
}

// floors gives what was announced.
func floors(announced []springtide.Announcement) []Floor {
	all := make([]Floor, 0, len(announced))
	for _, one := range announced {
		all = append(all, Floor{Event: "event " + one.Name, From: one.From, Until: one.Until, Instances: one.Instances})
	}
	return all
}

const (
	// floorMargin is how much earlier than needed the instances of a floor are ordered.
	floorMargin = 30 * time.Second
	// noShow is after what time a floor is doubted that nobody needs, at least;
	// halved every noShowStep.
	noShow     = 3 * time.Minute
	noShowStep = 3 * time.Minute
)

// floorNow gives the highest floor of now, and why; 0: there is none. stable is
// the highest need, in instances, within the last minutes.
//
// A floor counts from as long before its time as 99 of 100 starts take, and half
// a minute. Nobody may come: a while after it began it is halved, and again,
// while the need is about half of what is left, or less.
func (s Spec) floorNow(now time.Time, h History, stable float64) (highest int, why string) {
	for _, floor := range s.Floors {
		if now.Before(floor.From.Add(-h.SlowStart-floorMargin)) || !now.Before(floor.Until) {
			continue
		}
		n, doubt := floor.Instances, max(noShow, 5*h.ColdStart)
		for since := now.Sub(floor.From); since >= doubt && n > 1 && stable < float64(n+1)/2; since -= noShowStep {
			n = (n + 1) / 2
		}
		if n <= highest {
			continue
		}
		highest, why = n, fmt.Sprintf("%s keeps %d", floor.Event, n)
		if n < floor.Instances {
			why += fmt.Sprintf(" of %d, nobody came", floor.Instances)
		}
	}
	return highest, why
}

// nextFloor is when a floor may change what is decided though nothing is new;
// zero: never.
func (s Spec) nextFloor(now time.Time, h History) (next time.Time) {
	for _, floor := range s.Floors {
		begins := floor.From.Add(-h.SlowStart - floorMargin)
		switch {
		case now.Before(begins):
			next = earlier(next, begins)
		case now.Before(floor.Until):
			next = earlier(next, earlier(floor.Until, now.Add(time.Second)))
		}
	}
	return next
}

// forecastFloor gives how many instances the same minute of past hours needed;
// 0 if that is not to be relied on. They may be 95% full, as after a scale-in: what
// is forecast has head-room in it. It only ever raises, and no further than to
// twice what there is, and two more. A quarter more than there is, or one more, is
// not worth foreseeing: head-room meets that, and minutes differ by as much anyhow.
func (h History) forecastFloor(from, slots int) int {
	if h.Forecast.Slots <= 0 || h.Forecast.Error >= mostError || slots <= 0 {
		return 0
	}
	n := instances(fill*h.Forecast.Slots, float64(slots))
	if n <= from+max(from/4, min(from, 1)) {
		return 0
	}
	return min(n, 2*from+2)
}
