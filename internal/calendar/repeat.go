package calendar

import (
	"strings"
	"time"

	"github.com/teambition/rrule-go"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

const (
	longestRule  = 500 // characters
	mostInterval = 1000
	mostCount    = 10_000
)

// Rule gives the recurrence rule that is meant by a word (day, weekday, week,
// month, year) or by a rule of RFC 5545, and is of kind Invalid for anything else.
func Rule(text string) (string, error) {
	switch text {
	case "day":
		return "FREQ=DAILY", nil
	case "weekday":
		return "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR", nil
	case "week":
		return "FREQ=WEEKLY", nil
	case "month":
		return "FREQ=MONTHLY", nil
	case "year":
		return "FREQ=YEARLY", nil
	}
	rule := strings.ToUpper(strings.TrimPrefix(strings.TrimSpace(text), "RRULE:"))
	_, err := parse(rule, time.UTC)
	return rule, err
}

// parse reads a rule, and refuses what would be expensive to expand.
func parse(rule string, zone *time.Location) (*rrule.ROption, error) {
	if len(rule) > longestRule || strings.ContainsAny(rule, "\r\n") {
		return nil, notRule("it is no single line of at most %d characters", longestRule)
	}
	option, err := rrule.StrToROptionInLocation(rule, zone)
	if err != nil {
		return nil, notRule("%w", err)
	}
	switch {
	case option.Freq > rrule.DAILY:
		return nil, notRule("it is at most daily; BYHOUR names several hours of a day")
	case len(option.Byminute)+len(option.Bysecond)+len(option.Byeaster) > 0:
		return nil, notRule("BYMINUTE, BYSECOND and BYEASTER are not carried out")
	case option.Interval < 0 || option.Interval > mostInterval || option.Count < 0 || option.Count > mostCount:
		return nil, notRule("INTERVAL is 1 to %d, COUNT 1 to %d", mostInterval, mostCount)
	}
	if _, err := rrule.NewRRule(*option); err != nil {
		return nil, notRule("%w", err)
	}
	return option, nil
}

func notRule(format string, arguments ...any) error {
	return springtide.Errorf(springtide.Invalid, "no rule by which it repeats: "+format, arguments...).
		WithHint("write day, weekday, week, month, year, or a rule like FREQ=WEEKLY;BYDAY=MO,FR")
}

// Zone gives the zone of an IANA name; empty: UTC.
func Zone(name string) (*time.Location, error) { return cron.LoadZone(name) }
