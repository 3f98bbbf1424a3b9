package calendar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	ics "github.com/arran4/golang-ical"

	"github.com/springtide/springtide"
)

const (
	// largestFile is how many bytes of a calendar are read.
	largestFile = 4 << 20
	// mostEntries is how many of its entries are looked at.
	mostEntries = 5000
	// minimumProperty says, in an entry, how many instances it wants: web=12,api=3.
	minimumProperty = "X-SPRINGTIDE-MIN"
)

// Options say what is made of a calendar.
type Options struct {
	// Calendar is what it is called.
	Calendar string
	// Zone is that of times without one, such as whole days; nil: they are refused,
	// unless the calendar names one (X-WR-TIMEZONE).
	Zone *time.Location
	// Match is part of the names of the entries that are meant; empty: all.
	Match string
	// Min is how many instances an entry wants that does not say itself.
	Min map[springtide.ProcessName]int
	Now time.Time
}

// Skipped is an entry of a calendar of which nothing was made.
type Skipped struct {
	Name string `json:"name"`
	Line int    `json:"line"`
	Why  string `json:"why"`
}

// Read makes occasions of the entries of an iCalendar file (RFC 5545). One that is
// over, was cancelled, or is not meant is skipped; one that cannot be understood is
// an error of kind Invalid that names its line.
func Read(in io.Reader, o Options) ([]springtide.Occasion, []Skipped, error) {
	text, err := io.ReadAll(io.LimitReader(in, largestFile+1))
	if err != nil {
		return nil, nil, springtide.Errorf(springtide.Failed, "%s cannot be read: %w", o.Calendar, err)
	}
	if len(text) > largestFile {
		return nil, nil, springtide.Errorf(springtide.Invalid, "%s is larger than %d MiB", o.Calendar, largestFile>>20).
			WithHint("export only the calendar with the events")
	}
	parsed, err := ics.ParseCalendarWithOptions(bytes.NewReader(text), ics.WithUnknownPropertyHandler(ics.AcceptUnknownPropertyHandler))
	if err != nil || parsed == nil || !bytes.Contains(text, []byte("BEGIN:VCALENDAR")) {
		return nil, nil, springtide.Errorf(springtide.Invalid, "%s is no calendar: %v", o.Calendar, err).
			WithHint("export it as iCalendar (.ics)")
	}
	r := reader{Options: o, taken: map[string]int{}}
	for _, p := range parsed.CalendarProperties {
		if p.IANAToken == "X-WR-TIMEZONE" && r.Zone == nil {
			if r.Zone, err = zoneOf(p.Value); err != nil {
				return nil, nil, springtide.Errorf(springtide.Invalid, "%s: %w", o.Calendar, err)
			}
		}
	}
	lines, entries := linesOf(text), parsed.Events()
	if len(entries) > mostEntries {
		return nil, nil, springtide.Errorf(springtide.Invalid, "%s has %d entries; %d can be read", o.Calendar, len(entries), mostEntries)
	}
	for i, entry := range entries {
		line := 0
		if i < len(lines) {
			line = lines[i]
		}
		if err := r.entry(entry, line); err != nil {
			return nil, nil, springtide.Errorf(springtide.Invalid, "%s:%d: %w", o.Calendar, line, err)
		}
	}
	return r.finish()
}

// reader gathers what is made of entries.
type reader struct {
	Options
	occasions []springtide.Occasion
	lines     []int
	skipped   []Skipped
	taken     map[string]int // occasions by ID
	// instead are occurrences that another entry tells of, or that are cancelled.
	instead []instead
}

type instead struct {
	of string
	at time.Time
}

// entry makes an occasion of one entry, or skips it.
func (r *reader) entry(entry *ics.VEvent, line int) error {
	name, id := textOf(entry, "SUMMARY"), textOf(entry, "UID")
	if name == "" {
		name = "an event without a name"
	}
	skip := func(why string) { r.skipped = append(r.skipped, Skipped{name, line, why}) }
	if r.Match != "" && !strings.Contains(strings.ToLower(name), strings.ToLower(r.Match)) {
		return nil
	}
	begin := entry.GetProperty("DTSTART")
	if begin == nil {
		return errors.New("it has no DTSTART")
	}
	from, zone, err := r.moment(begin)
	if err != nil {
		return err
	}
	if id == "" {
		id = name + "/" + from.UTC().Format(time.RFC3339)
	}
	if replaced := entry.GetProperty("RECURRENCE-ID"); replaced != nil {
		at, _, err := r.moment(replaced)
		if err != nil {
			return err
		}
		r.instead = append(r.instead, instead{id, at})
		id += "/" + at.UTC().Format(time.RFC3339)
	}
	if strings.EqualFold(textOf(entry, "STATUS"), "CANCELLED") {
		skip("it is cancelled")
		return nil
	}
	occasion := springtide.Occasion{ID: id, Name: name, Calendar: r.Calendar, From: from}
	if occasion.Until, err = r.end(entry, begin, from); err != nil {
		return err
	}
	if occasion.Until.Sub(from) > Longest {
		skip("it goes on for more than 7 days")
		return nil
	}
	if occasion.Repetition, err = r.repetition(entry, zone); err != nil {
		return err
	}
	if occasion.Min, err = r.wants(entry, name); err != nil {
		return err
	}
	if _, twice := r.taken[id]; twice {
		return fmt.Errorf("a second entry has the UID %q", id)
	}
	r.taken[id] = len(r.occasions)
	r.occasions, r.lines = append(r.occasions, occasion), append(r.lines, line)
	return r.dates(entry, occasion, line)
}

