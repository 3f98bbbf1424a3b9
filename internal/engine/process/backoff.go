package process

import (
	"math/rand/v2"
	"time"
)

const (
	shortestBackoff = 100 * time.Millisecond
	longestBackoff  = 30 * time.Second
	// stableAfter is how long an instance has to be ready for its crashes to be
	// forgotten.
	stableAfter = time.Minute
	// loopAfter is how many crashes make a crash loop.
	loopAfter = 3
)

// backoff is how long to wait after so many crashes in a row: it doubles each
// time, and varies by a fifth so that instances do not come back all at once.
func backoff(crashes int) time.Duration {
	wait := longestBackoff
	if crashes = max(crashes, 1); crashes <= 9 {
		wait = min(shortestBackoff<<(crashes-1), longestBackoff)
	}
	return time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
}
