package ledger

import (
	"fmt"
	"hash/fnv"
	"time"

	"github.com/springtide/springtide"
)

// newSlot makes the run of a slot. Away is when the last outage was over, open
// says that an earlier run of the schedule is not over.
func (p place) newSlot(number int64, ordinal int, s schedule, job springtide.Job, slot, away int64, open bool) newRun {
	job.Key, job.RunAt, job.Delay = "", time.Time{}, 0
	run := p.newRun(number, ordinal, job)
	run.schedule, run.slot = springtide.ScheduleName(s.name), slot
	run.runAt = slot + jitter(s, slot)
	if s.spec.Deadline > 0 {
		run.startBy = in(run.runAt, s.spec.Deadline)
	}
	run.since, run.place = 0, 0
	run.state, run.reason = admit(p.now, s, run, slot <= away, s.next != 0 && s.next <= away, open)
	switch {
	case run.state == springtide.RunAvailable:
		run.makeAvailable(p.now, ordinal)
	case run.state.Over():
		run.finished = p.now.calendar
		run.forget = forgetAt(p.now, run.state, run.retention)
	}
	return run
}

// admit tells what becomes of a slot, and why if it makes no run. Missed says
// that nobody was there at its time, older that nobody was at a later one either.
func admit(now moment, s schedule, run newRun, missed, older, open bool) (springtide.RunState, string) {
	overlap := s.spec.Overlap
	switch {
	case s.stopped:
		return springtide.RunSkipped, "the environment is stopped"
	case s.paused:
		return springtide.RunSkipped, "the schedule is paused"
	case missed && older && s.spec.Missed != springtide.MissedAll:
		return springtide.RunMissed, "no server was up at its time, and a later slot has passed since"
	case missed && s.spec.Missed == springtide.MissedSkip && run.startBy != 0 && run.startBy < now.calendar:
		return springtide.RunMissed, "no server was up before its deadline had passed"
	case missed && s.spec.Missed == springtide.MissedAll && overlap != springtide.OverlapAllow:
		overlap = springtide.OverlapQueue // every one is to run
	}
	switch {
	case !open || overlap == springtide.OverlapAllow:
		return springtide.RunAvailable, ""
	case overlap == springtide.OverlapQueue || overlap == springtide.OverlapReplace:
		return springtide.RunWaiting, ""
	}
	return springtide.RunSkipped, "an earlier run of the schedule is not over"
}

// jitter is by how much the start of a slot is put off: the same whenever it is
// asked for.
func jitter(s schedule, slot int64) int64 {
	if s.spec.Jitter <= 0 {
		return 0
	}
	hash := fnv.New64a()
	fmt.Fprint(hash, s.id, "/", s.name, "/", slot)
	return int64(hash.Sum64() % uint64(max(s.spec.Jitter.Microseconds(), 1)))
}
