package manifest

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/calendar"
)

// eventSection says when more traffic is expected.
type eventSection struct {
	At position `json:"-"`

	Name  set[content]        `json:"name,omitempty" jsonschema_description:"What it is, as people are told."`
	Begin set[moment]         `json:"at,omitempty" jsonschema_description:"When it begins, the first time: with its offset, 2026-11-28T18:00+01:00, or by the clock of the timezone, 2026-11-28T18:00."`
	For   set[duration]       `json:"for,omitempty" jsonschema:"minimum=1s,maximum=7d" jsonschema_description:"How long it goes on. Default: 1h."`
	Min   map[name]set[count] `json:"min,omitempty" jsonschema_description:"How many instances are to be ready by then, at least, by process."`
	Every set[repetition]     `json:"every,omitempty" jsonschema_description:"When it begins again: day, weekday, week, month, year, or a rule of RFC 5545, like FREQ=WEEKLY;BYDAY=MO,FR. Default: it happens once."`
	Zone  set[zone]           `json:"timezone,omitempty" jsonschema_description:"The zone by whose clock it begins, by its IANA name. Default: UTC."`
}

const defaultEventFor = time.Hour

// moment is a time as in RFC 3339; the seconds can be left out, and the offset
// where a timezone is named.
type moment struct {
	time.Time
	local bool // by the clock of a zone that is named elsewhere
}

func (v *moment) parse(n *node) error {
	for i, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", localMoment, "2006-01-02T15:04"} {
		if at, err := time.Parse(layout, n.text); err == nil && n.kind == text {
			*v = moment{at, i > 1}
			return nil
		}
	}
	return fmt.Errorf("want a time with its offset, like \"2026-11-28T18:00+01:00\", got %s", n.shown())
}

const localMoment = "2006-01-02T15:04:05"

func (v *moment) write() (string, bool) {
	layout := time.RFC3339
	if v.local {
		layout = localMoment
	}
	return v.Format(layout), false
}

// repetition says when it happens again, by a word or a rule.
type repetition string

func (v *repetition) parse(n *node) error {
	rule, err := calendar.Rule(n.text)
	if err != nil || n.kind != text {
		return fmt.Errorf("want day, weekday, week, month, year, or a rule like \"FREQ=WEEKLY;BYDAY=MO,FR\", got %s: %w", n.shown(), err)
	}
	*v = repetition(rule)
	return nil
}

func (v *repetition) write() (string, bool) { return string(*v), false }

// begin is when an event begins.
func (r *resolver) begin(path string, s *eventSection) time.Time {
	begin := s.Begin.Value
	switch {
	case !s.Begin.IsSet && !s.Begin.attempted():
		r.problems.add(s.At, "%s: at is missing: say when it begins, like at: \"2026-11-28T18:00+01:00\"", path)
	case begin.local && !s.Zone.IsSet:
		r.problems.add(s.Begin.At, "%s.at: want a time with its offset, like \"2026-11-28T18:00+01:00\", or a timezone beside it", path)
	case begin.local:
		if in, err := calendar.Zone(string(s.Zone.Value)); err == nil {
			at := begin.Time
			return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, in)
		}
	}
	return begin.Time
}

// announce gives the processes what is announced of them.
func (r *resolver) announce(d *document, app *springtide.App) {
	for i, s := range d.Events {
		path, title := fmt.Sprintf("events[%d]", i), string(s.Name.Value)
		if title == "" {
			title = strconv.Itoa(i + 1)
		}
		from := r.begin(path, s)
		if len(s.Min) == 0 {
			r.problems.add(s.At, "%s: min is missing: say how many are to be ready, like min: { web: 12 }", path)
		}
		for _, process := range sortedKeys(s.Min) {
			least := s.Min[process]
			announced, known := app.Processes[springtide.ProcessName(process)]
			switch {
			case !known:
				r.problems.add(least.At, "%s.min: there is no process %q", path, process)
			case !announced.HTTP:
				r.problems.add(least.At, "%s.min.%s: the process is given no requests", path, process)
			case least.IsSet && least.Value < 1:
				r.problems.add(least.At, "%s.min.%s: %d is too little; it is at least 1", path, process, least.Value)
			case int(least.Value) > announced.Scale.Max:
				r.problems.add(least.At, "%s.min.%s: %d is more than processes.%s.scale.max, which is %d", path, process, least.Value, process, announced.Scale.Max)
			default:
				announced.Announcements = append(announced.Announcements, springtide.Announcement{
					Name: title, From: from, Until: from.Add(time.Duration(s.For.or(duration(defaultEventFor)))), Instances: int(least.Value),
					Repetition: springtide.Repetition{Repeat: string(s.Every.Value), Timezone: string(s.Zone.Value)},
				})
				app.Processes[springtide.ProcessName(process)] = announced
			}
		}
	}
}

// announcements compares what is announced of a process.
func (d *difference) announcements(process springtide.ProcessName, from, to []springtide.Announcement) {
	named := func(all []springtide.Announcement) map[string]springtide.Announcement {
		by := make(map[string]springtide.Announcement, len(all))
		for _, one := range all {
			by[one.Name] = one
		}
		return by
	}
	words := func(a *springtide.Announcement) string {
		if a == nil {
			return ""
		}
		when := strconv.Itoa(a.Instances) + " of " + string(process) + " from " + a.From.Format(time.RFC3339) + " for " + formatDuration(a.Until.Sub(a.From))
		if a.Repeat != "" {
			when += ", " + strings.TrimSpace(a.Repeat+" "+a.Timezone)
		}
		return when
	}
	eachOf(named(from), named(to), func(name string, before, after *springtide.Announcement) {
		d.value("events."+name, effectScale, words(before), words(after))
	})
}