// dates makes occasions of the further times of an entry (RDATE), each a time or a
// period with an end of its own.
func (r *reader) dates(entry *ics.VEvent, occasion springtide.Occasion, line int) error {
	except, err := r.except(entry)
	if err != nil {
		return err
	}
	length := occasion.Until.Sub(occasion.From)
	for _, p := range entry.GetProperties("RDATE") {
		for value := range strings.SplitSeq(p.Value, ",") {
			if len(r.occasions) >= mostEntries {
				return fmt.Errorf("there are more than %d times in all", mostEntries)
			}
			one := *p
			begin, end, period := strings.Cut(value, "/")
			one.Value = begin
			from, _, err := r.moment(&one)
			if err != nil {
				return err
			}
			until := from.Add(length)
			if period {
				if until, err = r.periodEnd(one, from, end); err != nil {
					return err
				}
			}
			further := occasion
			further.ID, further.From, further.Until, further.Repetition = dateID(occasion.ID, from), from, until, springtide.Repetition{}
			_, twice := r.taken[further.ID]
			if twice || from.Equal(occasion.From) || slices.ContainsFunc(except, from.Equal) {
				continue
			}
			if until.Sub(from) > Longest {
				r.skipped = append(r.skipped, Skipped{occasion.Name, line, "it goes on for more than 7 days"})
				continue
			}
			r.taken[further.ID] = len(r.occasions)
			r.occasions, r.lines = append(r.occasions, further), append(r.lines, line)
		}
	}
	return nil
}

// dateID names a further time of an entry.
func dateID(id string, at time.Time) string { return id + "/R" + at.UTC().Format(time.RFC3339) }

// periodEnd reads the end of a period: a time, or how long it is.
func (r *reader) periodEnd(p ics.IANAProperty, from time.Time, end string) (time.Time, error) {
	if length, err := lengthOf(end); err == nil {
		return from.Add(length), nil
	}
	p.Value = end
	until, _, err := r.moment(&p)
	if err == nil && !until.After(from) {
		err = fmt.Errorf("a period of RDATE ends before it begins: %s", end)
	}
	return until, err
}

// wants is how many instances an entry wants: as it says itself, else as all do.
func (r *reader) wants(entry *ics.VEvent, name string) (map[springtide.ProcessName]int, error) {
	if own := entry.GetProperty(minimumProperty); own != nil {
		return Minimum(own.Value)
	}
	if len(r.Min) == 0 {
		return nil, springtide.Errorf(springtide.Invalid, "%q does not say how many instances it wants", name).
			WithHint("say it for all: --min web=12; or in the entry: %s:web=12", minimumProperty)
	}
	return r.Min, nil
}

// end is when an entry ends: by itself, by its duration, or an hour or a day later.
func (r *reader) end(entry *ics.VEvent, begin *ics.IANAProperty, from time.Time) (time.Time, error) {
	if p := entry.GetProperty("DTEND"); p != nil {
		until, _, err := r.moment(p)
		if err != nil {
			return until, err
		}
		if until.Before(from) {
			return until, fmt.Errorf("it ends before it begins: %s", p.Value)
		}
		if until.After(from) {
			return until, nil
		}
	}
	if p := entry.GetProperty("DURATION"); p != nil {
		length, err := lengthOf(p.Value)
		return from.Add(length), err
	}
	if len(begin.Value) == len("20260102") {
		return from.AddDate(0, 0, 1), nil
	}
	return from.Add(time.Hour), nil
}

// repetition is when it happens again.
func (r *reader) repetition(entry *ics.VEvent, zone *time.Location) (springtide.Repetition, error) {
	var repetition springtide.Repetition
	rules := entry.GetProperties("RRULE")
	if len(rules) == 0 {
		return repetition, nil
	}
	if len(rules) > 1 {
		return repetition, errors.New("it has more than one RRULE")
	}
	rule, err := Rule(rules[0].Value)
	if err != nil {
		return repetition, err
	}
	repetition.Repeat, repetition.Timezone = rule, zone.String()
	repetition.Except, err = r.except(entry)
	return repetition, err
}

// except gives the beginnings that are left out.
func (r *reader) except(entry *ics.VEvent) (all []time.Time, err error) {
	for _, p := range entry.GetProperties("EXDATE") {
		for value := range strings.SplitSeq(p.Value, ",") {
			one := *p
			one.Value = value
			at, _, err := r.moment(&one)
			if err != nil {
				return nil, err
			}
			all = append(all, at)
		}
	}
	return all, nil
}

