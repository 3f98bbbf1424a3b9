package calendar

import (
	"fmt"
	"slices"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/springtide/springtide"
)

// Limits of what can be announced.
const (
	// Longest is how long one may go on.
	Longest = 7 * 24 * time.Hour
	// ahead is within what time of its beginning a rule must make something happen.
	ahead = 10 * 365 * 24 * time.Hour
	// oldest is how long ago one that repeats may have begun, since it is expanded
	// from there.
	oldest = 10 * 365 * 24 * time.Hour
)

// Occurrence is one time that something happens.
type Occurrence struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Check refuses an announcement that cannot be kept at that time, or never
// happens again: kind Invalid.
func Check(a springtide.Announcement, now time.Time) error {
	length := a.Until.Sub(a.From)
	switch {
	case a.From.IsZero():
		return springtide.Errorf(springtide.Invalid, "event %q has no time when it begins", a.Name)
	case a.From.Year() < 1970 || a.From.Year() > 2200:
		return springtide.Errorf(springtide.Invalid, "event %q begins in the year %d; it can be 1970 to 2200", a.Name, a.From.Year())
	case length <= 0 || length > Longest:
		return springtide.Errorf(springtide.Invalid, "event %q goes on for %s; it can be more than nothing and at most 7 days", a.Name, length)
	case a.Instances < 1 || a.Instances > springtide.MostInstances:
		return springtide.Errorf(springtide.Invalid, "event %q wants %d instances; it can be 1 to %d", a.Name, a.Instances, springtide.MostInstances)
	case a.Repeat != "" && now.Sub(a.From) > oldest:
		return springtide.Errorf(springtide.Invalid, "event %q began to repeat in %d, which is too long ago", a.Name, a.From.Year()).
			WithHint("give a beginning of the last ten years")
	}
	coming, err := Coming(a, now, later(now, a.From).Add(ahead), 1)
	switch {
	case err != nil:
		return err
	case len(coming) == 0 && a.Repeat == "":
		return springtide.Errorf(springtide.Invalid, "event %q is over since %s", a.Name, a.Until.Format(time.RFC3339)).
			WithHint("give a time to come; one that happens again has --every")
	case len(coming) == 0:
		return springtide.Errorf(springtide.Invalid, "event %q does not happen again", a.Name).
			WithHint("look at its rule, %s", a.Repeat)
	}
	return nil
}

// Coming gives the times that are not over and begin before until, the first
// first, at most so many.
func Coming(a springtide.Announcement, now, until time.Time, most int) ([]Occurrence, error) {
	length := a.Until.Sub(a.From)
	if a.Repeat == "" {
		if !a.Until.After(now) || !a.From.Before(until) || most < 1 {
			return nil, nil
		}
		return []Occurrence{{a.From, a.Until}}, nil
	}
	zone, err := Zone(a.Timezone)
	if err != nil {
		return nil, err
	}
	option, err := parse(a.Repeat, zone)
	if err != nil {
		return nil, err
	}
	option.Dtstart = a.From.In(zone)
	if option.Until.IsZero() || option.Until.After(until) {
		option.Until = until
	}
	rule, err := rrule.NewRRule(*option)
	if err != nil {
		return nil, notRule("%w", err)
	}
	var coming []Occurrence
	for next := rule.Iterator(); len(coming) < most; {
		from, more := next()
		if !more || !from.Before(until) {
			break
		}
		if n := len(coming); n > 0 && from.Equal(coming[n-1].From) {
			continue // an hour that was named twice
		}
		if from.Add(length).After(now) && !slices.ContainsFunc(a.Except, from.Equal) {
			coming = append(coming, Occurrence{from, from.Add(length)})
		}
	}
	return coming, nil
}

// Over says which of the announcements of an app will not happen again.
func Over(app springtide.App, now time.Time) []string {
	var all []string
	for _, name := range app.ProcessNames() {
		for _, a := range app.Processes[name].Announcements {
			if Check(a, now) != nil {
				all = append(all, fmt.Sprintf("event %q of %s is over and does nothing", a.Name, name))
			}
		}
	}
	return all
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
