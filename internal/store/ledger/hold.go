package ledger

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// underWay is said of a run that somebody has.
const underWay = `runs.state IN ('claimed', 'running')`

// isHeld is the same, said of a run that is named: so that it is found by its
// number, and not among all that are under way.
const isHeld = `runs.state || '' IN ('claimed', 'running')`

// Start records that claimed runs are about to begin.
func (l *Ledger) Start(ctx context.Context, holds []jobs.Hold) ([]bool, error) {
	rows := make([][]any, len(holds))
	for i, hold := range holds {
		rows[i] = []any{runNumber(hold.Run), int64(hold.Fence)}
	}
	may := make([]bool, len(holds))
	err := l.write(ctx, func(tx *transaction) error {
		now, err := tx.now()
		if err != nil || len(holds) == 0 {
			return err
		}
		query, args := tx.withLocked(`UPDATE runs SET started = CASE WHEN state = 'claimed' THEN $1 ELSE started END, state = 'running', lease = $2
			FROM %s WHERE runs.id = v.id AND runs.fence = v.fence AND NOT runs.cancelling AND `+isHeld+` RETURNING runs.id, runs.fence`,
			"id bigint, fence bigint", rows, now.calendar, in(now.uptime, jobs.LeaseFor))
		started, err := all(tx, value2, query, args...)
		for i, hold := range holds {
			may[i] = false
			for _, s := range started {
				may[i] = may[i] || s == [2]int64{runNumber(hold.Run), int64(hold.Fence)}
			}
		}
		return err
	})
	return may, err
}

// Heartbeat renews leases.
func (l *Ledger) Heartbeat(ctx context.Context, beats []jobs.Beat) ([]jobs.Standing, error) {
	rows := make([][]any, 0, len(beats))
	for _, beat := range beats {
		percent, message := -1.0, ""
		if beat.Progress != nil {
			percent, message = beat.Progress.Percent, readable(beat.Progress.Message, keyLimit)
		}
		rows = append(rows, []any{runNumber(beat.Run), int64(beat.Fence), beat.Progress != nil, percent, message})
	}
	var standings []jobs.Standing
	err := l.write(ctx, func(tx *transaction) error {
		now, err := tx.now()
		if err != nil || len(beats) == 0 {
			return err
		}
		query, args := tx.withLocked(`UPDATE runs SET lease = $1, percent = CASE WHEN v.told THEN v.percent ELSE runs.percent END,
				message = CASE WHEN v.told THEN v.message ELSE runs.message END
			FROM %s WHERE runs.id = v.id AND runs.fence = v.fence AND `+isHeld+` RETURNING runs.id, runs.fence, runs.cancelling`,
			"id bigint, fence bigint, told boolean, percent double precision, message text", rows, in(now.uptime, jobs.LeaseFor))
		held := map[jobs.Hold]jobs.Standing{}
		_, err = all(tx, func(r row) (struct{}, error) {
			var number int64
			hold, standing := jobs.Hold{}, jobs.Standing{Held: true}
			err := r.Scan(&number, &hold.Fence, &standing.Cancel)
			hold.Run = runID(number)
			held[hold] = standing
			return struct{}{}, err
		}, query, args...)
		standings = make([]jobs.Standing, len(beats))
		for i, beat := range beats {
			standings[i] = held[beat.Hold]
		}
		return err
	})
	return standings, err
}

// attempt is what is looked at of a run that somebody has, or had.
type attempt struct {
	number, environment, queue int64
	kind                       springtide.RunKind
	state                      springtide.RunState
	priority                   int
	scope                      springtide.KeyScope
	schedule, batch            string
	fence, settled             int64
	verdict                    jobs.Verdict
	failures, attempts         int
	onLost                     springtide.OnLost
	runner                     string
	claimed, started           int64
	place, lease               int64
	cancelling                 bool
	// retention is that of the queue; limited says that it or the environment
	// allows only so many runs at the same time.
	retention int64
	limited   bool
}

const (
	attemptFields = `runs.id, runs.environment, runs.queue, runs.kind, runs.state, runs.priority, runs.scope, runs.schedule, runs.batch,
	runs.fence, runs.settled, runs.verdict, runs.failures, runs.attempts, runs.on_lost, runs.runner, runs.claimed, runs.started,
	runs.place, runs.lease, runs.cancelling, q.retention,
	q.concurrency > 0 OR EXISTS (SELECT 1 FROM environments e WHERE e.id = runs.environment AND e.concurrency > 0)`
	attemptFrom    = ` FROM runs JOIN queues q ON q.id = runs.queue `
	attemptColumns = attemptFields + attemptFrom
)

func scanAttempt(r row) (attempt, error) { return scanAttemptAnd(r) }

// scanAttemptAnd reads what is given after the fields, too.
func scanAttemptAnd(r row, more ...any) (a attempt, err error) {
	err = r.Scan(append([]any{
		&a.number, &a.environment, &a.queue, &a.kind, &a.state, &a.priority, &a.scope, &a.schedule, &a.batch,
		&a.fence, &a.settled, &a.verdict, &a.failures, &a.attempts, &a.onLost, &a.runner, &a.claimed, &a.started,
		&a.place, &a.lease, &a.cancelling, &a.retention, &a.limited,
	}, more...)...)
	return a, err
}
