package edge

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/springtide/springtide"
)

// How an instance is ejected that fails while others do not, after Envoy's outlier
// detection by consecutive gateway failures.
const (
	// ejectAfter is how many failures in a row are too many.
	ejectAfter = 5
	// firstEjection is how long an instance is given nothing; each further time it
	// is twice as long, up to longestEjection, all within a fifth.
	firstEjection   = 5 * time.Second
	longestEjection = 5 * time.Minute
)

// conduct is how an instance has behaved. Its gate's lock guards it.
//
//	sound ──5 failures in a row──→ ejected ──time is up──→ on trial ──answers──→ sound
//	                                   ↑                      │ one request at a time
//	                                   └── twice the time ────┘ fails
type conduct struct {
	failures int    // in a row
	last     string // what the last of them was
	// ejections counts those after which it did not serve as long as the last was.
	ejections int
	until     time.Time // when the ejection ends in a trial; zero: there is none
	returned  time.Time
}

func (c *conduct) ejected() bool { return !c.until.IsZero() }

// isGatewayFailure says that a status tells of an instance that cannot serve,
// and not of a request that it cannot answer.
func isGatewayFailure(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// succeeded records an answer to a request that was begun then.
func (c *conduct) succeeded(begun, now time.Time) {
	if c.ejected() {
		if begun.Before(c.until) {
			return // from before it was ejected
		}
		c.until, c.returned = time.Time{}, now
	}
	if c.ejections > 0 && now.Sub(c.returned) > ejection(c.ejections) {
		c.ejections = 0
	}
	c.failures, c.last = 0, ""
}

// ejection is how long the one of that number lasts.
func ejection(number int) time.Duration {
	return min(firstEjection<<min(number-1, 10), longestEjection)
}

// failing records a failure of a request that was begun then. It reports whether
// the instance is ejected for it.
func (b *balancer) failing(i *instance, what string, begun, now time.Time) bool {
	if i.State != springtide.BackendReady || i.ejected() && begun.Before(i.until) {
		return false
	}
	i.failures++
	i.last = what
	if !i.ejected() && (i.failures < ejectAfter || !b.outlier(i)) {
		return false
	}
	i.ejections++
	pause := ejection(i.ejections)
	i.until = now.Add(pause*4/5 + rand.N(pause*2/5))
	return true
}

// outlier says that at least half of all instances fare better than this one: if
// all fail, what they depend on does, and there is nobody else to ask.
func (b *balancer) outlier(i *instance) bool {
	sound := 0
	for _, other := range b.ready {
		if other != i && other.failures == 0 && !other.ejected() {
			sound++
		}
	}
	return sound > 0 && 2*sound >= len(b.ready)
}

// keepFloor takes back, when instances have gone, whom fewer than half of those
// that are left would replace.
func (b *balancer) keepFloor() {
	for {
		var first *instance
		sound := 0
		for _, i := range b.ready {
			switch {
			case !i.ejected():
				sound++
			case first == nil || i.until.Before(first.until):
				first = i
			}
		}
		if first == nil || 2*sound >= len(b.ready) {
			return
		}
		first.conduct = conduct{}
	}
}
