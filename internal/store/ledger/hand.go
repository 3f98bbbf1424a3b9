package ledger

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Cancel ends a run that is not over.
func (l *Ledger) Cancel(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return l.byHand(ctx, id, run, func(tx *transaction, now moment, found springtide.Run) error {
		switch {
		case found.State == springtide.RunCancelled:
			return nil
		case found.State.Over():
			return springtide.Errorf(springtide.Conflict, "run %s is over: it has %s", run, ended(found.State)).
				WithHint("there is nothing left to cancel")
		}
		_, err := l.cancel(tx, now, runNumber(run), "it was cancelled by hand")
		return err
	})
}

// ended says a state in which nothing more happens in a sentence.
func ended(state springtide.RunState) string {
	switch state {
	case springtide.RunSucceeded:
		return "succeeded"
	case springtide.RunDead:
		return "failed for good"
	}
	return "been " + string(state)
}

// byHand does something with a run and gives it as it is then.
func (l *Ledger) byHand(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, do func(*transaction, moment, springtide.Run) error) (after springtide.Run, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		now, err := tx.now()
		if err != nil {
			return err
		}
		if _, err := tx.lockRun(runNumber(run)); err != nil {
			return err
		}
		before, err := tx.run(id, run)
		if err != nil {
			return err
		}
		if err := do(tx, now, before); err != nil {
			return err
		}
		after, err = tx.run(id, run)
		return err
	})
	return after, err
}

// lockRun looks at a run and keeps others from changing it.
func (tx *transaction) lockRun(number int64) ([]attempt, error) {
	return all(tx, scanAttempt, "SELECT "+attemptColumns+"WHERE runs.id = $1"+tx.dialect.locks("runs"), number)
}

// cancel ends a run that nobody has begun. One that runs is asked to end. It
// tells whether it is over.
func (l *Ledger) cancel(tx *transaction, now moment, number int64, reason string) (over bool, err error) {
	found, err := tx.lockRun(number)
	if err != nil || len(found) == 0 || found[0].state.Over() {
		return true, err
	}
	if found[0].state == springtide.RunRunning {
		tx.awake = true
		_, err := tx.exec("UPDATE runs SET cancelling = TRUE, reason = $1 WHERE id = $2", reason, number)
		return false, err
	}
	c := change{attempt: found[0], failures: found[0].failures}.end(now, springtide.RunCancelled)
	c.outcome.Reason = reason
	_, err = l.apply(tx, now, []change{c})
	return true, err
}

// Retry makes a run that is dead, cancelled, or waiting for its back-off
// available now.
func (l *Ledger) Retry(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	return l.byHand(ctx, id, run, func(tx *transaction, now moment, found springtide.Run) error {
		switch {
		case found.State == springtide.RunAvailable || found.State == springtide.RunClaimed || found.State == springtide.RunRunning:
			return nil // asked again
		case found.State == springtide.RunDead || found.State == springtide.RunCancelled,
			found.State == springtide.RunScheduled && found.Attempt > 0:
			return tx.retry(now, runNumber(run))
		}
		return springtide.Errorf(springtide.Conflict, "run %s is %s", run, found.State).
			WithHint("only a run that is dead, cancelled or waiting for its next try can be tried now; for another run of a schedule: tide schedules run")
	})
}

// retry makes a run available that is dead, cancelled or scheduled.
func (tx *transaction) retry(now moment, number int64) error {
	found, err := tx.lockRun(number)
	if err != nil || len(found) == 0 {
		return err
	}
	a := found[0]
	if a.scope == springtide.KeyActive && a.state.Over() {
		other, err := one(tx, nil, value[int64], `SELECT coalesce(max(other.id), 0) FROM runs JOIN runs AS other
			ON other.environment = runs.environment AND other.taken = runs.unique_key AND other.taken <> '' WHERE runs.id = $1`, number)
		if err != nil {
			return err
		}
		if other != 0 {
			return springtide.Errorf(springtide.Conflict, "the key of run %s is taken by run %s, which is not over", runID(number), runID(other)).
				WithHint("wait for its end, or cancel it: tide jobs cancel %s", runID(other))
		}
	}
	// A slot is late by now if it ever was to be on time; that is told once.
	if _, err := tx.exec(`UPDATE runs SET state = 'available', failures = 0, run_at = $1, due = `+neverText+`, available = $1, place = $1 + priority * 60000000,
		finished = 0, forget = 0, cancelling = FALSE, late = CASE WHEN start_by <> 0 AND start_by < $1 AND started = 0 THEN TRUE ELSE late END,
		taken = CASE WHEN scope = 'active' THEN unique_key ELSE taken END WHERE id = $2`, now.calendar, number); err != nil {
		return err
	}
	tx.countState(a.queue, a.state, -1)
	tx.countAvailable(a.queue, a.kind)
	if a.batch == "" || !a.state.Over() {
		return nil
	}
	dead := 0
	if a.state == springtide.RunDead {
		dead = 1
	}
	_, err = tx.exec("UPDATE batches SET ended = ended - 1, dead = dead - $1, forget = 0 WHERE environment = $2 AND name = $3", dead, a.environment, a.batch)
	return err
}

// Replay retries every dead run of a queue, or of all.
func (l *Ledger) Replay(ctx context.Context, id springtide.EnvironmentID, queue springtide.QueueName) (replayed int, err error) {
	after := int64(0)
	for done := false; !done; {
		count := 0
		err := l.write(ctx, func(tx *transaction) error {
			count, done = 0, true
			now, err := tx.now()
			if err != nil {
				return err
			}
			dead, err := all(tx, value[int64], `SELECT runs.id `+runFrom+`WHERE runs.state = 'dead' AND runs.id > $1 AND e.app = $2 AND e.name = $3
				AND (CAST($4 AS text) = '' OR q.name = $4) ORDER BY runs.id LIMIT $5`, after, string(id.App), string(id.Name), string(queue), bite)
			if err != nil {
				return err
			}
			for _, number := range dead {
				done = false
				switch err := tx.retry(now, number); springtide.KindOf(err) {
				case "":
					count++
				case springtide.Conflict: // another run has its key: it stays dead
				default:
					return err
				}
			}
			if len(dead) > 0 {
				after = dead[len(dead)-1]
			}
			return nil
		})
		if err != nil {
			return replayed, err
		}
		replayed += count
	}
	return replayed, nil
}

// Trigger makes a run of a schedule now.
func (l *Ledger) Trigger(ctx context.Context, id springtide.EnvironmentID, name springtide.ScheduleName) (run springtide.RunID, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		s, err := one(tx, noSchedule(id, name), scanSchedule, scheduleColumns+"WHERE e.app = $1 AND e.name = $2 AND s.name = $3 AND NOT s.gone",
			string(id.App), string(id.Name), string(name))
		if err != nil {
			return err
		}
		job := s.spec.Job
		job.Key, job.Delay, job.RunAt = "", 0, time.Time{}
		if job, err = complete(job); err != nil {
			return err
		}
		p, err := tx.ensure(id, job.Queue)
		if err != nil {
			return err
		}
		runs := p.newRuns(l.identity.take(p.now, 1), []springtide.Job{job}, "")
		runs[0].schedule = name
		run = runID(runs[0].number)
		return tx.insert(p, runs)
	})
	return run, err
}
