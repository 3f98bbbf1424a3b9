package ledger

import (
	"context"
	"encoding/json"

	"github.com/springtide/springtide"
)

const (
	// open is said of a run of a schedule that is not over.
	open = `runs.schedule <> '' AND runs.state IN ('scheduled', 'waiting', 'available', 'claimed', 'running')`
	// awaited is said of a slot that has not started, and of which it was not told yet.
	awaited = `runs.start_by <> 0 AND NOT runs.late AND runs.started = 0 AND runs.state IN ('scheduled', 'waiting', 'available', 'claimed')`
)

// released are the runs of schedules v that wait for no other any more. Of each
// schedule that can be only the one with the earliest slot of those that wait:
// so it does not matter how many do.
func released(schedules string) string {
	return `FROM (SELECT (SELECT runs.id FROM runs WHERE runs.environment = v.environment AND runs.schedule = v.name AND runs.state = 'waiting'
			ORDER BY runs.slot LIMIT 1) AS id FROM ` + schedules + `) AS first JOIN runs AS waiting ON waiting.id = first.id
		WHERE waiting.state = 'waiting' AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.environment = waiting.environment
			AND runs.schedule = waiting.schedule AND runs.slot < waiting.slot AND ` + open + `)`
}

// endWaiting makes a statement that ends the waits of schedules v, but of runs
// that somebody else is about to change: those are found by the next tick.
func (d *dialect) endWaiting(schedules string) string {
	return `WITH told AS (SELECT CAST($1 AS bigint) AS now), picked AS MATERIALIZED (SELECT waiting.id ` + released(schedules) + d.skips("waiting") + `)
		UPDATE runs SET state = CASE WHEN run_at <= now THEN 'available' ELSE 'scheduled' END,
			available = CASE WHEN run_at <= now THEN now ELSE 0 END, place = CASE WHEN run_at <= now THEN now + priority * 60000000 ELSE 0 END
		FROM picked, told WHERE runs.id = picked.id AND runs.state = 'waiting' RETURNING runs.queue, runs.kind, runs.state`
}

// releaseWaiting ends the waits of those runs of schedules whose turn it is.
func (tx *transaction) releaseWaiting(now moment, schedules map[scheduleKey]bool) error {
	if len(schedules) == 0 {
		return nil
	}
	rows := make([][]any, 0, len(schedules))
	for key := range schedules {
		rows = append(rows, []any{key.environment, key.name})
	}
	query, args := tx.with(tx.dialect.endWaiting("%s"), "environment bigint, name text", rows, now.calendar)
	_, _, err := tx.makeAvailable(query, args...)
	return err
}

// endWaits ends the waits of all schedules: of those whose predecessor ended in
// a transaction that did not see them yet.
func (l *Ledger) endWaits(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		ready, others, err := tx.makeAvailable(tx.dialect.endWaiting("schedules AS v"), now.calendar)
		did, available = ready+others, ready
		return err
	})
	return did, available, err
}

// passDeadlines marks slots that did not start in time as late. Those that a
// schedule would rather skip, and that nobody has, are missed.
func (l *Ledger) passDeadlines(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		late, err := all(tx, value[int64], `WITH picked AS MATERIALIZED (SELECT id FROM runs WHERE `+awaited+` AND start_by < $1
				ORDER BY start_by LIMIT $2`+tx.dialect.skipLocked+`)
			UPDATE runs SET late = TRUE FROM picked WHERE runs.id = picked.id AND `+awaited+` RETURNING runs.id`, now.calendar, bite)
		if err != nil || len(late) == 0 {
			return err
		}
		did = len(late)
		rows := make([][]any, len(late))
		for i, number := range late {
			rows[i] = []any{number}
		}
		skipped, err := tx.skippedWhenLate(rows)
		if err != nil {
			return err
		}
		var missed []change
		for _, a := range skipped {
			c := change{attempt: a, failures: a.failures}.end(now, springtide.RunMissed)
			c.outcome.Reason = "it could not start before its deadline"
			missed = append(missed, c)
		}
		made, err := l.apply(tx, now, missed)
		if err != nil {
			return err
		}
		isMissed := map[int64]bool{}
		for i, c := range missed {
			isMissed[c.number] = made[i]
		}
		var told []happening
		for _, number := range late {
			kind := "slot.late"
			if isMissed[number] {
				kind = "slot.missed"
			}
			told = append(told, happening{kind, number})
		}
		return tx.tell(told)
	})
	return did, 0, err
}

// skippedWhenLate are those runs that nobody has, of schedules that skip what is missed.
func (tx *transaction) skippedWhenLate(rows [][]any) ([]attempt, error) {
	type late struct {
		attempt
		spec string
	}
	query, args := tx.with(`SELECT `+attemptFields+`, s.spec `+attemptFrom+`
		JOIN schedules s ON s.environment = runs.environment AND s.name = runs.schedule
		WHERE runs.id `+tx.dialect.among+` AND runs.state IN ('scheduled', 'waiting', 'available')`, "id bigint", rows)
	found, err := all(tx, func(r row) (n late, err error) {
		n.attempt, err = scanAttemptAnd(r, &n.spec)
		return n, err
	}, query, args...)
	if err != nil {
		return nil, err
	}
	var skipped []attempt
	for _, n := range found {
		var spec springtide.Schedule
		if err := json.Unmarshal([]byte(n.spec), &spec); err != nil {
			return nil, err
		}
		if spec.Missed == springtide.MissedSkip {
			skipped = append(skipped, n.attempt)
		}
	}
	return skipped, nil
}
