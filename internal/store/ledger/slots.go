package ledger

import (
	"cmp"
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

// due reports whether a slot of it is to be recorded.
func (s *schedule) due(now moment) bool { return s.next != 0 && s.next <= now.calendar }

// recordDue records the slots that are due, of some schedules.
func (l *Ledger) recordDue(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		did, available = 0, 0
		schedules, err := all(tx, scanSchedule, scheduleColumns+`WHERE s.next_slot <> 0 AND s.next_slot <= $1
			ORDER BY s.next_slot LIMIT $2`+tx.dialect.skips("s"), now.calendar, schedulesAtOnce)
		if err != nil || len(schedules) == 0 {
			return err
		}
		did, available, err = l.record(tx, now, schedules)
		did = max(did, len(schedules)) // the next slot of each has moved at least
		return err
	})
	return did, available, err
}

// record records the slots of schedules that are due, at most slotsAtOnce of
// each, and moves them on. It holds their rows.
func (l *Ledger) record(tx *transaction, now moment, schedules []schedule) (recorded, available int, err error) {
	earlier, err := tx.earlierRuns(now, schedules)
	if err != nil {
		return 0, 0, err
	}
	places, err := tx.placesOf(now, schedules)
	if err != nil {
		return 0, 0, err
	}
	runs, moved := map[int64][]newRun{}, make([][]any, len(schedules))
	for i := range schedules {
		s := &schedules[i]
		planned, err := l.plan(places[s.environment], s, earlier)
		if err != nil {
			// It was right when it was set. The others must not wait for it.
			l.logger.Error("a schedule makes no sense any more, and no slots", "environment", s.id.String(), "schedule", s.name, "error", err)
			s.next = 0
		}
		runs[s.environment] = append(runs[s.environment], planned...)
		moved[i] = []any{s.number, s.next, s.last}
	}
	if err := l.replace(tx, now, earlier); err != nil {
		return 0, 0, err
	}
	for environment, planned := range runs {
		did, ready, err := tx.insertSlots(places[environment], planned)
		if err != nil {
			return 0, 0, err
		}
		recorded, available = recorded+did, available+ready
	}
	query, args := tx.with("UPDATE schedules SET next_slot = v.next_slot, last_slot = v.last_slot FROM %s WHERE schedules.id = v.id",
		"id bigint, next_slot bigint, last_slot bigint", moved)
	_, err = tx.exec(query, args...)
	return recorded, available, err
}

// placesOf are the environments of schedules, with the queues of their runs.
func (tx *transaction) placesOf(now moment, schedules []schedule) (map[int64]place, error) {
	queues := map[springtide.EnvironmentID][]springtide.QueueName{}
	for _, s := range schedules {
		queue := cmp.Or(s.spec.Job.Queue, springtide.DefaultQueue)
		if !slices.Contains(queues[s.id], queue) {
			queues[s.id] = append(queues[s.id], queue)
		}
	}
	places := map[int64]place{}
	for id, names := range queues {
		p, err := tx.ensure(id, names...)
		if err != nil {
			return nil, err
		}
		p.now = now
		places[p.environment] = p
	}
	return places, nil
}

// plan makes the runs of the slots of a schedule that are due, and moves it on.
func (l *Ledger) plan(p place, s *schedule, earlier map[scheduleKey]*earlierRuns) (runs []newRun, err error) {
	timetable, err := cron.Parse(s.spec.Cron, s.spec.Timezone)
	job, wrong := complete(s.spec.Job)
	if err = errors.Join(err, wrong); err != nil {
		return nil, err
	}
	before := earlier[s.scheduleKey]
	open := before != nil
	first := l.identity.take(p.now, slotsAtOnce)
	for s.due(p.now) && len(runs) < slotsAtOnce {
		slot := s.next
		s.next, s.last = micros(timetable.Next(at(slot))), slot
		run := p.newSlot(first+int64(len(runs)), len(runs), *s, job, slot, p.now.away, open)
		if run.state == springtide.RunWaiting && s.spec.Overlap == springtide.OverlapReplace {
			replacePlanned(p.now, runs)
			if open = before.replaced(); !open {
				run.makeAvailable(p.now, len(runs))
			}
		}
		open = open || !run.state.Over()
		runs = append(runs, run)
	}
	return runs, nil
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
