package springtide

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Protection is what an edge keeps away from an environment's instances, and
// what it says in its answers besides what they say.
type Protection struct {
	// RateLimits count every request that they match, until one of them refuses it.
	RateLimits []RateLimit `json:"rate_limits,omitempty"`
	// MaxBody is how many bytes a request's body may have; 0: any number.
	MaxBody int64 `json:"max_body,omitempty"`
	// Headers are fields of every answer, in place of the app's own and of the
	// edge's defaults. One with an empty value is taken out.
	Headers map[string]string `json:"headers,omitempty"`
	// ErrorPages are the pages, in HTML, of answers that the edge gives itself, by
	// status; see [PageStatuses].
	ErrorPages map[int]string `json:"error_pages,omitempty"`
}

// RateLimit bounds how many requests there may be in a time: a bucket of Burst
// tokens that is filled evenly, Requests of them Within.
type RateLimit struct {
	// Match is a path, "/login", or what paths begin with, "/api/*".
	Match string `json:"match"`
	// Per says who shares a bucket.
	Per RatePer `json:"per"`
	// Header is the one that has the token, for RatePerToken.
	Header   string        `json:"header,omitempty"`
	Requests int           `json:"requests"`
	Within   time.Duration `json:"within"`
	Burst    int           `json:"burst"`
}

// RatePer says who shares the bucket of a [RateLimit].
type RatePer string

// Who shares a bucket.
const (
	RatePerClient RatePer = "client" // the requests of an IPv4 address, or of a /64 of IPv6
	RatePerRoute  RatePer = "route"  // all that match
	RatePerToken  RatePer = "token"  // those with the same token; those without one by client
)

// The bounds of a rate limit.
const (
	MaxRateRequests = 1_000_000_000
	MaxRateWithin   = 30 * 24 * time.Hour
)

// Validate says what is wrong with a rate limit, in words that go after its name.
func (l RateLimit) Validate() error {
	path, _ := strings.CutSuffix(l.Match, "*")
	switch {
	case !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "*?#% \t\r\n") || path != l.Match && !strings.HasSuffix(path, "/"):
		return Errorf(Invalid, "match: %q is no path: write it like /login, or /api/* for what begins so", l.Match)
	case l.Per != RatePerClient && l.Per != RatePerRoute && l.Per != RatePerToken:
		return Errorf(Invalid, "per: %q is not known: client, route or token", l.Per)
	case l.Per == RatePerToken && !isHeaderName(l.Header):
		return Errorf(Invalid, "header: %q is no name of a header", l.Header)
	case l.Per != RatePerToken && l.Header != "":
		return Errorf(Invalid, "header: only a limit per token has one")
	case l.Requests < 1 || l.Requests > MaxRateRequests:
		return Errorf(Invalid, "requests: %d is out of range; it is at least 1", l.Requests)
	case l.Within < time.Second || l.Within > MaxRateWithin:
		return Errorf(Invalid, "within: %s is out of range; it is from 1s to 30d", l.Within)
	case l.Burst < 1 || l.Burst > MaxRateRequests:
		return Errorf(Invalid, "burst: %d is out of range; it is at least 1", l.Burst)
	}
	return nil
}

// ownHeaders are what a message is framed or coded by, or what the edge vouches
// for: nobody else can set them.
const ownHeaders = " connection content-encoding content-length content-range date keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade x-request-id "

// CheckHeader says what is wrong with a field that answers are to have.
func CheckHeader(name, value string) error {
	switch {
	case !isHeaderName(name):
		return Errorf(Invalid, "%q is no name of a header", name)
	case strings.Contains(ownHeaders, " "+strings.ToLower(name)+" "):
		return Errorf(Invalid, "%s is the edge's own", name)
	case len(value) > 4<<10 || strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return Errorf(Invalid, "%s: %q is no value of a header: it has no line breaks, and is at most 4 KiB long", name, value)
	}
	return nil
}

// isHeaderName says that a name is a token (RFC 9110, section 5.6.2).
func isHeaderName(name string) bool {
	return name != "" && len(name) <= 128 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// PageStatuses are those of which an app may have a page of its own.
func PageStatuses() []int { return []int{413, 429, 502, 503, 504} }

// PageLimit is how many bytes a page may have that an edge gives by itself.
const PageLimit = 64 << 10

// Maintenance is why an environment's requests are answered by its edges alone.
type Maintenance struct {
	Since time.Time `json:"since"`
	// Page is HTML; empty: the edge's own.
	Page string `json:"page,omitempty"`
	// RetryAfter is when clients are asked to come again.
	RetryAfter time.Duration `json:"retry_after"`
	// Allow are the networks whose clients are served all the same.
	Allow []netip.Prefix `json:"allow,omitempty"`
}

// Allows says whether a client is served in spite of the maintenance.
func (m Maintenance) Allows(client netip.Addr) bool {
	return slices.ContainsFunc(m.Allow, func(network netip.Prefix) bool { return network.Contains(client) })
}
