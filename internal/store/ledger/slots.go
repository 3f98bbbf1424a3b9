package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

const (
	// schedulesAtOnce and slotsAtOnce are how many schedules, and how many slots of
	// each, one transaction records at most.
	schedulesAtOnce = 20
	slotsAtOnce     = 500
)

// scheduleKey names a schedule of an environment.
type scheduleKey struct {
	environment int64
	name        string
}

// schedule is a row of the schedules.
type schedule struct {
	scheduleKey
	number int64
	id     springtide.EnvironmentID
	spec   springtide.Schedule
	// paused is by hand, stopped is its environment.
	paused, stopped bool
	next, last      int64
}

const scheduleColumns = `SELECT s.id, s.environment, s.name, s.spec, s.paused, s.next_slot, s.last_slot, e.app, e.name, e.stopped
	FROM schedules s JOIN environments e ON e.id = s.environment AND e.forgotten = 0 `

func scanSchedule(r row) (s schedule, err error) {
	var spec string
	err = r.Scan(&s.number, &s.environment, &s.name, &spec, &s.paused, &s.next, &s.last, &s.id.App, &s.id.Name, &s.stopped)
	if err == nil {
		err = json.Unmarshal([]byte(spec), &s.spec)
	}
	return s, err
}

// recordDue records the slots that are due, of some schedules.
func (l *Ledger) recordDue(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		did, available = 0, 0
		lock := ""
		if tx.dialect.skipLocked != "" {
			lock = " FOR UPDATE OF s SKIP LOCKED"
		}
		schedules, err := all(tx, scanSchedule, scheduleColumns+`WHERE s.next_slot <> 0 AND s.next_slot <= $1
			ORDER BY s.next_slot LIMIT $2`+lock, now.calendar, schedulesAtOnce)
		if err != nil {
			return err
		}
		for _, s := range schedules {
			recorded, ready, _, err := l.record(tx, now, s)
			if err != nil {
				return err
			}
			did += max(recorded, 1) // its next slot has moved at least
			available += ready
		}
		return nil
	})
	return did, available, err
}

// record records the slots of one schedule that are due, at most slotsAtOnce,
// and moves it on. Whole says that there are no more.
func (l *Ledger) record(tx *transaction, now moment, s schedule) (recorded, available int, whole bool, err error) {
	timetable, err := cron.Parse(s.spec.Cron, s.spec.Timezone)
	job, wrong := complete(s.spec.Job)
	if err = errors.Join(err, wrong); err != nil {
		// It was right when it was set. The others must not wait for it.
		l.logger.Error("a schedule makes no sense any more, and no slots", "environment", s.id.String(), "schedule", s.name, "error", err)
		_, err = tx.exec("UPDATE schedules SET next_slot = 0 WHERE id = $1", s.number)
		return 0, 0, true, err
	}
	p, err := tx.ensure(s.id, job.Queue)
	if err != nil {
		return 0, 0, false, err
	}
	p.now = now
	before, err := tx.openRuns(s.scheduleKey)
	if err != nil {
		return 0, 0, false, err
	}
	var runs []newRun
	first := l.identity.take(now, slotsAtOnce)
	for s.next != 0 && s.next <= now.calendar && len(runs) < slotsAtOnce {
		slot := s.next
		following := timetable.Next(at(slot))
		s.next, s.last = micros(following), slot
		run := p.newSlot(first+int64(len(runs)), len(runs), s, job, slot, now.away, len(before) > 0)
		if run.state == springtide.RunWaiting && s.spec.Overlap == springtide.OverlapReplace {
			if before, err = l.replace(tx, now, before, runs); err != nil {
				return 0, 0, false, err
			}
			if len(before) == 0 {
				run.makeAvailable(now, len(runs))
			}
		}
		if !run.state.Over() {
			before = append(before, run.number)
		}
		runs = append(runs, run)
	}
	recorded, available, err = tx.insertSlots(p, runs)
	if err != nil {
		return 0, 0, false, err
	}
	_, err = tx.exec("UPDATE schedules SET next_slot = $1, last_slot = $2 WHERE id = $3", s.next, s.last, s.number)
	return recorded, available, s.next == 0 || s.next > now.calendar, err
}

// insertSlots records slots, and what there is to tell of them.
func (tx *transaction) insertSlots(p place, runs []newRun) (recorded, available int, err error) {
	if len(runs) == 0 {
		return 0, 0, nil
	}
	if err := tx.insert(p, runs); err != nil {
		return 0, 0, err
	}
	var told []happening
	for _, run := range runs {
		if run.alreadyThere {
			continue
		}
		recorded++
		switch run.state {
		case springtide.RunAvailable:
			available++
		case springtide.RunSkipped:
			told = append(told, happening{"slot.skipped", run.number})
		case springtide.RunMissed:
			told = append(told, happening{"slot.missed", run.number})
		}
	}
	return recorded, available, tx.tell(told)
}

// replace cancels what a slot of a schedule replaces, and gives those that it
// has to wait for: they run, and were asked to end.
func (l *Ledger) replace(tx *transaction, now moment, before []int64, planned []newRun) ([]int64, error) {
	const reason = "a later slot has replaced it"
	rest := before[:0:0]
	for _, number := range before {
		at := slices.IndexFunc(planned, func(run newRun) bool { return run.number == number })
		if at >= 0 {
			run := &planned[at]
			run.state, run.reason, run.finished = springtide.RunCancelled, reason, now.calendar
			run.forget = forgetAt(now, run.state, run.retention)
			continue
		}
		over, err := l.cancel(tx, now, number, reason)
		if err != nil {
			return nil, err
		}
		if !over {
			rest = append(rest, number)
		}
	}
	return rest, nil
}

// openRuns are those of a schedule that are not over, the oldest first.
func (tx *transaction) openRuns(key scheduleKey) ([]int64, error) {
	return all(tx, value[int64], `SELECT id FROM runs WHERE environment = $1 AND schedule = $2 AND schedule <> ''
		AND state IN ('scheduled', 'waiting', 'available', 'claimed', 'running') ORDER BY id`, key.environment, key.name)
}
