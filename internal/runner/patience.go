package runner

import (
	"time"

	"github.com/springtide/springtide"
)

// patience is how one loop gets on with the platform.
type patience struct {
	failures int
	// refused is since when nothing but refusals have come; zero: it is not so.
	refused time.Time
}

// refusalLimit is how long the platform may refuse everything before it is
// believed: it may be about to start.
const refusalLimit = 2 * time.Second

// isOver counts a failure and reports whether asking again is of no use: for a
// while now the platform has not known the runner, or not understood it.
func (p *patience) isOver(err error) bool {
	p.failures++
	switch springtide.KindOf(err) {
	case springtide.Unauthorized, springtide.Denied, springtide.NotFound, springtide.Invalid:
		if p.refused.IsZero() {
			p.refused = time.Now()
		}
		return time.Since(p.refused) >= refusalLimit
	default:
		p.refused = time.Time{}
		return false
	}
}

// complain tells of a first failure.
func (r *runner) complain(p *patience, what string, err error) {
	if p.failures == 1 {
		r.options.Log.Warn("the platform cannot be asked; trying on", "request", what, "error", err)
	}
}
