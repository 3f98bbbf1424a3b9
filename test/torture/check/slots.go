package main

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/cron"
)

const (
	second = int64(1_000_000)
	// goneLag is by how much the calendar may be ahead, when a schedule is written
	// down as gone, of the moment as of which it went.
	goneLag = 60 * second
)

// period is a time through which the slots of a schedule did not change.
type period struct {
	spec spec
	// first and last are the slots that it begins and ends with; last < first: it had none.
	first, last int64
	// The old slots up to this must be recorded, but not necessarily those after it.
	until int64
	open  bool
}

// checkSlots looks for slots that are missing, twice, or nobody asked for.
func checkSlots(b *book, r *report) {
	recorded := map[scheduleName]map[int64]int{}
	rows, distinct, expected := 0, 0, 0
	for _, run := range b.runs {
		if run.slot == 0 {
			continue
		}
		rows++
		name := scheduleName{run.environment, run.schedule}
		if recorded[name] == nil {
			recorded[name] = map[int64]int{}
		}
		if recorded[name][run.slot]++; recorded[name][run.slot] > 1 {
			r.violation("the slot %s of %s is recorded twice", moment(run.slot), run.schedule)
		} else {
			distinct++
		}
		if run.slot > b.calendar {
			r.violation("the slot %s of %s is recorded before its time: the calendar is at %s", moment(run.slot), run.schedule, moment(b.calendar))
		}
	}
	settings := settingsOf(b, recorded)
	for _, name := range slices.SortedFunc(maps.Keys(settings), func(a, b scheduleName) int { return strings.Compare(a.name, b.name) }) {
		for _, p := range periods(b, name, settings[name], r) {
			expected += checkPeriod(name, p, recorded[name], r)
		}
		for slot := range recorded[name] {
			r.violation("the slot %s of %s is recorded, and is none of its times", moment(slot), name.name)
		}
	}
	r.number("slots expected", expected)
	r.number("slots recorded", rows)
	r.number("slots recorded, distinct", distinct)
	checkPolicies(b, r)
}

// settingsOf gives the history of each schedule. One that nobody wrote down is
// taken to have been as it is since its first slot.
func settingsOf(b *book, recorded map[scheduleName]map[int64]int) map[scheduleName][]setting {
	settings := map[scheduleName][]setting{}
	for _, s := range b.settings {
		known := settings[s.scheduleName]
		// What a transaction ends with is what it did.
		if last := len(known) - 1; last >= 0 && s.tx != 0 && known[last].tx == s.tx {
			known[last] = s
		} else {
			known = append(known, s)
		}
		settings[s.scheduleName] = known
	}
	for _, s := range b.schedules {
		slots := slices.Sorted(maps.Keys(recorded[s.scheduleName]))
		if settings[s.scheduleName] != nil || len(slots) == 0 {
			continue
		}
		settings[s.scheduleName] = []setting{{scheduleName: s.scheduleName, spec: s.spec, next: slots[0]}}
		if s.gone {
			last := slots[len(slots)-1]
			settings[s.scheduleName] = append(settings[s.scheduleName], setting{scheduleName: s.scheduleName, spec: s.spec, gone: true, last: last, calendar: last})
		}
	}
	return settings
}

// periods makes of a schedule's history the times through which it was the same.
func periods(b *book, name scheduleName, settings []setting, r *report) (all []period) {
	for _, s := range settings {
		var current *period
		if len(all) > 0 {
			current = &all[len(all)-1]
		}
		same := current != nil && current.spec.Cron == s.spec.Cron && current.spec.Timezone == s.spec.Timezone
		switch {
		case s.gone && current != nil && current.open:
			current.open, current.last, current.until = false, s.last, s.calendar-goneLag
		case s.gone:
		case same && current.open, same && s.next == current.expected():
			current.open = true
		default:
			if current != nil && current.open {
				current.open, current.last, current.until = false, s.last, s.changedAt()
			}
			if current != nil && s.next <= current.last {
				r.violation("%s begins again with the slot %s, before its last one, %s", name.name, moment(s.next), moment(current.last))
			}
			if next := after(s.spec, s.calendar, r); s.next != 0 && s.next > next {
				r.violation("%s begins with the slot %s, and leaves out %s", name.name, moment(s.next), moment(next))
			}
			all = append(all, period{spec: s.spec, first: s.next, open: s.next != 0})
		}
	}
	if len(all) > 0 && all[len(all)-1].open {
		all[len(all)-1].last, all[len(all)-1].until = b.calendar, b.calendar
	}
	return all
}

// expected is the slot that follows the last one.
func (p period) expected() int64 {
	if p.last < p.first {
		return p.first
	}
	return after(p.spec, p.last, nil)
}

// changedAt is a time that had come when the schedule was changed: its new slots
// begin after it. 0: unknown.
func (s setting) changedAt() int64 {
	if every := interval(s.spec); every > 0 {
		return s.next - every*second
	}
	return 0
}

// checkPeriod looks for the slots of a period, takes them out of those that are
// recorded, and gives how many there are to be.
func checkPeriod(name scheduleName, p period, recorded map[int64]int, r *report) (expected int) {
	for slot := p.first; slot != 0 && slot <= max(p.last, p.until); slot = after(p.spec, slot, r) {
		expected++
		if recorded[slot] == 0 {
			r.violation("the slot %s of %s is missing", moment(slot), name.name)
		}
		delete(recorded, slot)
	}
	return expected
}

// checkPolicies looks for slots that became what their schedule rules out.
func checkPolicies(b *book, r *report) {
	specs := map[scheduleName]spec{}
	for _, s := range b.schedules {
		specs[s.scheduleName] = s.spec
	}
	states := map[string]int{}
	for _, run := range b.runs {
		s := specs[scheduleName{run.environment, run.schedule}]
		if run.slot == 0 {
			continue
		}
		states[run.state]++
		switch {
		case run.state == "missed" && s.Missed == "all":
			r.violation("the slot %s of %s was missed, though all are to run", moment(run.slot), run.schedule)
		case run.state == "skipped" && s.Overlap != "skip":
			r.violation("the slot %s of %s was skipped, though its overlap is %s", moment(run.slot), run.schedule, s.Overlap)
		case run.attempt == 0 && (run.runAt < run.slot || run.runAt > run.slot+s.Jitter/1000):
			r.violation("the slot %s of %s was to run at %s, beyond its jitter", moment(run.slot), run.schedule, moment(run.runAt))
		}
	}
	for _, state := range slices.Sorted(maps.Keys(states)) {
		r.number("slots that were "+state, states[state])
	}
}

// after is the slot after a time, second by second for an interval; 0: there is none.
func after(s spec, time int64, r *report) int64 {
	if every := interval(s); every > 0 {
		next := time/second + 1
		for next%every != 0 {
			next++
		}
		return next * second
	}
	timetable, err := cron.Parse(s.Cron, s.Timezone)
	if err != nil {
		if r != nil {
			r.violation("%q in %q is no schedule: %v", s.Cron, s.Timezone, err)
		}
		return 0
	}
	if next := timetable.Next(at(time)); !next.IsZero() {
		return next.UnixMicro()
	}
	return 0
}

// interval is that of "every 10m", in seconds; 0: it is something else.
func interval(s spec) int64 {
	text, ok := strings.CutPrefix(s.Cron, "every ")
	every, err := time.ParseDuration(text)
	if !ok || err != nil {
		return 0
	}
	return int64(every / time.Second)
}

func at(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

func moment(micros int64) string { return at(micros).Format("2006-01-02T15:04:05.999999Z") }
