package ledger

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// reasonLimit is how long a reason is that is kept, in bytes.
const reasonLimit = 2000

// Finish takes results.
func (l *Ledger) Finish(ctx context.Context, outcomes []jobs.Outcome) ([]bool, error) {
	told := make([]jobs.Outcome, len(outcomes))
	for i, outcome := range outcomes {
		if err := checkOutcome(outcome); err != nil {
			return nil, which(err, i, len(outcomes))
		}
		told[i] = outcome
		told[i].Reason = readable(outcome.Reason, reasonLimit)
		told[i].Output = readable(outcome.Output, springtide.OutputTail)
	}
	if len(told) == 0 {
		return nil, nil
	}
	var accepted []bool
	err := l.write(ctx, func(tx *transaction) (err error) {
		accepted, err = l.finish(tx, told)
		return err
	})
	return accepted, err
}

func checkOutcome(o jobs.Outcome) *springtide.Error {
	switch {
	case o.Verdict != jobs.Succeeded && o.Verdict != jobs.Failed && o.Verdict != jobs.Returned:
		return springtide.Errorf(springtide.Invalid, "there is no verdict %q", o.Verdict).
			WithHint("use succeeded, failed or returned")
	case len(o.Result) > springtide.ResultLimit:
		return springtide.Errorf(springtide.Invalid, "the result has %d bytes, more than %d", len(o.Result), springtide.ResultLimit).
			WithHint("store it elsewhere and tell where it is")
	case len(o.Result) > 0 && (!json.Valid(o.Result) || !utf8.Valid(o.Result)):
		return springtide.Errorf(springtide.Invalid, "the result is not JSON").
			WithHint("text must be quoted: \"like this\"")
	case o.RetryAfter < 0:
		return springtide.Errorf(springtide.Invalid, "a run cannot be tried again before now").
			WithHint("leave retry_after out")
	}
	return nil
}

// finish looks at the runs, decides, and writes what still holds. What somebody
// else has changed in between is looked at again.
func (l *Ledger) finish(tx *transaction, outcomes []jobs.Outcome) ([]bool, error) {
	accepted := make([]bool, len(outcomes))
	if l.dialect.quick && !slices.ContainsFunc(outcomes, func(o jobs.Outcome) bool { return o.Verdict != jobs.Succeeded }) {
		if err := l.succeed(tx, outcomes, accepted); err != nil {
			return nil, err
		}
	}
	var open []int
	for i := range accepted {
		if !accepted[i] {
			open = append(open, i)
		}
	}
	for len(open) > 0 {
		now, attempts, err := tx.attempts(outcomes, open)
		if err != nil {
			return nil, err
		}
		var changes []change
		var deciding, later []int
		busy := map[int64]bool{}
		for _, i := range open {
			o := outcomes[i]
			a, known := attempts[runNumber(o.Run)]
			switch has := known && a.fence == int64(o.Fence) && (a.state == springtide.RunClaimed || a.state == springtide.RunRunning); {
			case !has:
				accepted[i] = known && a.settled == int64(o.Fence) && a.verdict == o.Verdict
			case busy[a.number]:
				later = append(later, i) // told twice in one call
			default:
				busy[a.number] = true
				changes, deciding = append(changes, settle(now, a, o, rand.Float64())), append(deciding, i)
			}
		}
		made, err := l.apply(tx, now, changes)
		if err != nil {
			return nil, err
		}
		for n, i := range deciding {
			if accepted[i] = made[n]; !made[n] {
				later = append(later, i)
			}
		}
		open = later
	}
	return accepted, nil
}

// attempts looks at the runs of those outcomes that are open, and locks them, and
// at the clock if there are any.
func (tx *transaction) attempts(outcomes []jobs.Outcome, open []int) (now moment, attempts map[int64]attempt, err error) {
	rows := make([][]any, len(open))
	for n, i := range open {
		rows[n] = []any{runNumber(outcomes[i].Run)}
	}
	query, args := tx.with("SELECT "+attemptFields+", "+tx.dialect.clockColumns()+attemptFrom+
		"CROSS JOIN clock c WHERE runs.id "+tx.dialect.among+" ORDER BY runs.id"+tx.dialect.locks("runs"), "id bigint", rows)
	attempts = make(map[int64]attempt, len(open))
	_, err = all(tx, func(r row) (struct{}, error) {
		var t told
		a, err := scanAttemptAnd(r, t.columns()...)
		now, attempts[a.number] = t.moment(tx.dialect), a
		return struct{}{}, err
	}, query, args...)
	return now, attempts, err
}

