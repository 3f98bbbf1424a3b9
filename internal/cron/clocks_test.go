package cron

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A year of these is compared with what cron does, in every zone that shifts.
var yearly = []string{
	"0 0 * * *", "30 0 * * *", "15 1 * * *", "30 1 * * *", "0 2 * * *", "30 2 * * *", "59 2 * * *", "0 3 * * *",
	"5,35 1-4 * * *", "0,59 0-6/2 * * *", "0 2 * * sun", "30 2 1-7 * 7", "0 23 * * *", "45 23 * * *", "0 4 29 2 *",
	"0 * * * *", "*/10 * * * *", "30 */2 * * *", "* 2 * * *", "* * * * *", "*/30 0-3 * * sat,sun", "15 2,3 */2 * *",
	"@hourly", "@daily", "@weekly", "@monthly", "@yearly",
}

func TestAYearOfSchedulesIsAsCronHasIt(t *testing.T) {
	shifting := 0
	seen := map[uint64]bool{}
	for name := range strings.Lines(zoneNames) {
		zone, err := time.LoadLocation(strings.TrimSpace(name))
		if err != nil {
			t.Fatal(err)
		}
		clock, shifts := clockOf(zone, 2026)
		if !shifts {
			continue
		}
		shifting++
		if !seen[clock] { // many zones are others by another name
			seen[clock] = true
			compareYear(t, zone, 2026)
		}
	}
	if shifting < 100 || len(seen) < 20 {
		t.Errorf("%d zones shift, in %d ways", shifting, len(seen))
	}
}

func TestStrangeYearsAreAsCronHasThem(t *testing.T) {
	for _, strange := range []struct {
		zone string
		year int
		what string
	}{
		{"Pacific/Apia", 2011, "a day is left out"},
		{"Kwajalein", 1993, "a day is left out"},
		{"Kwajalein", 1969, "a day comes twice"},
		{"Antarctica/Casey", 2020, "three hours are left out"},
		{"Antarctica/Casey", 2018, "three hours come twice"},
		{"Antarctica/Troll", 2026, "two hours are left out, and come twice"},
		{"Asia/Pyongyang", 2015, "half an hour comes twice, at midnight"},
		{"America/Caracas", 2016, "half an hour is left out"},
		{"Australia/Lord_Howe", 2026, "the clocks change by half an hour"},
		{"Africa/Casablanca", 2026, "the clocks change for Ramadan"},
		{"America/Sao_Paulo", 2018, "midnight is left out"},
		{"Asia/Gaza", 2040, "the rules are those of the far future"},
		{"Europe/Berlin", 2040, "the library ends a leap year a day early"},
	} {
		zone, err := time.LoadLocation(strange.zone)
		if err != nil {
			t.Fatal(err)
		}
		if _, shifts := clockOf(zone, strange.year); !shifts {
			t.Errorf("%s, %d: no clock changes, and it is known that %s", strange.zone, strange.year, strange.what)
		}
		compareYear(t, zone, strange.year)
	}
}

func TestASkippedTimeComesOnceAndARepeatedOneOnce(t *testing.T) {
	for _, day := range []struct{ expression, zone, after, want string }{
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00"},
		{"* 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-30T02:00:00+02:00 2026-03-30T02:01:00+02:00"},
		{"0 * * * *", "Europe/Berlin", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00 2026-03-29T04:00:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T02:15:00+01:00", "2026-10-26T02:30:00+01:00"},
		{"0 3 * * *", "Europe/Berlin", "2026-10-25T02:15:00+01:00", "2026-10-25T03:00:00+01:00"},
		{"30 * * * *", "Europe/Berlin", "2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00"},
		{"0 0 * * *", "America/Santiago", "2026-09-05T12:00:00-04:00", "2026-09-06T01:00:00-03:00 2026-09-07T00:00:00-03:00"},
		{"0 12 * * *", "Pacific/Apia", "2011-12-29T08:00:00-10:00", "2011-12-29T12:00:00-10:00 2011-12-31T12:00:00+14:00"},
	} {
		timetable, at := parsed(t, day.expression, day.zone), moment(t, day.after)
		for want := range strings.FieldsSeq(day.want) {
			if at = timetable.Next(at); at.Format(time.RFC3339) != want {
				t.Errorf("%s after %s: %s, want %s", timetable, day.after, at.Format(time.RFC3339), want)
			}
		}
	}
}

func TestThePeriodsOfAZoneFollowOneAnother(t *testing.T) {
	for name := range strings.Lines(zoneNames) {
		zone, err := time.LoadLocation(strings.TrimSpace(name))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC).In(zone)
		for p := periodAt(at); !p.end.IsZero() && p.end.Year() < 2200; p = periodAt(p.end) {
			if !p.end.After(at) || p.start.After(at) {
				t.Fatalf("%s at %s: from %s to %s", zone, at, p.start, p.end)
			}
			at = p.end
		}
	}
}

// clockOf gives a sum of what the clocks of a zone show each hour of a year, and
// whether they change.
func clockOf(zone *time.Location, year int) (sum uint64, shifts bool) {
	_, first := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).In(zone).Zone()
	for at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == year; at = at.Add(time.Hour) {
		_, offset := at.In(zone).Zone()
		shifts = shifts || offset != first
		sum = sum*1_099_511_628_211 + uint64(offset+1)
	}
	return sum, shifts
}

