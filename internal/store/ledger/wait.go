package ledger

import (
	"context"
	"encoding/json"

	"github.com/springtide/springtide"
)

const (
	// released is said of a run that waits for no other any more.
	released = `runs.state = 'waiting' AND NOT EXISTS (SELECT 1 FROM runs AS earlier
		WHERE earlier.environment = runs.environment AND earlier.schedule = runs.schedule AND earlier.schedule <> ''
		AND earlier.slot < runs.slot AND earlier.state IN ('scheduled', 'waiting', 'available', 'claimed', 'running'))`
	// awaited is said of a slot that has not started, and of which it was not told yet.
	awaited = `runs.start_by <> 0 AND NOT runs.late AND runs.started = 0 AND runs.state IN ('scheduled', 'waiting', 'available', 'claimed')`

	releaseWaits = `UPDATE runs SET state = CASE WHEN run_at <= $1 THEN 'available' ELSE 'scheduled' END,
		available = CASE WHEN run_at <= $1 THEN $1 ELSE 0 END, place = CASE WHEN run_at <= $1 THEN $1 + priority * 60000000 ELSE 0 END
		WHERE ` + released
	releasedColumns = " RETURNING queue, kind, state"
)

// releaseWaiting ends the wait of the run of a schedule whose turn it is.
func (tx *transaction) releaseWaiting(now moment, key scheduleKey) (int, error) {
	available, _, err := tx.makeAvailable(releaseWaits+" AND environment = $2 AND schedule = $3"+releasedColumns,
		now.calendar, key.environment, key.name)
	return available, err
}

// endWaits ends the waits of all schedules: of those whose predecessor ended in
// a transaction that did not see them yet.
func (l *Ledger) endWaits(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		ready, others, err := tx.makeAvailable(releaseWaits+releasedColumns, now.calendar)
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
		WHERE runs.id IN (SELECT v.id FROM %s) AND runs.state IN ('scheduled', 'waiting', 'available')`, "id bigint", rows)
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
