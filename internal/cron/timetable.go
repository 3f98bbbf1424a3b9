package cron

import (
	"math/bits"
	"time"
)

const (
	// calendarChange is the least change of a clock that is no daylight saving.
	calendarChange = 3 * time.Hour
	// horizon is how many years a time is searched for: a 29 February that has to
	// be a certain day of the week comes within 40 years.
	horizon = 41
)

// Timetable is the times of a schedule. It is a value; any number of goroutines
// may use it.
type Timetable struct {
	expression string
	zone       *time.Location
	// every is the interval, in whole seconds; 0: the fields count.
	every time.Duration
	// The fields have a bit for each of their values, Sunday being 0.
	minute, hour, day, month, weekday uint64
	// eitherDay says that matching day or weekday is enough.
	eitherDay bool
	// fixed says that the schedule is made up for when clocks change.
	fixed bool
}

// String gives the expression, and the zone if it is not UTC.
func (t Timetable) String() string {
	if t.zone == nil || t.zone == time.UTC || t.every > 0 {
		return t.expression
	}
	return t.expression + " " + t.zone.String()
}

// Next gives the first time after another, in the timetable's zone. It is zero
// for the zero timetable, which has no times.
func (t Timetable) Next(after time.Time) time.Time {
	switch {
	case t.every > 0:
		// The Unix epoch is where every server counts from.
		seconds := int64(t.every / time.Second)
		return time.Unix((floor(after.Unix(), seconds)+1)*seconds, 0).In(t.zone)
	case t.zone == nil:
		return time.Time{}
	}
	after = after.In(t.zone)
	last := after.AddDate(horizon, 0, 0)
	for p := periodAt(after); ; p = periodAt(p.end) {
		if found := t.within(p, after, last); !found.IsZero() {
			return found
		}
		if p.end.IsZero() || p.end.After(last) {
			return time.Time{}
		}
	}
}

// within gives the first time after another in a period; zero if there is none.
func (t Timetable) within(p period, after, last time.Time) time.Time {
	from := nextMinute(wall(after, p.offset))
	if p.start.After(after) {
		from = minuteFrom(wall(p.start, p.offset))
	}
	until := wall(last, p.offset)
	if !p.end.IsZero() && p.end.Before(last) {
		until = wall(p.end, p.offset)
	}
	if shift := p.offset - p.before; t.fixed && max(shift, -shift) < calendarChange {
		was, is := wall(p.start, p.before), wall(p.start, p.offset)
		if shift > 0 && p.start.After(after) && !t.search(minuteFrom(was), is).IsZero() {
			return p.start
		}
		if shift < 0 && from.Before(was) {
			from = minuteFrom(was)
		}
	}
	found := t.search(from, until)
	if found.IsZero() {
		return found
	}
	return found.Add(-p.offset).In(t.zone)
}

// search gives the first time on the wall that matches, at or after one and
// before another; zero if there is none.
func (t Timetable) search(from, until time.Time) time.Time {
	for from.Before(until) {
		year, month, day := from.Date()
		if t.month>>month&1 == 0 {
			from = time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if t.onDay(day, from.Weekday()) {
			if hour, minute, ok := t.inDay(from.Hour(), from.Minute()); ok {
				found := time.Date(year, month, day, hour, minute, 0, 0, time.UTC)
				if found.Before(until) {
					return found
				}
				return time.Time{}
			}
		}
		from = time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC)
	}
	return time.Time{}
}

func (t Timetable) onDay(day int, weekday time.Weekday) bool {
	inMonth, inWeek := t.day>>day&1 == 1, t.weekday>>weekday&1 == 1
	if t.eitherDay {
		return inMonth || inWeek
	}
	return inMonth && inWeek
}

// inDay gives the first time of a day that matches, at or after another.
func (t Timetable) inDay(hour, minute int) (int, int, bool) {
	if t.hour>>hour&1 == 1 {
		if later := t.minute >> minute; later != 0 {
			return hour, minute + bits.TrailingZeros64(later), true
		}
	}
	later := t.hour >> (hour + 1)
	if later == 0 {
		return 0, 0, false
	}
	return hour + 1 + bits.TrailingZeros64(later), bits.TrailingZeros64(t.minute), true
}

// period is a time in which a zone's clocks do not change. Start and end are
// zero where there is none; before is the offset of the period before.
type period struct {
	start, end     time.Time
	offset, before time.Duration
}

func periodAt(at time.Time) period {
	start, end := at.ZoneBounds()
	if !end.IsZero() && !end.After(at) {
		// On the 366th day of a year the library gives the end of the 365th.
		end = at.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour).In(at.Location())
	}
	p := period{start: start, end: end, offset: offsetAt(at)}
	p.before = p.offset
	if !start.IsZero() {
		p.before = offsetAt(start.Add(-1))
	}
	return p
}

func offsetAt(at time.Time) time.Duration {
	_, seconds := at.Zone()
	return time.Duration(seconds) * time.Second
}

// wall gives what a clock on the wall shows: it is kept as a time in UTC.
func wall(at time.Time, offset time.Duration) time.Time { return at.UTC().Add(offset) }

// nextMinute gives the first whole minute after a time, minuteFrom the first
// that is not before it.
func nextMinute(at time.Time) time.Time { return at.Truncate(time.Minute).Add(time.Minute) }

func minuteFrom(at time.Time) time.Time { return nextMinute(at.Add(-1)) }

// floor divides, also where the dividend is negative.
func floor(dividend, divisor int64) int64 {
	quotient := dividend / divisor
	if dividend%divisor < 0 {
		quotient--
	}
	return quotient
}
