package cache

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// heuristicLimit bounds what is made up for responses that do not say how long
// they are fresh.
const heuristicLimit = 24 * time.Hour

// disconnectedLimit is how long a response may be stale that is served because
// the app cannot be reached, where nothing else is said (RFC 9111, section 4.2.4).
const disconnectedLimit = 24 * time.Hour

// freshness is what is needed to tell a response's age (RFC 9111, section 4.2.3)
// and whether it may be used.
type freshness struct {
	// since is when the response arrived, date when it was made: nanoseconds since 1970.
	since, date int64
	// initialAge is how old it was then, lifetime how old it may become.
	initialAge, lifetime time.Duration
	// whileRevalidate and ifError are for how long after that it may be used
	// (RFC 5861); disconnected, if there is no answer at all.
	whileRevalidate, ifError, disconnected time.Duration
	// validate says that it must never be used without being validated.
	validate bool
	// guessed says that nobody said how long the response is fresh. It is not used for
	// requests with cookies then, which may mean another response.
	guessed bool
	// strict says that it must not be used once it is stale, whoever asks for it.
	strict bool
}

// age gives the current age. A clock that was put back makes nothing younger.
func (f *freshness) age(now int64) time.Duration {
	return f.initialAge + time.Duration(max(0, now-f.since))
}

// newFreshness judges a response that was asked for at one time and arrived at another.
func newFreshness(r *record) freshness {
	control, isTargeted := governing(r.fields)
	date := time.Unix(0, r.received)
	if at, ok := parseDate(r.fields.Get("Date")); ok {
		date = at
	}
	f := freshness{since: r.received, date: date.UnixNano()}
	f.initialAge = min(seconds(longest), max(0, time.Unix(0, r.received).Sub(date),
		ageValue(r.fields)+time.Duration(max(0, r.received-r.requested))))
	f.lifetime = min(seconds(longest), lifetimeOf(r, &control, isTargeted, date))
	f.guessed = !isExplicit(r.fields, &control, isTargeted) && r.ttl == 0
	f.validate = control.noCache
	f.strict = control.mustRevalidate || control.proxyRevalidate || control.noCache
	f.whileRevalidate, f.ifError = -1, -1
	// An explicit permission qualifies what s-maxage only implies (section 5.2.2.10).
	implied := control.sharedMaxAge != absent
	if control.staleWhileRevalidate != absent {
		f.whileRevalidate = seconds(control.staleWhileRevalidate)
	} else if r.stale > 0 && !implied {
		f.whileRevalidate = r.stale
	}
	if control.staleIfError != absent {
		f.ifError = seconds(control.staleIfError)
	} else if r.stale > 0 && !implied {
		f.ifError = r.stale
	}
	if implied {
		f.strict = f.strict || f.whileRevalidate < 0 && f.ifError < 0
		f.disconnected = f.ifError
	} else {
		f.disconnected = max(disconnectedLimit, f.ifError)
	}
	if f.strict {
		f.whileRevalidate, f.ifError, f.disconnected = -1, -1, -1
	}
	return f
}

// lifetimeOf gives the freshness lifetime (section 4.2.1): what was said to shared
// caches, to all, by date, or made up.
func lifetimeOf(r *record, control *directives, isTargeted bool, date time.Time) time.Duration {
	switch {
	case r.ttl > 0 && !control.noCache && slices.Contains(timeToLive, r.status):
		return r.ttl + min(seconds(longest), max(0, time.Unix(0, r.received).Sub(date), ageValue(r.fields)))
	case control.sharedMaxAge != absent:
		return seconds(control.sharedMaxAge)
	case control.maxAge != absent:
		return seconds(control.maxAge)
	case !isTargeted && r.fields.Has("Expires"):
		expires, ok := parseDate(r.fields.Get("Expires"))
		if !ok { // most of all "0": in the past (section 5.3)
			return 0
		}
		return max(0, expires.Sub(date))
	case !isTargeted && (control.public || slices.Contains(heuristic, r.status)):
		if modified, ok := parseDate(r.fields.Get("Last-Modified")); ok {
			return min(heuristicLimit, max(0, date.Sub(modified)/10)) // section 4.2.2
		}
	}
	return 0
}

// isExplicit says whether a response says how long it is fresh, or that it never is.
func isExplicit(fields message.Fields, control *directives, isTargeted bool) bool {
	return control.maxAge != absent || control.sharedMaxAge != absent || control.noCache || !isTargeted && fields.Has("Expires")
}

// ageValue reads Age: the first member counts, what is no number is ignored
// (section 5.1).
func ageValue(fields message.Fields) time.Duration {
	first, _, _ := strings.Cut(fields.Get("Age"), ",")
	value, ok := parseSeconds(strings.Trim(first, " \t"))
	if !ok {
		return 0
	}
	return seconds(value)
}

func seconds(count int64) time.Duration { return time.Duration(count) * time.Second }

// parseDate reads an HTTP date in any of its three forms (RFC 9110, section 5.6.7),
// in upper or lower case, and nothing else that looks like one (RFC 9111, section 4.2).
func parseDate(text string) (time.Time, bool) {
	layout, plain := time.ANSIC, text
	if zone := len(text) - len(" GMT"); zone > 0 && equalFold(text[zone:], " GMT") {
		layout, plain = "Mon, 02 Jan 2006 15:04:05", text[:zone]
		if len(plain) != len(layout) {
			layout = "Monday, 02-Jan-06 15:04:05"
		}
	}
	at, err := time.Parse(layout, plain)
	if err != nil {
		return time.Time{}, false
	}
	var room [40]byte
	_, meant, _ := bytes.Cut(at.AppendFormat(room[:0], layout), []byte(" "))
	_, written, _ := strings.Cut(plain, " ")
	return at, strings.EqualFold(string(meant), written)
}
