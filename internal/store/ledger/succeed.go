package ledger

import (
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// How a successful attempt ended, and what there is to say of most of them.
const (
	successColumns = "id bigint, fence bigint, reason text, exit_code bigint, result text, output text"
	plainSuccess   = "id bigint, fence bigint"
)

// succeed ends attempts that all have succeeded, those that still have their
// run, without a look at them first: nothing is to be decided. It marks them as
// accepted; whether others were before has yet to be looked up.
func (l *Ledger) succeed(tx *transaction, outcomes []jobs.Outcome, accepted []bool) error {
	columns, values := successColumns, "reason = v.reason, exit_code = v.exit_code, result = v.result, output = v.output"
	plain := !slices.ContainsFunc(outcomes, func(o jobs.Outcome) bool {
		return o.Reason != "" || o.ExitCode != 0 || len(o.Result) > 0 || o.Output != ""
	})
	if plain {
		columns, values = plainSuccess, "reason = '', exit_code = 0, result = '', output = ''"
	}
	places, rows := make(map[int64]int, len(outcomes)), make([][]any, 0, len(outcomes))
	for i, o := range outcomes {
		number := runNumber(o.Run)
		if _, twice := places[number]; twice {
			continue
		}
		places[number] = i
		row := []any{number, int64(o.Fence)}
		if !plain {
			row = append(row, o.Reason, int64(o.ExitCode), string(o.Result), o.Output)
		}
		rows = append(rows, row)
	}
	var now moment
	query, args := tx.withLocked(`WITH told AS MATERIALIZED (`+tx.dialect.momentOf()+`)
		UPDATE runs SET state = 'succeeded', due = 0, available = 0, place = 0, finished = told.calendar, forget = told.uptime + q.retention, cancelling = FALSE,
			taken = CASE WHEN runs.scope = 'active' THEN '' ELSE runs.taken END, settled = runs.fence, verdict = 'succeeded', `+values+`
		FROM told, queues q, %s WHERE runs.id = v.id AND runs.fence = v.fence AND `+isHeld+` AND q.id = runs.queue
		RETURNING runs.id, runs.environment, runs.queue, runs.kind, runs.schedule, runs.batch, runs.claimed, runs.started, told.calendar, told.uptime,
			q.concurrency > 0 OR EXISTS (SELECT 1 FROM environments e WHERE e.id = runs.environment AND e.concurrency > 0)`, columns, rows)
	ended, err := all(tx, func(r row) (c change, err error) {
		err = r.Scan(&c.number, &c.environment, &c.queue, &c.kind, &c.schedule, &c.batch, &c.claimed, &c.started, &now.calendar, &now.uptime, &c.limited)
		// An attempt that was not started has the time of one before it.
		c.state, c.started = springtide.RunRunning, max(c.claimed, c.started)
		c.to, c.outcome.Verdict = springtide.RunSucceeded, jobs.Succeeded
		accepted[places[c.number]] = true
		return c, err
	}, query, args...)
	if err != nil {
		return err
	}
	return l.follow(tx, now, ended)
}
