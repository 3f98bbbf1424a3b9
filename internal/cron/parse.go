package cron

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/springtide/springtide"
)

const (
	shortestEvery = time.Second
	longestEvery  = 366 * 24 * time.Hour
	// expressionLimit is in bytes.
	expressionLimit = 1000
)

// aliases are the expressions that have names.
var aliases = map[string]string{
	"@hourly":   "0 * * * *",
	"@daily":    "0 0 * * *",
	"@midnight": "0 0 * * *",
	"@weekly":   "0 0 * * 0",
	"@monthly":  "0 0 1 * *",
	"@yearly":   "0 0 1 1 *",
	"@annually": "0 0 1 1 *",
}

// field is one of the five of an expression.
type field struct {
	name            string
	lowest, highest int
	example         string
	parser          cron.Parser
	bits            func(*cron.SpecSchedule) uint64
}

// fields are the fields of an expression in order. The day of the week is read
// as an hour, since 7 is Sunday too.
var fields = []field{
	{"minute", 0, 59, "*/5", cron.NewParser(cron.Minute), func(s *cron.SpecSchedule) uint64 { return s.Minute }},
	{"hour", 0, 23, "8-18", cron.NewParser(cron.Hour), func(s *cron.SpecSchedule) uint64 { return s.Hour }},
	{"day of the month", 1, 31, "1,15", cron.NewParser(cron.Dom), func(s *cron.SpecSchedule) uint64 { return s.Dom }},
	{"month", 1, 12, "jan-mar", cron.NewParser(cron.Month), func(s *cron.SpecSchedule) uint64 { return s.Month }},
	{"day of the week", 0, 7, "mon-fri", cron.NewParser(cron.Hour), func(s *cron.SpecSchedule) uint64 { return s.Hour }},
}

