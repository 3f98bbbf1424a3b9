package scale

import (
	"time"

	"github.com/springtide/springtide"
)

// Spec is what is wanted of a group, apart from how many instances it has.
type Spec struct {
	Group springtide.GroupID
	// Requests says that the group is given requests. Without, nothing is known
	// of its demand and only its range counts.
	Requests bool
	// Worker says how the group takes runs from queues; nil: it takes none.
	Worker *springtide.Worker
	// Scale holds the limits after the overrides of `tide scale`.
	Scale springtide.Scale
	// Limits are what one instance may use.
	Limits springtide.Limits
	// Floors are what was announced.
	Floors []Floor
}

// The windows of the law, where the spec does not say otherwise.
const (
	shortestStable = 90 * time.Second
	longestStable  = 180 * time.Second
	mostStable     = 5*time.Minute + needMean // where the group goes up and down
	needMean       = 30 * time.Second
	leastMean      = 5 * time.Second // where it grew too late for some
	workMean       = needMean + springtide.HoldFor
	stepInterval   = 5 * time.Second
	afterScaleOut  = 90 * time.Second
	surplusRest    = 20 * time.Second // the same for a surplus, at most
	lifetime       = 120 * time.Second

	// longestWindow bounds what is remembered: a longer StableFor counts as this.
	longestWindow = time.Hour
	// shortestWindow bounds how hasty a group can be told to be.
	shortestWindow = time.Second
)

// windows are the times over which a group is watched before it shrinks.
type windows struct {
	stable   time.Duration // the need must have been lower for so long,
	mean     time.Duration // each value of it a mean over this,
	work     time.Duration // and of what was being served, over this
	step     time.Duration // between one scale-in and the next
	afterOut time.Duration // between a scale-out and a scale-in
	lifetime time.Duration // from an instance's readiness to its end, at least
	idle     time.Duration // without any demand, before the last instance stops
}

// windows gives the windows for a cold start. A StableFor under 90 s shrinks all
// of them in proportion.
//
// Where a group grew soon after it had shrunk, the window is longer: by itself for
// each time within an hour. Where that was too late for some, the means are over less,
// so that a pulse of seconds is not averaged away: half, a third, a quarter.
func (s Spec) windows(coldStart time.Duration, reversals, tooLate int) windows {
	w := windows{
		stable:   min(min(max(10*coldStart, shortestStable), longestStable)*time.Duration(1+reversals), mostStable),
		mean:     max((needMean / time.Duration(1+tooLate)).Truncate(time.Second), leastMean),
		work:     workMean,
		step:     stepInterval,
		afterOut: afterScaleOut,
		lifetime: lifetime,
		idle:     max(s.Scale.Idle, 10*coldStart),
	}
	stable := s.Scale.StableFor
	if stable <= 0 {
		return w
	}
	stable = min(max(stable, shortestWindow), longestWindow)
	w.stable = stable
	w.idle = max(s.Scale.Idle, min(10*coldStart, w.stable))
	if stable < shortestStable {
		shrink := func(d time.Duration) time.Duration {
			return time.Duration(float64(d) * float64(stable) / float64(shortestStable)).Round(time.Millisecond)
		}
		w.mean = max(shrink(needMean), time.Second) // the history is in seconds
		w.work = shrink(workMean)
		w.step = shrink(stepInterval)
		w.afterOut = stable
		w.lifetime = shrink(lifetime)
	}
	return w
}

// limits gives the range, made consistent: a maximum below the minimum is the
// minimum.
func (s Spec) limits() (lowest, highest int) {
	lowest = max(s.Scale.Min, 0)
	return lowest, max(s.Scale.Max, lowest)
}
