package edge

import (
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// protection is what a route's [springtide.Protection] and maintenance became.
// It is immutable.
type protection struct {
	limits      []rateLimit
	maxBody     int64
	rules       []fieldRule
	lengths     uint64 // a bit for each length that the rules' names have, modulo 64
	pages       map[int]string
	maintenance *springtide.Maintenance
}

func newProtection(route springtide.Route) *protection {
	own := route.Protection
	p := &protection{maxBody: own.MaxBody, rules: fieldRules(own.Headers), pages: own.ErrorPages, maintenance: route.Maintenance}
	for _, rule := range p.rules {
		p.lengths |= 1 << (len(rule.Name) % 64)
	}
	for _, limit := range own.RateLimits {
		if limit.Validate() == nil { // a newer control plane may know more than this edge
			p.limits = append(p.limits, newRateLimit(route.Environment.String()+" "+string(route.Group.Process), limit))
		}
	}
	return p
}

// guard refuses what is not to come further. It sees each request once, before
// the cache and whatever else can answer it.
func (e *edge) guard(x *exchange, g *gate) (refused bool) {
	p := g.protection.Load()
	x.protection = p
	x.vouched = x.request.Scheme == "https" && e.router.table.Load().certificates.trusts(x.host)
	if m := p.maintenance; m != nil && !m.Allows(addressOf(x)) {
		e.refuseWith(x, http.StatusServiceUnavailable, seconds(m.RetryAfter), m.Page, "in maintenance since "+m.Since.Format(time.RFC3339))
		return true
	}
	if limit, wait := e.overLimit(x, p); wait > 0 {
		g.count(func(m *meter) { m.limited(limit.per, 1) })
		e.refuse(x, http.StatusTooManyRequests, seconds(wait), "over the limit of %s", limit.of)
		return true
	}
	x.maxBody = p.maxBody
	if x.maxBody > 0 && x.length > x.maxBody {
		e.refuse(x, http.StatusRequestEntityTooLarge, 0, "%s", tooLarge(x.maxBody).Reason)
		return true
	}
	return false
}

// overLimit takes a token for the request from each limit that it matches. It
// gives the first that has none, and how long that is so.
func (e *edge) overLimit(x *exchange, p *protection) (*rateLimit, time.Duration) {
	if len(p.limits) == 0 {
		return nil, 0
	}
	plain := plainPath(x.request.Target)
	for i := range p.limits {
		limit := &p.limits[i]
		if !limit.matches(plain) {
			continue
		}
		if wait := e.rates.take(limit.bucket(x), limit, x.started); wait > 0 {
			return limit, wait
		}
	}
	return nil, 0
}

func tooLarge(limit int64) *message.Error {
	return &message.Error{Status: http.StatusRequestEntityTooLarge, Reason: "the request's body is longer than " + strconv.FormatInt(limit, 10) + " bytes"}
}

func addressOf(x *exchange) netip.Addr {
	address, _ := netip.ParseAddr(x.address)
	return address.Unmap().WithZone("")
}

// seconds rounds up: who comes again then is not too early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// plainPath gives the path of a target decoded and without the dots and double
// slashes that most apps take away, too: "/%61//b/../c" is "/a/c".
func plainPath(target string) string {
	plain, _, _ := strings.Cut(target, "?")
	if strings.IndexByte(plain, '%') >= 0 {
		if decoded, err := url.PathUnescape(plain); err == nil {
			plain = decoded
		}
	}
	if strings.Contains(plain, "/.") || strings.Contains(plain, "//") {
		slash := strings.HasSuffix(plain, "/")
		if plain = path.Clean(plain); slash && plain != "/" {
			plain += "/"
		}
	}
	return plain
}

// guarded is what an exchange has of its route's protection.
type guarded struct {
	protection *protection
	// maxBody is how long the request's body may be; 0: as long as it likes.
	maxBody int64
	// vouched says that the host's certificate is one that everybody knows.
	vouched bool
	// refused is why the edge answered by itself, for the access log.
	refused string
	// from is who is connected. It and the room for fields, of the answer and of what
	// the cache has of it, stay from request to request.
	from           peer
	fields, stored message.Fields
}

func (g *guarded) reset() { *g = guarded{from: g.from, fields: g.fields, stored: g.stored} }