// weekdays are the names of the days of the week, in order.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// daysOfMonths counts the days of the months, the longest that they may be.
var daysOfMonths = []int{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// Parse reads an expression. The timezone is a name of the IANA database, UTC
// if it is empty; an interval is the same in all of them. Errors are of kind
// Invalid: they name the field and say how to mend it, and what never comes, as
// the 30th of February, is one.
func Parse(expression, timezone string) (Timetable, error) {
	zone, err := LoadZone(timezone)
	if err != nil {
		return Timetable{}, err
	}
	if len(expression) > expressionLimit {
		return Timetable{}, springtide.Errorf(springtide.Invalid, "the expression is longer than %d bytes", expressionLimit)
	}
	words := strings.Fields(expression)
	table := Timetable{expression: strings.Join(words, " "), zone: zone}
	switch {
	case len(words) == 0:
		return Timetable{}, springtide.Errorf(springtide.Invalid, "the expression is empty").WithHint(`write five fields, like "0 8 * * *", or @daily`)
	case words[0] == "every":
		table.every, err = parseEvery(words[1:])
		return table, err
	case strings.HasPrefix(words[0], "@"):
		if words, err = parseAlias(words); err != nil {
			return Timetable{}, err
		}
	}
	if err := table.parseFields(words); err != nil {
		return Timetable{}, err
	}
	return table, nil
}

func parseEvery(words []string) (time.Duration, error) {
	written := strings.Join(words, "")
	every, err := time.ParseDuration(written)
	switch {
	case err != nil:
		return 0, springtide.Errorf(springtide.Invalid, "every %s: that is no interval", shorten(written)).WithHint("write every 10m, every 1h30m or every 24h")
	case every < shortestEvery || every%time.Second != 0:
		return 0, springtide.Errorf(springtide.Invalid, "every %s: an interval is a second at least, and whole seconds", written).WithHint("write every 1s or longer")
	case every > longestEvery:
		return 0, springtide.Errorf(springtide.Invalid, "every %s: an interval is 366 days at most", written).WithHint("write the date in five fields, like \"0 0 1 1 *\"")
	}
	return every, nil
}

func parseAlias(words []string) ([]string, error) {
	alias := strings.ToLower(words[0])
	if expression, known := aliases[alias]; known && len(words) == 1 {
		return strings.Fields(expression), nil
	}
	switch alias {
	case "@reboot":
		return nil, springtide.Errorf(springtide.Invalid, "@reboot has no time: an app runs on servers that come and go").
			WithHint("run it as the release command, or at the start of a process")
	case "@every":
		return nil, springtide.Errorf(springtide.Invalid, "@every is not known").WithHint("write %s", strings.TrimSpace("every "+strings.Join(words[1:], "")))
	}
	return nil, springtide.Errorf(springtide.Invalid, "%s is not known", shorten(strings.Join(words, " "))).
		WithHint("write one of %s, or five fields", strings.Join(slices.Sorted(maps.Keys(aliases)), ", "))
}

// parseFields reads the five fields.
func (t *Timetable) parseFields(words []string) error {
	if strings.Contains(words[0], "=") {
		return springtide.Errorf(springtide.Invalid, "%s does not belong into the expression", shorten(words[0])).WithHint("give the zone as the timezone of the schedule")
	}
	if len(words) != len(fields) {
		err := springtide.Errorf(springtide.Invalid, "the expression has %d fields, want %d: minute, hour, day of the month, month, day of the week", len(words), len(fields))
		if len(words) == len(fields)+1 {
			return err.WithHint("there is no field for seconds; write every 10s for what comes more often than each minute")
		}
		return err.WithHint(`like "0 8 * * *" for 8 o'clock every day`)
	}
	into := []*uint64{&t.minute, &t.hour, &t.day, &t.month, &t.weekday}
	for i, word := range words {
		parsed, err := fields[i].parse(strings.ToLower(word))
		if err != nil {
			return err
		}
		*into[i] = parsed
	}
	t.weekday = (t.weekday | t.weekday>>7) & 0x7f
	t.fixed = !star(words[0]) && !star(words[1])
	t.eitherDay = !star(words[2]) && !star(words[4])
	if t.never() {
		return springtide.Errorf(springtide.Invalid, "%s never fires: there is no such day in that month", shorten(t.expression)).WithHint("mend the day of the month or the month")
	}
	return nil
}

// star reports whether a field begins with the sign for all of its values.
func star(field string) bool { return field[0] == '*' || field[0] == '?' }

// never reports whether there is no day that matches. Within 400 years every
// date falls on every day of the week.
func (t *Timetable) never() bool {
	if t.eitherDay {
		return false
	}
	for i, days := range daysOfMonths {
		if t.month>>(i+1)&1 == 1 && t.day&(2<<days-1) != 0 {
			return false
		}
	}
	return true
}

// itemPattern is an item of a field's list: parts are the first value, the
// last, and the step.
var itemPattern = regexp.MustCompile(`^(?:[*?]|([a-z]+|[0-9]{1,4})(?:-([a-z]+|[0-9]{1,4}))?)(?:/([0-9]{1,4}))?$`)

// parse gives a bit for each value of a field.
func (f field) parse(written string) (uint64, error) {
	for item := range strings.SplitSeq(written, ",") {
		part := itemPattern.FindStringSubmatch(item)
		if part == nil {
			return 0, f.error(written, "cannot be read")
		}
		if step, _ := strconv.Atoi(part[3]); step > f.highest {
			return 0, f.error(written, "has a step that is longer than the field")
		}
	}
	readable := written
	if f.highest == 7 {
		readable = weekdaysAsHours(written)
	}
	schedule, err := f.parser.Parse(readable)
	if err != nil {
		return 0, f.error(written, "is out of range")
	}
	const starBit = 1 << 63
	parsed := f.bits(schedule.(*cron.SpecSchedule)) &^ starBit
	if parsed == 0 || parsed>>(f.highest+1) != 0 {
		return 0, f.error(written, "is out of range")
	}
	return parsed, nil
}

func (f field) error(written, problem string) error {
	return springtide.Errorf(springtide.Invalid, "the %s %q %s", f.name, shorten(written), problem).
		WithHint("write a number from %d to %d, a range, a list, or * with a step, like %s", f.lowest, f.highest, f.example)
}

// weekdaysAsHours writes days of the week so that they can be read as hours.
// Sunday as the end of a range is 7.
func weekdaysAsHours(written string) string {
	items := strings.Split(written, ",")
	for i, item := range items {
		values, step, stepped := strings.Cut(item, "/")
		first, last, ranged := strings.Cut(values, "-")
		switch {
		case star(values):
			first, last = "0", "6"
		case ranged && last == weekdays[0]:
			last = "7"
		case !ranged && stepped:
			last = "6"
		}
		items[i] = weekdayNumber(first)
		if last != "" {
			items[i] += "-" + weekdayNumber(last)
		}
		if stepped {
			items[i] += "/" + step
		}
	}
	return strings.Join(items, ",")
}

func weekdayNumber(name string) string {
	if i := slices.Index(weekdays, name); i >= 0 {
		return strconv.Itoa(i)
	}
	return name
}

// shorten keeps a message readable whatever was written.
func shorten(written string) string {
	if runes := []rune(written); len(runes) > 60 {
		return string(runes[:57]) + "..."
	}
	return written
}
