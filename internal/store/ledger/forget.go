package ledger

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// stragglers is how long a forgotten environment is looked after, so that what
// was about to be written to it is forgotten as well.
const stragglers = time.Minute

// forgetRuns deletes runs that are past their retention.
func (l *Ledger) forgetRuns(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		did, err = tx.deleteRuns(`forget <> 0 AND forget <= $1 ORDER BY forget LIMIT $2`, "forget <> 0", now.uptime, bite)
		return err
	})
	return did, 0, err
}

// deleteRuns deletes those that a condition picks, if they are still so.
func (tx *transaction) deleteRuns(picked, still string, args ...any) (int, error) {
	deleted, err := all(tx, func(r row) (n newRun, err error) {
		err = r.Scan(&n.queue, &n.state)
		return n, err
	}, `WITH picked AS MATERIALIZED (SELECT id FROM runs WHERE `+picked+tx.dialect.skipLocked+`)
		DELETE FROM runs WHERE id IN (SELECT id FROM picked) AND `+still+` RETURNING queue, state`, args...)
	for _, run := range deleted {
		tx.countState(run.queue, run.state, -1)
	}
	return len(deleted), err
}

// forgetOthers deletes batches that are past their retention, and locks that
// nobody has any more.
func (l *Ledger) forgetOthers(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		did = 0
		for _, statement := range []string{
			"DELETE FROM batches WHERE forget <> 0 AND forget <= $1",
			"DELETE FROM locks WHERE expires <= $1",
		} {
			deleted, err := tx.exec(statement, now.uptime)
			if err != nil {
				return err
			}
			did += deleted
		}
		return nil
	})
	return did, 0, err
}

// ForgetEnvironment deletes all that belongs to the environment. Its name is
// free at once; its runs follow in bites, at the latest in a minute's time.
func (l *Ledger) ForgetEnvironment(ctx context.Context, id springtide.EnvironmentID) error {
	var environment int64
	err := l.write(ctx, func(tx *transaction) error {
		now, err := tx.now()
		if err != nil {
			return err
		}
		if environment, err = tx.environment(id); err != nil || environment == 0 {
			return err
		}
		for _, statement := range []string{
			"DELETE FROM locks WHERE environment = $1",
			"DELETE FROM batches WHERE environment = $1",
			"DELETE FROM schedules WHERE environment = $1",
			"DELETE FROM queues WHERE environment = $1",
		} {
			if _, err := tx.exec(statement, environment); err != nil {
				return err
			}
		}
		_, err = tx.exec("UPDATE environments SET forgotten = $1 WHERE id = $2 AND forgotten = 0", in(now.uptime, stragglers), environment)
		return err
	})
	if err != nil || environment == 0 {
		return err
	}
	return l.forgetRunsOf(ctx, environment)
}

// forgetRunsOf deletes all runs of an environment.
func (l *Ledger) forgetRunsOf(ctx context.Context, environment int64) error {
	for {
		deleted := 0
		err := l.write(ctx, func(tx *transaction) (err error) {
			deleted, err = tx.deleteRuns("environment = $1 LIMIT $2", "true", environment, bite)
			tx.counts, tx.awake = nil, true // its queues are gone
			return err
		})
		if err != nil || deleted == 0 {
			return err
		}
	}
}

// forgetEnvironments deletes what is left of forgotten environments.
func (l *Ledger) forgetEnvironments(ctx context.Context, now moment) (did, available int, err error) {
	gone, err := all(l.view(ctx), value[int64], "SELECT id FROM environments WHERE forgotten <> 0 AND forgotten <= $1", now.uptime)
	if err != nil {
		return 0, 0, l.problem(ctx, err)
	}
	for _, environment := range gone {
		if err := l.forgetRunsOf(ctx, environment); err != nil {
			return 0, 0, err
		}
		if err := l.write(ctx, func(tx *transaction) error {
			if _, err := tx.exec("DELETE FROM queue_counts WHERE queue NOT IN (SELECT id FROM queues)"); err != nil {
				return err
			}
			_, err := tx.exec("DELETE FROM environments WHERE id = $1", environment)
			return err
		}); err != nil {
			return 0, 0, err
		}
	}
	return len(gone), 0, nil
}
