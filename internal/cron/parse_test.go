package cron

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/robfig/cron/v3"
	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

func TestWhatIsNoExpressionIsExplained(t *testing.T) {
	for _, bad := range []struct{ expression, zone, want string }{
		{"", "", "the expression is empty"},
		{"* * * *", "", "has 4 fields, want 5"},
		{"0 0 8 * * *", "", "there is no field for seconds; write every 10s"},
		{"60 * * * *", "", `the minute "60" is out of range; write a number from 0 to 59`},
		{"* 24 * * *", "", `the hour "24" is out of range`},
		{"* * 0 * *", "", `the day of the month "0" is out of range`},
		{"* * * 13 *", "", `the month "13" is out of range`},
		{"* * * * 8", "", `the day of the week "8" is out of range; write a number from 0 to 7`},
		{"* * * * sat-mon", "", `the day of the week "sat-mon" is out of range`},
		{"* * * * mo", "", `the day of the week "mo" is out of range`},
		{"30-10 * * * *", "", `the minute "30-10" is out of range`},
		{"*/0 * * * *", "", `the minute "*/0"`},
		{"*/90 * * * *", "", `the minute "*/90" has a step that is longer than the field`},
		{"*-5 * * * *", "", `the minute "*-5" cannot be read`},
		{"1,,2 * * * *", "", `the minute "1,,2" cannot be read`},
		{", * * * *", "", `the minute "," cannot be read`},
		{"-1 * * * *", "", `the minute "-1" cannot be read`},
		{"1.5 * * * *", "", `the minute "1.5" cannot be read`},
		{"0 0 30 2 *", "", "0 0 30 2 * never fires"},
		{"0 0 31 4,6,9,11 */2", "", "never fires"},
		{"@reboot", "", "@reboot has no time"},
		{"@every 10m", "", "write every 10m"},
		{"@dayly", "", "@dayly is not known; write one of @annually, @daily"},
		{"@daily 5", "", "@daily 5 is not known"},
		{"every 0.5s", "", "an interval is a second at least"},
		{"every -1m", "", "an interval is a second at least"},
		{"every 1500ms", "", "whole seconds"},
		{"every", "", "that is no interval"},
		{"every 10", "", "that is no interval"},
		{"every 9000h", "", "366 days at most"},
		{"TZ=UTC 0 8 * * *", "", "give the zone as the timezone of the schedule"},
		{"CRON_TZ=", "", "give the zone as the timezone of the schedule"},
		{strings.Repeat("1,", 1000) + "1 * * * *", "", "longer than 1000 bytes"},
		{"@daily", "Europe/Berln", "did you mean Europe/Berlin?"},
		{"@daily", "berlin", "did you mean Europe/Berlin?"},
		{"@daily", "New York", "did you mean America/New_York?"},
		{"@daily", "utc", "did you mean UTC?"},
		{"@daily", "Local", `the timezone "Local" is not known`},
		{"@daily", "../../etc/passwd", "like Europe/Berlin or UTC"},
	} {
		_, err := Parse(bad.expression, bad.zone)
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%q in %q: %v, want %s", bad.expression, bad.zone, err, bad.want)
		}
	}
}