const changeColumns = "id bigint, was text, fence bigint, asked boolean, lease bigint, state text, failures bigint, run_at bigint, due bigint, " +
	"available bigint, place bigint, finished bigint, forget bigint, settles boolean, verdict text, reason text, exit_code bigint, " +
	"result text, output text"

// apply writes changes of runs that are locked, and what follows from each: the counts, the batch, the
// runs that waited for it, and what there is to tell. It tells of each whether
// it was written: not if the run is no longer as it was.
func (l *Ledger) apply(tx *transaction, now moment, changes []change) ([]bool, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	rows := make([][]any, len(changes))
	for i, c := range changes {
		lease := int64(never) // it may have been renewed since, unless the change is because it was not
		if c.outcome.Verdict == lost {
			lease = c.lease
		}
		rows[i] = []any{
			c.number, string(c.state), c.fence, c.cancelling, lease, string(c.to), int64(c.failures), c.runAt, c.due,
			c.since, c.turn, c.finished, c.forget, c.settles, string(c.outcome.Verdict), c.outcome.Reason, int64(c.outcome.ExitCode),
			string(c.outcome.Result), c.outcome.Output,
		}
	}
	query, args := tx.with(`UPDATE runs SET state = v.state, failures = v.failures,
			run_at = CASE WHEN v.run_at = 0 THEN runs.run_at ELSE v.run_at END, due = v.due, available = v.available, place = v.place,
			finished = v.finished, forget = v.forget, cancelling = FALSE,
			taken = CASE WHEN v.finished <> 0 AND runs.scope = 'active' THEN '' ELSE runs.taken END,
			settled = CASE WHEN v.settles THEN v.fence ELSE runs.settled END, verdict = CASE WHEN v.settles THEN v.verdict ELSE runs.verdict END,
			reason = v.reason, exit_code = CASE WHEN v.verdict = '' THEN runs.exit_code ELSE v.exit_code END,
			result = CASE WHEN v.verdict = '' THEN runs.result ELSE v.result END, output = CASE WHEN v.verdict = '' THEN runs.output ELSE v.output END
		FROM %s WHERE runs.id = v.id AND runs.state = v.was AND runs.fence = v.fence AND runs.cancelling = v.asked AND runs.lease <= v.lease
		RETURNING runs.id`, changeColumns, rows)
	written, err := all(tx, value[int64], query, args...)
	if err != nil {
		return nil, err
	}
	have := make(map[int64]bool, len(written))
	for _, number := range written {
		have[number] = true
	}
	made := make([]bool, len(changes))
	var done []change
	for i, c := range changes {
		if made[i] = have[c.number]; made[i] {
			done = append(done, c)
		}
	}
	return made, l.follow(tx, now, done)
}

// follow does what follows from changes that were written.
func (l *Ledger) follow(tx *transaction, now moment, changes []change) error {
	batches, told := batchSteps{}, []happening{}
	schedules := map[scheduleKey]bool{}
	for _, c := range changes {
		c.count(tx, now)
		if c.outcome.Verdict == lost {
			told = append(told, happening{"run.lost", c.number})
		}
		if c.limited {
			tx.awake = true // there is room for another
		}
		if !c.to.Over() {
			continue
		}
		failed := 0
		if c.to == springtide.RunDead {
			failed = 1
			told = append(told, happening{"run.dead", c.number})
		}
		batches.add(c.environment, c.batch, 1, failed)
		if c.schedule != "" {
			schedules[scheduleKey{c.environment, c.schedule}] = true
		}
	}
	if err := tx.tell(told); err != nil {
		return err
	}
	if err := tx.releaseWaiting(now, schedules); err != nil {
		return err
	}
	return l.advanceBatches(tx, batches)
}

func (c change) count(tx *transaction, now moment) {
	began := c.claimed
	if c.state == springtide.RunRunning {
		began = c.started
	}
	ended := c.state == springtide.RunClaimed || c.state == springtide.RunRunning
	if ended && c.kind == springtide.RunCommand {
		tx.count(c.queue, func(counts *counts) {
			counts.finished++
			counts.busy += max(now.calendar-began, 0)
		})
	}
	tx.countState(c.queue, c.to, 1)
	if c.to == springtide.RunAvailable {
		tx.countAvailable(c.queue, c.kind)
	}
}
