package ledger

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// lost is the verdict of a tick about an attempt whose lease has run out.
const lost jobs.Verdict = "lost"

// change is what becomes of a run at the end of an attempt, or by hand.
type change struct {
	attempt
	// to is the state that it is in from then on.
	to       springtide.RunState
	failures int
	runAt    int64 // when it is tried again, by the calendar
	due      int64 // and by the uptime
	since    int64 // when it became available
	turn     int64 // its place then
	finished int64
	forget   int64
	// settles says that the attempt is answered for.
	settles bool
	outcome jobs.Outcome
}

// settle tells what becomes of a run whose attempt has ended. Dice is a number
// from 0 to 1, by which back-offs differ.
func settle(now moment, a attempt, outcome jobs.Outcome, dice float64) change {
	c := change{attempt: a, failures: a.failures, settles: outcome.Verdict != lost, outcome: outcome}
	switch {
	case outcome.Verdict == jobs.Succeeded:
		return c.end(now, springtide.RunSucceeded)
	case outcome.Verdict == jobs.Returned, outcome.Verdict == lost && a.state == springtide.RunClaimed:
		if a.cancelling {
			return c.end(now, springtide.RunCancelled)
		}
		if outcome.RetryAfter > 0 {
			return c.wait(now, outcome.RetryAfter)
		}
		return c.again(now)
	}
	c.failures++
	final := outcome.Final || outcome.Verdict == lost && a.onLost == springtide.LostFail
	switch {
	case a.cancelling:
		return c.end(now, springtide.RunCancelled)
	case final || c.failures >= a.attempts:
		return c.end(now, springtide.RunDead)
	case outcome.RetryAfter > 0:
		return c.wait(now, outcome.RetryAfter)
	}
	return c.wait(now, backOff(c.failures, dice))
}

// lostOutcome is the end of an attempt whose runner was lost.
func lostOutcome(a attempt) jobs.Outcome {
	reason := fmt.Sprintf("its runner %s was lost: no heartbeat for %s", a.runner, jobs.LeaseFor)
	if a.state == springtide.RunClaimed {
		reason = fmt.Sprintf("its runner %s was lost before it had begun", a.runner)
	}
	return jobs.Outcome{Hold: jobs.Hold{Run: runID(a.number), Fence: springtide.Fence(a.fence)}, Verdict: lost, Reason: reason}
}

// backOff is how long to wait after so many failures: 15 s x 2^n, give or take
// a fifth, at most an hour.
func backOff(failures int, dice float64) time.Duration {
	wait := jobs.LongestBackOff
	if doublings := failures - 1; doublings < 16 {
		wait = min(jobs.FirstBackOff<<doublings, wait)
	}
	return min(time.Duration(float64(wait)*(0.8+0.4*dice)), jobs.LongestBackOff)
}

// end has the run over.
func (c change) end(now moment, state springtide.RunState) change {
	c.to, c.finished = state, now.calendar
	c.forget = forgetAt(now, state, c.retention)
	return c
}

// again has the run available, with the place that it had.
func (c change) again(now moment) change {
	c.to, c.runAt, c.due, c.since, c.turn = springtide.RunAvailable, now.calendar, never, now.calendar, c.place
	return c
}

// wait has the run scheduled.
func (c change) wait(now moment, wait time.Duration) change {
	c.to, c.runAt, c.due = springtide.RunScheduled, in(now.calendar, wait), in(now.uptime, wait)
	return c
}

// forgetAt is the uptime at which a run that is over is forgotten.
func forgetAt(now moment, state springtide.RunState, retention int64) int64 {
	if state == springtide.RunDead {
		retention = springtide.DeadRetention.Microseconds()
	}
	return in(now.uptime, elapsed(retention))
}