func compareYear(t *testing.T, zone *time.Location, year int) {
	t.Helper()
	begin, end := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, want := range slotsOfYear(zone, yearly, begin, end) {
		timetable, err := Parse(yearly[i], zone.String())
		if err != nil {
			t.Fatal(err)
		}
		const most = 1000
		before := begin.Add(-time.Second)
		for _, wanted := range want {
			at := time.Unix(wanted.second, 0)
			if len(want) <= most || wanted.nearChange {
				if got := timetable.Next(before); !got.Equal(at) {
					t.Errorf("%s after %s: %s, want %s", timetable, before.In(zone), got, at.In(zone))
					return
				}
			}
			before = at
		}
		if got := timetable.Next(before); got.Before(end) {
			t.Errorf("%s after %s: %s, want none in the year", timetable, before.In(zone), got)
		}
	}
}

// slot is a time at which cron would start a command.
type slot struct {
	second int64
	// nearChange says that the clocks changed within the last hours, or will.
	nearChange bool
}

// slotsOfYear walks through the minutes of a year as cron does, which looks at
// the clock on the wall and remembers the latest time that it has dealt with.
func slotsOfYear(zone *time.Location, expressions []string, begin, end time.Time) [][]slot {
	plans := make([]plan, len(expressions))
	var atMinute [24 * 60][]int // the plans that may match at a minute of the day
	for i, expression := range expressions {
		plans[i] = planOf(expression)
		for minute := range atMinute {
			if plans[i].minute[minute%60] && plans[i].hour[minute/60] {
				atMinute[minute] = append(atMinute[minute], i)
			}
		}
	}
	slots := make([][]slot, len(plans))
	minuteOf := func(at time.Time) int64 {
		_, offset := at.In(zone).Zone()
		return floor(at.Unix()+int64(offset), 60)
	}
	first := begin.Add(-24 * time.Hour)
	dealtWith, before := minuteOf(first)-1, minuteOf(first)-1
	for at := first; at.Before(end); at = at.Add(time.Minute) {
		now := minuteOf(at)
		jump := now - before - 1
		before = now
		if jump <= -180 || jump >= 180 {
			dealtWith = now - 1
		}
		near := jump != 0 || at.Minute()%15 == 0 && minuteOf(at.Add(-5*time.Hour))+600 != minuteOf(at.Add(5*time.Hour))
		take := func(minute int64, want func(*plan) bool) {
			show := shownAt(minute)
			for _, i := range atMinute[show.hour*60+show.minute] {
				last := len(slots[i]) - 1
				if want(&plans[i]) && plans[i].matches(show) && !at.Before(begin) && (last < 0 || slots[i][last].second < at.Unix()) {
					slots[i] = append(slots[i], slot{at.Unix(), near})
				}
			}
		}
		take(now, func(p *plan) bool { return !p.fixed })
		for minute := dealtWith + 1; minute <= now; minute++ {
			take(minute, func(p *plan) bool { return p.fixed })
		}
		dealtWith = max(dealtWith, now)
	}
	return slots
}

// plan is an expression as the walk understands it.
type plan struct {
	minute, hour, day, month, weekday [60]bool
	either, fixed                     bool
}

func planOf(expression string) plan {
	named := map[string]string{
		"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
	}
	if full, ok := named[expression]; ok {
		expression = full
	}
	words := strings.Fields(strings.NewReplacer("sat", "6", "sun", "0").Replace(expression))
	var p plan
	for i, into := range []*[60]bool{&p.minute, &p.hour, &p.day, &p.month, &p.weekday} {
		lowest, highest := []string{"0", "0", "1", "1", "0"}[i], []string{"59", "23", "31", "12", "6"}[i]
		for item := range strings.SplitSeq(words[i], ",") {
			values, every, _ := strings.Cut(item, "/")
			from, to, isRange := strings.Cut(values, "-")
			switch {
			case values == "*":
				from, to = lowest, highest
			case !isRange && every != "":
				to = highest
			case !isRange:
				to = from
			}
			step := max(1, number(every))
			for value := number(from); value <= number(to); value += step {
				into[value] = true
			}
		}
	}
	p.weekday[0] = p.weekday[0] || p.weekday[7]
	p.either = words[2][0] != '*' && words[4][0] != '*'
	p.fixed = words[0][0] != '*' && words[1][0] != '*'
	return p
}

func number(written string) int {
	n, _ := strconv.Atoi(written)
	return n
}

// shown is what a clock with a calendar shows.
type shown struct{ minute, hour, day, month, weekday int }

func shownAt(minute int64) shown {
	at := time.Unix(minute*60, 0).UTC()
	_, month, day := at.Date()
	return shown{at.Minute(), at.Hour(), day, int(month), int(at.Weekday())}
}

func (p *plan) matches(s shown) bool {
	if !p.minute[s.minute] || !p.hour[s.hour] || !p.month[s.month] {
		return false
	}
	day, weekday := p.day[s.day], p.weekday[s.weekday]
	return day && weekday || p.either && (day || weekday)
}

func parsed(t testing.TB, expression, zone string) Timetable {
	t.Helper()
	timetable, err := Parse(expression, zone)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return timetable
}

func moment(t *testing.T, written string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, written)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestTheListOfZonesIsInOrderAndEachIsKnown(t *testing.T) {
	names := strings.Fields(zoneNames)
	if !slices.IsSorted(names) || len(names) < 500 {
		t.Errorf("%d names", len(names))
	}
	for _, name := range names {
		if _, err := LoadZone(name); err != nil {
			t.Error(err)
		}
	}
}
