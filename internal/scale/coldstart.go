package scale

import (
	"math"
	"slices"
	"time"
)

// The cold starts that are remembered of a release.
const (
	priorColdStart = time.Second // until one was seen
	keptColdStarts = 64
	enoughStarts   = 3 // so many of its own, and the predecessor's do not count
)

// coldStarts learns how long a release takes from an order to readiness.
type coldStarts struct {
	own       []time.Duration // the last ones, a ring once full
	next      int
	inherited []time.Duration
	// The quantiles, kept because they are asked for far more often than they change.
	p90, p99 time.Duration
}

func newColdStarts(predecessor *coldStarts) coldStarts {
	c := coldStarts{}
	if predecessor != nil {
		c.inherited = slices.Clone(predecessor.own)
		if len(c.inherited) < enoughStarts {
			c.inherited = append(c.inherited, predecessor.inherited...)
		}
	}
	c.sum()
	return c
}

func (c *coldStarts) add(d time.Duration) {
	if len(c.own) < keptColdStarts {
		c.own = append(c.own, d)
	} else {
		c.own[c.next] = d
		c.next = (c.next + 1) % keptColdStarts
	}
	c.sum()
}

func (c *coldStarts) sum() {
	all := slices.Clone(c.own)
	if len(c.own) < enoughStarts {
		all = append(all, c.inherited...)
	}
	if len(all) == 0 {
		c.p90, c.p99 = priorColdStart, priorColdStart
		return
	}
	slices.Sort(all)
	c.p90, c.p99 = quantile(all, 0.90), quantile(all, 0.99)
}

// quantile gives the smallest of the sorted values that a share q of them do
// not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}