// finish leaves out what other entries tell of, and what is over.
func (r *reader) finish() ([]springtide.Occasion, []Skipped, error) {
	replaced := map[int]bool{}
	for _, other := range r.instead {
		if i, known := r.taken[dateID(other.of, other.at)]; known {
			replaced[i] = true
		}
		if i, known := r.taken[other.of]; known {
			r.occasions[i].Except = append(r.occasions[i].Except, other.at)
		}
	}
	var kept []springtide.Occasion
	for i, occasion := range r.occasions {
		if replaced[i] {
			continue
		}
		over := false
		for process := range occasion.Min {
			a, _ := occasion.Announcement(process)
			coming, err := Coming(a, r.Now, later(r.Now, a.From).Add(ahead), 1)
			if err != nil {
				return nil, nil, springtide.Errorf(springtide.Invalid, "%s:%d: %w", r.Calendar, r.lines[i], err)
			}
			over = len(coming) == 0
			break
		}
		if over {
			r.skipped = append(r.skipped, Skipped{occasion.Name, r.lines[i], "it is over"})
			continue
		}
		kept = append(kept, occasion)
	}
	return kept, r.skipped, nil
}

// moment reads DTSTART and the like, and the zone that it is in.
func (r *reader) moment(p *ics.IANAProperty) (time.Time, *time.Location, error) {
	zone, value := r.Zone, strings.TrimSpace(p.Value)
	if named := p.ICalParameters["TZID"]; len(named) > 0 {
		own, err := zoneOf(named[0])
		if err != nil {
			return time.Time{}, nil, err
		}
		zone = own
	}
	if at, err := time.Parse("20060102T150405Z", value); err == nil {
		return at, time.UTC, nil
	}
	for _, layout := range []string{"20060102T150405", "20060102"} {
		if _, err := time.Parse(layout, value); err != nil {
			continue
		}
		if zone == nil {
			return time.Time{}, nil, springtide.Errorf(springtide.Invalid, "%s:%s is in no time zone", p.IANAToken, value).
				WithHint("name one with --timezone, like --timezone Europe/Berlin")
		}
		at, err := time.ParseInLocation(layout, value, zone)
		return at, zone, err
	}
	return time.Time{}, nil, fmt.Errorf("%s:%s is no time", p.IANAToken, value)
}

// zoneOf finds the zone of a TZID, which some programs write as a path that ends
// with the IANA name, and others as Windows calls it.
func zoneOf(name string) (*time.Location, error) {
	name = strings.Trim(name, `"`)
	if iana, known := ianaOf(name); known {
		return Zone(iana)
	}
	if parts := strings.Split(name, "/"); strings.HasPrefix(name, "/") && len(parts) > 2 {
		if zone, err := Zone(strings.Join(parts[len(parts)-2:], "/")); err == nil {
			return zone, nil
		}
	}
	return Zone(name)
}

func textOf(entry *ics.VEvent, property ics.ComponentProperty) string {
	p := entry.GetProperty(property)
	if p == nil {
		return ""
	}
	plain := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, ics.FromText(p.Value))
	return strings.TrimSpace(strings.ToValidUTF8(plain[:min(len(plain), 200)], ""))
}

// lengths are durations as RFC 5545, section 3.3.6, writes them.
var lengths = regexp.MustCompile(`^\+?P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,5})M)?(?:(\d{1,6})S)?)?$`)

func lengthOf(value string) (time.Duration, error) {
	parts := lengths.FindStringSubmatch(strings.TrimSpace(value))
	var length time.Duration
	for i, unit := range []time.Duration{7 * 24 * time.Hour, 24 * time.Hour, time.Hour, time.Minute, time.Second} {
		if parts != nil && parts[i+1] != "" {
			n, err := strconv.Atoi(parts[i+1])
			if err != nil {
				return 0, err
			}
			length += time.Duration(n) * unit
		}
	}
	if length <= 0 {
		return 0, fmt.Errorf("DURATION:%s is no length of time", value)
	}
	return length, nil
}

// linesOf gives the lines on which entries begin.
func linesOf(text []byte) (lines []int) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if bytes.EqualFold(bytes.TrimSpace(line), []byte("BEGIN:VEVENT")) {
			lines = append(lines, n)
		}
	}
	return lines
}

// Minimum reads "web=12,api=3".
func Minimum(text string) (map[springtide.ProcessName]int, error) {
	all := map[springtide.ProcessName]int{}
	for part := range strings.SplitSeq(text, ",") {
		name, number, found := strings.Cut(strings.TrimSpace(part), "=")
		n, err := strconv.Atoi(number)
		if !found || name == "" || err != nil || n < 1 || n > springtide.MostInstances {
			return nil, springtide.Errorf(springtide.Invalid, "%q does not say how many instances of what", part).
				WithHint("for example web=12, at most %d", springtide.MostInstances)
		}
		all[springtide.ProcessName(name)] = n
	}
	return all, nil
}
