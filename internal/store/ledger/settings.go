package ledger

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

// SetJobs makes what a release says of its jobs the truth.
func (l *Ledger) SetJobs(ctx context.Context, id springtide.EnvironmentID, release int, said springtide.Jobs) error {
	for name, schedule := range said.Schedules {
		_, wrong := complete(schedule.Job)
		if _, err := cron.Parse(schedule.Cron, schedule.Timezone); err != nil {
			wrong = err
		}
		if wrong != nil {
			return springtide.Errorf(springtide.Invalid, "schedule %s: %w", name, wrong)
		}
	}
	for name := range said.Queues {
		if !queueName.MatchString(string(name)) {
			return springtide.Errorf(springtide.Invalid, "%q is no name of a queue", name).
				WithHint("use lower-case letters, digits and hyphens, at most 40")
		}
	}
	return l.resettle(ctx, id, func(tx *transaction, p place, known []schedule, now moment) error {
		if _, err := tx.exec("UPDATE environments SET concurrency = $1, release_number = $2 WHERE id = $3",
			said.Concurrency, release, p.environment); err != nil {
			return err
		}
		if err := tx.setQueues(p, said.Queues); err != nil {
			return err
		}
		return tx.setSchedules(p, known, said.Schedules, now)
	})
}

// resettle changes what the slots of an environment depend on. What is due until
// then is recorded first, as it was: nothing is lost, whenever it changes. The
// change holds the schedules, so that nobody records slots of them meanwhile;
// until it does, others record with us.
func (l *Ledger) resettle(ctx context.Context, id springtide.EnvironmentID, change func(tx *transaction, p place, known []schedule, now moment) error) error {
	now, err := l.advance(ctx)
	if err != nil {
		return err
	}
	for settled := false; !settled; {
		for did := 1; did > 0; {
			if did, _, err = l.recordDue(ctx, now); err != nil {
				return err
			}
		}
		if err := l.write(ctx, func(tx *transaction) error {
			p, err := tx.ensure(id)
			if err != nil {
				return err
			}
			if tx.dialect.lock != "" {
				// Two releases at once would make the same schedules: they take turns.
				if _, err := tx.exec("SELECT 1 FROM environments WHERE id = $1"+tx.dialect.lock, p.environment); err != nil {
					return err
				}
			}
			known, err := all(tx, scanSchedule, scheduleColumns+"WHERE s.environment = $1 ORDER BY s.id"+tx.dialect.locks("s"), p.environment)
			if err != nil {
				return err
			}
			// Somebody may have been about to record slots of it, and failed.
			if settled = !slices.ContainsFunc(known, func(s schedule) bool { return s.due(now) }); !settled {
				return nil
			}
			return change(tx, p, known, now)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) setQueues(p place, said map[springtide.QueueName]springtide.Queue) error {
	if tx.dialect.lock != "" { // in the order in which claims lock them
		if _, err := tx.exec("SELECT 1 FROM queues WHERE environment = $1 ORDER BY id"+tx.dialect.lock, p.environment); err != nil {
			return err
		}
	}
	// What is not named any more is a queue like any other.
	if _, err := tx.exec("UPDATE queues SET concurrency = 0, attempts = $1, retention = $2 WHERE environment = $3",
		springtide.DefaultAttempts, springtide.DefaultRetention.Microseconds(), p.environment); err != nil || len(said) == 0 {
		return err
	}
	rows := make([][]any, 0, len(said))
	for _, name := range slices.Sorted(maps.Keys(said)) {
		queue := said[name]
		if queue.Attempts <= 0 {
			queue.Attempts = springtide.DefaultAttempts
		}
		if queue.Retention <= 0 {
			queue.Retention = springtide.DefaultRetention
		}
		rows = append(rows, []any{string(name), int64(queue.Concurrency), int64(queue.Attempts), queue.Retention.Microseconds()})
	}
	query, args := tx.with(`INSERT INTO queues (environment, name, concurrency, attempts, retention)
		SELECT CAST($1 AS bigint), v.* FROM %s WHERE true
		ON CONFLICT (environment, name) DO UPDATE SET concurrency = excluded.concurrency, attempts = excluded.attempts, retention = excluded.retention`,
		"name text, concurrency bigint, attempts bigint, retention bigint", rows, p.environment)
	_, err := tx.exec(query, args...)
	return err
}

// setSchedules keeps the next slot of those whose times did not change. The
// others begin from now, and never before their last slot: none is twice.
func (tx *transaction) setSchedules(p place, known []schedule, said map[springtide.ScheduleName]springtide.Schedule, now moment) error {
	before := map[springtide.ScheduleName]schedule{}
	for _, s := range known {
		before[springtide.ScheduleName(s.name)] = s
	}
	// Those that are gone are remembered, for their last slot.
	if _, err := tx.exec("UPDATE schedules SET gone = TRUE, next_slot = 0 WHERE environment = $1", p.environment); err != nil || len(said) == 0 {
		return err
	}
	rows := make([][]any, 0, len(said))
	for _, name := range slices.Sorted(maps.Keys(said)) {
		spec, old := said[name], before[name]
		next := old.next
		if next == 0 || old.spec.Cron != spec.Cron || old.spec.Timezone != spec.Timezone {
			timetable, err := cron.Parse(spec.Cron, spec.Timezone)
			if err != nil {
				return err
			}
			next = micros(timetable.Next(at(max(now.calendar, old.last))))
		}
		document, err := json.Marshal(spec)
		if err != nil {
			return err
		}
		rows = append(rows, []any{string(name), string(document), next})
	}
	query, args := tx.with(`INSERT INTO schedules (environment, name, spec, next_slot) SELECT CAST($1 AS bigint), v.* FROM %s WHERE true
		ON CONFLICT (environment, name) DO UPDATE SET spec = excluded.spec, next_slot = excluded.next_slot, gone = FALSE`,
		"name text, spec text, next_slot bigint", rows, p.environment)
	_, err := tx.exec(query, args...)
	return err
}

// SetStopped says that slots are to be recorded as skipped, or run again.
func (l *Ledger) SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) error {
	return l.resettle(ctx, id, func(tx *transaction, p place, _ []schedule, _ moment) error {
		_, err := tx.exec("UPDATE environments SET stopped = $1 WHERE id = $2", stopped, p.environment)
		return err
	})
}

// PauseQueue stops claims of a queue, or ends that.
func (l *Ledger) PauseQueue(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName, paused bool) error {
	return l.write(ctx, func(tx *transaction) error {
		tx.awake = true
		changed, err := tx.exec(`UPDATE queues SET paused = $1 WHERE name = $2 AND environment IN
			(SELECT id FROM environments WHERE app = $3 AND name = $4 AND forgotten = 0)`, paused, string(queue), string(id.App), string(id.Name))
		if err == nil && changed == 0 {
			return springtide.Errorf(springtide.NotFound, "%s has no queue %s", id, queue).WithHint("see: tide jobs queues")
		}
		return err
	})
}

// PauseSchedule has the slots of a schedule recorded as skipped, or ends that.
func (l *Ledger) PauseSchedule(ctx context.Context, id springtide.EnvironmentID, name springtide.ScheduleName, paused bool) error {
	return l.resettle(ctx, id, func(tx *transaction, p place, _ []schedule, _ moment) error {
		changed, err := tx.exec("UPDATE schedules SET paused = $1 WHERE environment = $2 AND name = $3 AND NOT gone", paused, p.environment, string(name))
		if err == nil && changed == 0 {
			return noSchedule(id, name)
		}
		return err
	})
}

func noSchedule(id springtide.EnvironmentID, name springtide.ScheduleName) error {
	return springtide.Errorf(springtide.NotFound, "%s has no schedule %s", id, name).WithHint("see: tide schedules")
}
