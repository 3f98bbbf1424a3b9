package ledger

import (
	"slices"

	"github.com/springtide/springtide"
)

// replacement is why a run was cancelled, or asked to end.
const replacement = "a later slot has replaced it"

// earlierRuns are those of a schedule that are not over. What they are is known
// where a slot may replace them.
type earlierRuns struct {
	runs    []attempt
	replace bool
}

// replaced says that a slot replaces them, and tells whether it has to wait all
// the same: for those that run, and are asked to end.
func (e *earlierRuns) replaced() (wait bool) {
	if e == nil {
		return false
	}
	e.replace = true
	return slices.ContainsFunc(e.runs, func(a attempt) bool { return a.state == springtide.RunRunning })
}

// earlierRuns looks for the runs of schedules that are not over. Those that may
// be replaced it locks, all at once and in order.
func (tx *transaction) earlierRuns(now moment, schedules []schedule) (map[scheduleKey]*earlierRuns, error) {
	var rows, replacing [][]any
	for _, s := range schedules {
		switch {
		case !s.due(now) || s.spec.Overlap == springtide.OverlapAllow:
		case s.spec.Overlap == springtide.OverlapReplace:
			replacing = append(replacing, []any{s.environment, s.name})
		default:
			rows = append(rows, []any{s.environment, s.name})
		}
	}
	found := map[scheduleKey]*earlierRuns{}
	if len(rows) > 0 {
		query, args := tx.with("SELECT v.environment, v.name FROM %s WHERE EXISTS (SELECT 1 FROM runs WHERE runs.environment = v.environment AND runs.schedule = v.name AND "+
			open+")", "environment bigint, name text", rows)
		if _, err := all(tx, func(r row) (key scheduleKey, err error) {
			err = r.Scan(&key.environment, &key.name)
			found[key] = &earlierRuns{}
			return key, err
		}, query, args...); err != nil {
			return nil, err
		}
	}
	if len(replacing) == 0 {
		return found, nil
	}
	query, args := tx.with("SELECT "+attemptFields+" FROM %s JOIN runs ON runs.environment = v.environment AND runs.schedule = v.name JOIN queues q ON q.id = runs.queue WHERE "+
		open+" ORDER BY runs.id"+tx.dialect.locks("runs"), "environment bigint, name text", replacing)
	_, err := all(tx, func(r row) (a attempt, err error) {
		if a, err = scanAttempt(r); err != nil {
			return a, err
		}
		key := scheduleKey{a.environment, a.schedule}
		if found[key] == nil {
			found[key] = &earlierRuns{}
		}
		found[key].runs = append(found[key].runs, a)
		return a, nil
	}, query, args...)
	return found, err
}

// replacePlanned cancels runs that are yet to be inserted.
func replacePlanned(now moment, planned []newRun) {
	for i := range planned {
		if run := &planned[i]; !run.state.Over() {
			run.state, run.reason, run.finished = springtide.RunCancelled, replacement, now.calendar
			run.forget = forgetAt(now, run.state, run.retention)
		}
	}
}

// replace ends those earlier runs that slots replace. Those that run are asked to end.
func (l *Ledger) replace(tx *transaction, now moment, earlier map[scheduleKey]*earlierRuns) error {
	var changes []change
	var asked [][]any
	for _, e := range earlier {
		for _, a := range e.runs {
			switch {
			case !e.replace:
			case a.state != springtide.RunRunning:
				c := change{attempt: a, failures: a.failures}.end(now, springtide.RunCancelled)
				c.outcome.Reason = replacement
				changes = append(changes, c)
			case !a.cancelling:
				asked = append(asked, []any{a.number})
			}
		}
	}
	if _, err := l.apply(tx, now, changes); err != nil || len(asked) == 0 {
		return err
	}
	tx.awake = true
	query, args := tx.with("UPDATE runs SET cancelling = TRUE, reason = '"+replacement+"' FROM %s WHERE runs.id = v.id AND runs.state = 'running'", "id bigint", asked)
	_, err := tx.exec(query, args...)
	return err
}
