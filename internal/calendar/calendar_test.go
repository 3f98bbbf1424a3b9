package calendar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func warsaw(t *testing.T) *time.Location {
	t.Helper()
	zone, err := Zone("Europe/Warsaw")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

// times tells when something begins, by the clock of its zone.
func times(t *testing.T, a springtide.Announcement, now time.Time, days, most int) string {
	t.Helper()
	coming, err := Coming(a, now, now.AddDate(0, 0, days), most)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, one := range coming {
		all = append(all, one.From.Format("01-02 15:04"))
	}
	return strings.Join(all, ", ")
}

func TestAShowStaysAtItsHourWhenTheClocksChange(t *testing.T) {
	zone := warsaw(t)
	begin := time.Date(2026, 10, 17, 18, 0, 0, 0, zone)
	show := springtide.Announcement{
		Name: "show", From: begin, Until: begin.Add(2 * time.Hour), Instances: 3,
		Repetition: springtide.Repetition{Repeat: "FREQ=WEEKLY", Timezone: "Europe/Warsaw", Except: []time.Time{begin.AddDate(0, 0, 7)}},
	}
	if got, want := times(t, show, begin.Add(-time.Hour), 29, 10), "10-17 18:00, 10-31 18:00, 11-07 18:00, 11-14 18:00"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := times(t, show, begin.Add(time.Hour), 3, 10), "10-17 18:00"; got != want {
		t.Errorf("the one that goes on: %s, want %s", got, want)
	}
	if got := times(t, show, begin.Add(2*time.Hour), 3, 10); got != "" {
		t.Errorf("it is over, but there is %s", got)
	}
}

func TestWhatIsOverNeverHappensOrCannotBeIsRefused(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	good := springtide.Announcement{Name: "x", From: now.Add(time.Hour), Until: now.Add(2 * time.Hour), Instances: 1}
	if err := Check(good, now); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*springtide.Announcement){
		"is over since":          func(a *springtide.Announcement) { a.From, a.Until = now.Add(-2*time.Hour), now },
		"no time when it begins": func(a *springtide.Announcement) { a.From = time.Time{} },
		"begins in the year 9999": func(a *springtide.Announcement) {
			a.From, a.Until = a.From.AddDate(9999-2026, 0, 0), a.Until.AddDate(9999-2026, 0, 0)
		},
		"at most 7 days":        func(a *springtide.Announcement) { a.Until = a.From.AddDate(0, 0, 8) },
		"more than nothing":     func(a *springtide.Announcement) { a.Until = a.From },
		"wants 0 instances":     func(a *springtide.Announcement) { a.Instances = 0 },
		"at most daily":         func(a *springtide.Announcement) { a.Repeat = "FREQ=HOURLY" },
		"BYMINUTE":              func(a *springtide.Announcement) { a.Repeat = "FREQ=DAILY;BYMINUTE=1,2" },
		"INTERVAL":              func(a *springtide.Announcement) { a.Repeat = "FREQ=DAILY;INTERVAL=9999999" },
		"undefined frequency":   func(a *springtide.Announcement) { a.Repeat = "FREQ=OFTEN" },
		"single line":           func(a *springtide.Announcement) { a.Repeat = "FREQ=DAILY\nFREQ=DAILY" },
		"does not happen again": func(a *springtide.Announcement) { a.Repeat = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30" },
		"is not known":          func(a *springtide.Announcement) { a.Repeat, a.Timezone = "FREQ=DAILY", "Europe/Atlantis" },
		"began to repeat in 2001, which": func(a *springtide.Announcement) {
			a.Repeat, a.From = "FREQ=DAILY", now.AddDate(-25, 0, 0)
			a.Until = a.From.Add(1)
		},
	} {
		a := good
		spoil(&a)
		if err := Check(a, now); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

const shows = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nX-WR-TIMEZONE:Europe/Warsaw\r\n" +
	"BEGIN:VEVENT\r\nUID:top\r\nSUMMARY:Top 10\\, live\r\nDTSTART;TZID=Europe/Warsaw:20261106T180000\r\nDTEND;TZID=Europe/Warsaw:20261106T193000\r\n" +
	"RRULE:FREQ=WEEKLY;COUNT=4\r\nEXDATE;TZID=Europe/Warsaw:20261113T180000\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:top\r\nRECURRENCE-ID;TZID=Europe/Warsaw:20261120T180000\r\nSUMMARY:Top 10 special\r\nDTSTART;TZID=/x.org/Europe/Warsaw:20261120T190000\r\nDURATION:PT3H\r\nX-SPRINGTIDE-MIN:web=20\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:day\r\nSUMMARY:Open day\r\nDTSTART;VALUE=DATE:20261201\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:off\r\nSUMMARY:Off\r\nSTATUS:CANCELLED\r\nDTSTART:20261201T100000Z\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:old\r\nSUMMARY:Old\r\nDTSTART:20201201T100000Z\r\nEND:VEVENT\r\n" +
	"BEGIN:VEVENT\r\nUID:long\r\nSUMMARY:Fair\r\nDTSTART:20261201T100000Z\r\nDTEND:20261231T100000Z\r\nEND:VEVENT\r\n" +
	"END:VCALENDAR\r\n"

func TestACalendarIsReadWithItsZonesRulesAndExceptions(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	occasions, skipped, err := Read(strings.NewReader(shows), Options{Calendar: "shows.ics", Min: map[springtide.ProcessName]int{"web": 12}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range occasions {
		a, _ := o.Announcement("web")
		got = append(got, o.Name+": "+times(t, a, now, 60, 9)+" for "+o.Until.Sub(o.From).String())
		if o.Calendar != "shows.ics" || Check(a, now) != nil {
			t.Errorf("%+v", o)
		}
	}
	want := []string{
		"Top 10, live: 11-06 18:00, 11-27 18:00 for 1h30m0s", "Top 10 special: 11-20 19:00 for 3h0m0s", "Open day: 12-01 00:00 for 24h0m0s",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if occasions[0].Min["web"] != 12 || occasions[1].Min["web"] != 20 {
		t.Errorf("%v and %v", occasions[0].Min, occasions[1].Min)
	}
	var whys []string
	for _, one := range skipped {
		whys = append(whys, one.Name+": "+one.Why)
	}
	if want := []string{"Off: it is cancelled", "Fair: it goes on for more than 7 days", "Old: it is over"}; !slices.Equal(whys, want) {
		t.Errorf("skipped %q, want %q", whys, want)
	}
}

// The shapes in which Google Calendar, Apple's Calendar and Outlook export.
const (
	google = `BEGIN:VCALENDAR
PRODID:-//Google Inc//Google Calendar 70.9054//EN
VERSION:2.0
CALSCALE:GREGORIAN
METHOD:PUBLISH
X-WR-CALNAME:Radio
X-WR-TIMEZONE:Europe/Warsaw
BEGIN:VTIMEZONE
TZID:Europe/Warsaw
X-LIC-LOCATION:Europe/Warsaw
BEGIN:STANDARD
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
TZNAME:CET
DTSTART:19701025T030000
RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
DTSTART;TZID=Europe/Warsaw:20261106T180000
DTEND;TZID=Europe/Warsaw:20261106T190000
RRULE:FREQ=WEEKLY;WKST=MO;UNTIL=20261120T225959Z;BYDAY=FR
EXDATE;TZID=Europe/Warsaw:20261113T180000
DTSTAMP:20261101T120000Z
UID:4q1a@google.com
DESCRIPTION:<p>The chart\, live</p>
SEQUENCE:1
STATUS:CONFIRMED
SUMMARY:Top 10 \U0001F3B5
TRANSP:OPAQUE
BEGIN:VALARM
ACTION:DISPLAY
DESCRIPTION:This is an event reminder
TRIGGER:-P0DT0H30M0S
END:VALARM
END:VEVENT
END:VCALENDAR
`
	apple = `BEGIN:VCALENDAR
CALSCALE:GREGORIAN
VERSION:2.0
X-WR-CALNAME:Radio
METHOD:PUBLISH
PRODID:-//Apple Inc.//macOS 15.1//EN
BEGIN:VEVENT
TRANSP:TRANSPARENT
DTEND;VALUE=DATE:20261208
X-APPLE-STRUCTURED-LOCATION;VALUE=URI;X-ADDRESS="Main Street 1\\n00-001 W
 arsaw, Poland";X-APPLE-RADIUS=70.58;X-TITLE="Studio: 1":geo:52.2,21.0
UID:6F1C-44
DTSTAMP:20261101T120000Z
SEQUENCE:0
SUMMARY:Open
  days
DTSTART;VALUE=DATE:20261206
RRULE:FREQ=YEARLY;UNTIL=20271206
X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC
END:VEVENT
END:VCALENDAR
`
	outlook = "\ufeff" + `BEGIN:VCALENDAR
PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN
VERSION:2.0
METHOD:PUBLISH
X-CALSTART:20261101T000000Z
BEGIN:VTIMEZONE
TZID:Central European Standard Time
BEGIN:STANDARD
DTSTART:16011028T030000
RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10
TZOFFSETFROM:+0200
TZOFFSETTO:+0100
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
CLASS:PUBLIC
DESCRIPTION:\n
DTEND;TZID="Central European Standard Time":20261110T220000
DTSTAMP:20261101T120000Z
DTSTART;TZID="Central European Standard Time":20261110T200000
RRULE:FREQ=WEEKLY;COUNT=2;BYDAY=TU
SUMMARY;LANGUAGE=en-us:Gala
TRANSP:OPAQUE
UID:040000008200E00074C5B7101A82E008
X-ALT-DESC;FMTTYPE=text/html:<html><body>a:b;c</body></html>
X-MICROSOFT-CDO-BUSYSTATUS:BUSY
END:VEVENT
END:VCALENDAR
`
)

func TestWhatGoogleAppleAndOutlookExportIsRead(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for want, text := range map[string]string{
		"Europe/Warsaw: 11-06 18:00, 11-20 18:00 for 1h0m0s":  google,
		"Europe/Warsaw: 12-06 00:00, 12-06 00:00 for 48h0m0s": apple,
		"Europe/Warsaw: 11-10 20:00, 11-17 20:00 for 2h0m0s":  outlook,
	} {
		options := Options{Calendar: "radio.ics", Zone: warsaw(t), Min: map[springtide.ProcessName]int{"web": 12}, Now: now}
		occasions, skipped, err := Read(strings.NewReader(strings.ReplaceAll(text, "\n", "\r\n")), options)
		if err != nil || len(occasions) != 1 || len(skipped) != 0 {
			t.Errorf("%v, %v, %v", occasions, skipped, err)
			continue
		}
		a, _ := occasions[0].Announcement("web")
		if got := a.Timezone + ": " + times(t, a, now, 800, 9) + " for " + a.Until.Sub(a.From).String(); got != want {
			t.Errorf("%s: %s, want %s", a.Name, got, want)
		}
	}
}

func TestEveryZoneOfWindowsIsKnown(t *testing.T) {
	for line := range strings.Lines(windowsZones) {
		name, iana, _ := strings.Cut(strings.TrimSpace(line), "=")
		if zone, err := zoneOf(name); err != nil || zone.String() != iana {
			t.Errorf("%s: %v, %v", name, zone, err)
		}
	}
	if zone, err := zoneOf("tzone://Microsoft/Utc"); err != nil || zone.String() != "UTC" {
		t.Error(zone, err)
	}
}

func TestFurtherTimesOfAnEntryAreEventsOfTheirOwn(t *testing.T) {
	text := strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
BEGIN:VEVENT
UID:gala
SUMMARY:Gala
DTSTART;TZID=Europe/Warsaw:20261105T180000
DURATION:PT2H
RDATE;TZID=Europe/Warsaw:20261107T190000,20261105T180000,20261109T180000
RDATE;VALUE=PERIOD:20261112T100000Z/PT30M,20261113T100000Z/20261113T140000Z
RDATE:20200101T000000Z
EXDATE;TZID=Europe/Warsaw:20261109T180000
END:VEVENT
BEGIN:VEVENT
UID:gala
SUMMARY:Gala, later
RECURRENCE-ID:20261107T180000Z
DTSTART:20261107T200000Z
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	occasions, _, err := Read(strings.NewReader(text), Options{Calendar: "x.ics", Min: map[springtide.ProcessName]int{"web": 2}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range occasions {
		got = append(got, o.Name+" "+o.From.UTC().Format("02 15:04")+" "+o.Until.Sub(o.From).String())
	}
	if want := []string{"Gala 05 17:00 2h0m0s", "Gala 12 10:00 30m0s", "Gala 13 10:00 4h0m0s", "Gala, later 07 20:00 1h0m0s"}; !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}

func TestACalendarThatCannotBeUnderstoodNamesItsLine(t *testing.T) {
	for body, want := range map[string]string{
		"DTSTART:20990101T100000": "x.ics:3: DTSTART:20990101T100000 is in no time zone",
		"SUMMARY:x":               "it has no DTSTART",
		"DTSTART:tomorrow":        "is no time",
		"DTSTART;TZID=Mars/Olympus:20990101T100000":                                        "is not known",
		"DTSTART:20990101T100000Z\r\nDURATION:soon":                                        "is no length of time",
		"DTSTART:20990101T100000Z\r\nDTEND:20980101T100000Z":                               "ends before it begins",
		"DTSTART:20990101T100000Z\r\nRRULE:FREQ=SECONDLY":                                  "at most daily",
		"DTSTART:20990101T100000Z\r\nRDATE:20990102T100000Z,soon":                          "RDATE:soon is no time",
		"DTSTART:20990101T100000Z\r\nRDATE;VALUE=PERIOD:20990102T100000Z/20990102T090000Z": "ends before it begins",
		"DTSTART:20990101T100000Z\r\nX-SPRINGTIDE-MIN:many":                                "does not say how many",
		"DTSTART:20990101T100000Z\r\nRRULE:FREQ=DAILY\r\nRRULE:FREQ=WEEKLY":                "more than one RRULE",
		"DTSTART:20990101T100000Z\r\nRRULE:FREQ=DAILY;BYMONTHDAY=30;BYHOUR=24":             "byhour",
	} {
		text := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1\r\n" + body + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
		_, _, err := Read(strings.NewReader(text), Options{Calendar: "x.ics", Min: map[springtide.ProcessName]int{"web": 1}, Now: time.Unix(1e9, 0)})
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.ics:3") {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	for _, text := range []string{"", "hello", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n", strings.Repeat("x", largestFile+1)} {
		if _, _, err := Read(strings.NewReader(text), Options{Calendar: "x.ics"}); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(shows)
	f.Add(google)
	f.Add(apple)
	f.Add(outlook)
	f.Add("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nDTSTART:20990101T100000Z\nRDATE;VALUE=PERIOD:20990102T100000Z/PT1H,20990103T100000Z/20990103T110000Z\nEND:VEVENT\nEND:VCALENDAR\n")
	f.Add("BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20990101T100000Z\nRRULE:FREQ=MONTHLY;BYDAY=-1SU;BYSETPOS=-1\nEND:VEVENT\nEND:VCALENDAR\n")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		occasions, _, err := Read(strings.NewReader(text), Options{Calendar: "x", Zone: time.UTC, Min: map[springtide.ProcessName]int{"web": 1}, Now: now})
		if err != nil {
			return
		}
		for _, o := range occasions {
			if !o.Until.After(o.From) || o.Until.Sub(o.From) > Longest || o.ID == "" || len(o.Min) == 0 {
				t.Fatalf("%+v", o)
			}
		}
	})
}

func FuzzRule(f *testing.F) {
	for _, rule := range []string{"week", "FREQ=WEEKLY;BYDAY=MO,FR", "FREQ=MONTHLY;BYDAY=-1SU;COUNT=12", "FREQ=YEARLY;BYWEEKNO=53;UNTIL=20400101T000000Z", "FREQ=DAILY;BYHOUR=8,18;INTERVAL=2"} {
		f.Add(rule)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := Rule(text)
		if err != nil {
			return
		}
		a := springtide.Announcement{From: now, Until: now.Add(time.Hour), Repetition: springtide.Repetition{Repeat: rule}}
		coming, err := Coming(a, now.AddDate(0, 1, 0), now.AddDate(1, 0, 0), 10)
		if err != nil {
			t.Fatalf("%q is a rule, but %v", rule, err)
		}
		for i, one := range coming {
			if !one.Until.After(now.AddDate(0, 1, 0)) || !one.From.Before(now.AddDate(1, 0, 0)) || i > 0 && !one.From.After(coming[i-1].From) {
				t.Fatalf("%q: %v", rule, coming)
			}
		}
	})
}