func TestAnExpressionHasItsTimes(t *testing.T) {
	for _, good := range []struct{ expression, after, want string }{
		{"0 8 * * *", "2026-05-01T08:00:00Z", "2026-05-02T08:00:00Z"},
		{"0 8 * * *", "2026-05-01T07:59:59Z", "2026-05-01T08:00:00Z"},
		{"0 0 * * 7", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"},
		{"0 0 * * fri-sun", "2026-05-03T00:00:00Z", "2026-05-08T00:00:00Z"},
		{"0 0 * * 5-7", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"},
		{"0 0 * * 1/2", "2026-05-02T00:00:00Z", "2026-05-04T00:00:00Z"},
		{"0 0 13 * FRI", "2026-05-02T00:00:00Z", "2026-05-08T00:00:00Z"},
		{"0 0 */13 * fri", "2026-05-02T00:00:00Z", "2026-08-14T00:00:00Z"},
		{"0 0 29 2 *", "2026-05-02T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 29 2 *", "2096-05-02T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"0 0 29 2 */7", "2088-03-01T00:00:00Z", "2128-02-29T00:00:00Z"},
		{"0 0 30 2 1", "2026-01-29T00:00:00Z", "2026-02-02T00:00:00Z"},
		{"5/20 ? * JAN-mar ?", "2026-05-02T00:00:00Z", "2027-01-01T00:05:00Z"},
		{"@Weekly", "2026-05-02T00:00:00Z", "2026-05-03T00:00:00Z"},
		{" every  10m ", "2026-05-02T00:00:00Z", "2026-05-02T00:10:00Z"},
		{"every 7s", "1969-12-31T23:59:50Z", "1969-12-31T23:59:53Z"},
		{"every 1h 30m", "2026-05-02T00:00:00Z", "2026-05-02T01:30:00Z"},
	} {
		if got := parsed(t, good.expression, "").Next(moment(t, good.after)); !got.Equal(moment(t, good.want)) {
			t.Errorf("%s after %s: %s, want %s", good.expression, good.after, got, good.want)
		}
	}
}

func TestAnIntervalIsTheSameInEveryZone(t *testing.T) {
	at := moment(t, "2026-03-29T00:30:00Z")
	utc, berlin := parsed(t, "every 45m", ""), parsed(t, "every 45m", "Europe/Berlin")
	for range 10 {
		next := utc.Next(at)
		if !next.Equal(berlin.Next(at)) || next.Unix()%(45*60) != 0 {
			t.Fatalf("after %s: %s and %s", at, next, berlin.Next(at))
		}
		at = next
	}
}

func TestTheZeroTimetableHasNoTimes(t *testing.T) {
	if next := (Timetable{}).Next(time.Now()); !next.IsZero() {
		t.Error(next)
	}
}

// drawExpression makes an expression whose fields are those of the parser that
// is compared with; never names days in both ways with a star and a step.
func drawExpression(t *rapid.T) string {
	var words []string
	for i, f := range fields {
		highest := []int{59, 23, 31, 12, 6}[i]
		item := rapid.Custom(func(t *rapid.T) string {
			from := rapid.IntRange(f.lowest, highest).Draw(t, "from")
			to := rapid.IntRange(from, highest).Draw(t, "to")
			step := rapid.IntRange(1, highest).Draw(t, "step")
			var forms []string
			if i == 0 || i == 1 || i == 3 {
				forms = append(forms, "*/"+strconv.Itoa(step))
			}
			forms = append(forms, strconv.Itoa(from), strconv.Itoa(from)+"-"+strconv.Itoa(to), strconv.Itoa(from)+"-"+strconv.Itoa(to)+"/"+strconv.Itoa(step), strconv.Itoa(from)+"/"+strconv.Itoa(step))
			return rapid.SampledFrom(forms).Draw(t, "form")
		})
		words = append(words, rapid.OneOf(rapid.Just("*"), rapid.Map(rapid.SliceOfN(item, 1, 3), func(items []string) string { return strings.Join(items, ",") })).Draw(t, f.name))
	}
	return strings.Join(words, " ")
}

func drawTime(t *rapid.T) time.Time {
	return time.Unix(rapid.Int64Range(0, 4_000_000_000).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
}

func TestInUTCTheTimesAreThoseOfAnotherImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		expression, after := drawExpression(t), drawTime(t).UTC()
		other, err := cron.ParseStandard("CRON_TZ=UTC " + expression)
		if err != nil {
			t.Fatal(err)
		}
		want := other.Next(after)
		timetable, err := Parse(expression, "")
		if err != nil {
			if !want.IsZero() {
				t.Fatalf("%v, want %s", err, want)
			}
			return
		}
		if got := timetable.Next(after); !got.Equal(want) && !want.IsZero() {
			t.Fatalf("%s after %s: %s, want %s", expression, after, got, want)
		}
	})
}

func TestTheNextTimeIsLaterAndTheFirst(t *testing.T) {
	zones := strings.Fields(zoneNames)
	rapid.Check(t, func(t *rapid.T) {
		expression, zone, after := drawExpression(t), rapid.SampledFrom(zones).Draw(t, "zone"), drawTime(t)
		timetable, err := Parse(expression, zone)
		if err != nil {
			t.Skip(err)
		}
		next := timetable.Next(after)
		if !next.After(after) {
			t.Fatalf("%s after %s: %s", timetable, after, next)
		}
		between := after.Add(time.Duration(rapid.Int64Range(0, int64(next.Sub(after))-1).Draw(t, "between")))
		if again := timetable.Next(between); !again.Equal(next) {
			t.Fatalf("%s after %s: %s, and after %s: %s", timetable, after, next, between, again)
		}
		if p := planOf(expression); !p.matches(shownAt(wall(next, offsetAt(next)).Unix() / 60)) {
			start, _ := next.ZoneBounds()
			if !timetable.fixed || !start.Equal(next) || offsetAt(start) <= offsetAt(start.Add(-1)) {
				t.Fatalf("%s after %s: %s does not match", timetable, after, next)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, expression := range yearly {
		f.Add(expression, "Europe/Berlin")
	}
	f.Add("0 0 29 2 */7", "Pacific/Apia")
	f.Add("every 10m", "Local")
	f.Add("TZ=", "")
	f.Fuzz(func(t *testing.T, expression, zone string) {
		timetable, err := Parse(expression, zone)
		if err != nil {
			if springtide.KindOf(err) != springtide.Invalid || len(err.Error()) > 1000 {
				t.Fatalf("%q: %v", expression, err)
			}
			return
		}
		after := time.Date(2026, 3, 29, 0, 59, 59, 0, time.UTC)
		next := timetable.Next(after)
		if !next.After(after) || !timetable.Next(next).After(next) {
			t.Fatalf("%s: %s, then %s", timetable, next, timetable.Next(next))
		}
		if again := parsed(t, timetable.expression, zone); !again.Next(after).Equal(next) {
			t.Fatalf("%q is written %q, and that is another", expression, timetable.expression)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for _, expression := range []string{"* * * * *", "30 2 * * *", "0 0 1 1 *", "0 0 29 2 */7", "every 10m"} {
		timetable, at := parsed(b, expression, "Europe/Berlin"), time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
		b.Run(expression, func(b *testing.B) {
			for b.Loop() {
				timetable.Next(at)
			}
		})
	}
}
