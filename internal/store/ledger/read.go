package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// Run gives a run.
func (l *Ledger) Run(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID) (springtide.Run, error) {
	found, err := l.view(ctx).run(id, run)
	return found, l.problem(ctx, err)
}

// How many runs a listing has, if it does not say, and at most.
const (
	listed       = 100
	listedAtMost = 1000
)

// Runs gives those that match, the newest first.
func (l *Ledger) Runs(ctx context.Context, query jobs.Query) ([]springtide.Run, error) {
	var where []string
	var args []any
	and := func(condition string, values ...any) {
		for _, value := range values {
			args = append(args, value)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	and("TRUE")
	if query.Environment != (springtide.EnvironmentID{}) {
		// As a number, so that an index gives them in order.
		and("runs.environment = (SELECT id FROM environments WHERE app = ? AND name = ? AND forgotten = 0)",
			string(query.Environment.App), string(query.Environment.Name))
	}
	if query.Queue != "" {
		and("q.name = ?", string(query.Queue))
	}
	if query.Schedule != "" {
		and("runs.schedule = ? AND runs.schedule <> ''", string(query.Schedule))
	}
	if query.Batch != "" {
		and("runs.batch = ? AND runs.batch <> ''", query.Batch)
	}
	if query.Before != "" {
		and("runs.id < ?", runNumber(query.Before))
	}
	if len(query.States) > 0 {
		states := make([]any, len(query.States))
		for i, state := range query.States {
			states[i] = string(state)
		}
		and("runs.state IN (?"+strings.Repeat(", ?", len(states)-1)+")", states...)
	}
	if len(query.IDs) > 0 {
		numbers := make([][]any, len(query.IDs))
		for i, id := range query.IDs {
			numbers[i] = []any{runNumber(id)}
		}
		// It comes last: SQLite's parameters have no numbers here.
		source, given := l.dialect.source(columns("id bigint"), len(args)+1, numbers)
		where, args = append(where, "runs.id "+strings.Replace(l.dialect.among, "%s", source, 1)), append(args, given...)
	}
	most := min(cmp.Or(query.Most, listed), listedAtMost)
	runs, err := all(l.view(ctx), scanListed, "SELECT "+runColumns+", "+runNames+runFrom+"WHERE "+strings.Join(where, " AND ")+
		fmt.Sprintf(" ORDER BY runs.id DESC LIMIT %d", most), args...)
	return runs, l.problem(ctx, err)
}

// Queues tells how each queue stands.
func (l *Ledger) Queues(ctx context.Context, id springtide.EnvironmentID) ([]jobs.QueueStatus, error) {
	tx := l.view(ctx)
	whose, args := "", []any(nil)
	if id != (springtide.EnvironmentID{}) {
		whose, args = "AND e.app = $1 AND e.name = $2", []any{string(id.App), string(id.Name)}
	}
	queues := map[int64]*jobs.QueueStatus{}
	order, err := all(tx, func(r row) (int64, error) {
		var number, retention, busy, waited int64
		var c counts
		q := jobs.QueueStatus{States: map[springtide.RunState]int{}}
		err := r.Scan(&number, &q.Environment.App, &q.Environment.Name, &q.Name, &q.Settings.Concurrency, &q.Settings.Attempts, &retention, &q.Paused,
			&q.Arrived, &q.Finished, &busy, &waited, &c.succeeded, &c.dead, &c.cancelled, &c.skipped, &c.missed)
		more := l.unsaved.of(number)
		q.Arrived, q.Finished = q.Arrived+more.arrived, q.Finished+more.finished
		q.Settings.Retention, q.Busy, q.Waited = elapsed(retention), elapsed(busy+more.busy), elapsed(waited+more.waited)
		for _, state := range []springtide.RunState{springtide.RunSucceeded, springtide.RunDead, springtide.RunCancelled, springtide.RunSkipped, springtide.RunMissed} {
			if n := int(*c.of(state)); n > 0 {
				q.States[state] = n
			}
		}
		queues[number] = &q
		return number, err
	}, `SELECT q.id, e.app, e.name, q.name, q.concurrency, q.attempts, q.retention, q.paused, `+countSums+`
		FROM environments e JOIN queues q ON q.environment = e.id LEFT JOIN queue_counts c ON c.queue = q.id
		WHERE e.forgotten = 0 `+whose+` GROUP BY q.id, e.app, e.name, q.name, q.concurrency, q.attempts, q.retention, q.paused`, args...)
	if err == nil {
		err = l.countOpen(tx, queues)
	}
	if err != nil {
		return nil, l.problem(ctx, err)
	}
	statuses := make([]jobs.QueueStatus, len(order))
	for i, number := range order {
		statuses[i] = *queues[number]
	}
	slices.SortFunc(statuses, func(a, b jobs.QueueStatus) int {
		return cmp.Or(cmp.Compare(a.Environment.String(), b.Environment.String()), cmp.Compare(a.Name, b.Name))
	})
	return statuses, nil
}

// countSums are the counts of a queue over all shards. PostgreSQL's sums of
// bigint are numeric.
const countSums = `CAST(coalesce(sum(c.arrived), 0) AS bigint), CAST(coalesce(sum(c.finished), 0) AS bigint),
	CAST(coalesce(sum(c.busy), 0) AS bigint), CAST(coalesce(sum(c.waited), 0) AS bigint),
	CAST(coalesce(sum(c.succeeded), 0) AS bigint), CAST(coalesce(sum(c.dead), 0) AS bigint),
	CAST(coalesce(sum(c.cancelled), 0) AS bigint), CAST(coalesce(sum(c.skipped), 0) AS bigint), CAST(coalesce(sum(c.missed), 0) AS bigint)`

// countOpen counts the runs that are not over. There are indexes of them that
// hold no others, so that it costs no more than they are.
func (l *Ledger) countOpen(tx *transaction, queues map[int64]*jobs.QueueStatus) error {
	now, err := tx.now()
	if err != nil {
		return err
	}
	const count = `SELECT queue, state, %s AS command, count(*), min(available) FROM runs WHERE %s GROUP BY 1, 2, 3`
	var branches []string
	for _, which := range []struct{ isCommand, condition string }{
		{"TRUE", "state = 'available' AND kind = 'command'"},
		{"FALSE", "state = 'available' AND kind <> 'command'"},
		{"(kind = 'command')", underWay},
		{"FALSE", "state = 'scheduled'"},
		{"FALSE", "state = 'waiting'"},
	} {
		branches = append(branches, fmt.Sprintf(count, which.isCommand, which.condition))
	}
	_, err = all(tx, func(r row) (struct{}, error) {
		var number, available int64
		var state springtide.RunState
		var isCommand bool
		var n int
		if err := r.Scan(&number, &state, &isCommand, &n, &available); err != nil {
			return struct{}{}, err
		}
		q := queues[number]
		if q == nil {
			return struct{}{}, nil
		}
		q.States[state] += n
		switch {
		case !isCommand:
		case state == springtide.RunAvailable:
			q.Commands, q.Oldest = n, max(elapsed(now.calendar-available), 0)
		default:
			q.UnderWay += n
		}
		return struct{}{}, nil
	}, strings.Join(branches, " UNION ALL "))
	return err
}

// Schedules tells how each schedule stands, in order of name.
func (l *Ledger) Schedules(ctx context.Context, id springtide.EnvironmentID) ([]jobs.ScheduleStatus, error) {
	whose, args := "", []any(nil)
	if id != (springtide.EnvironmentID{}) {
		whose, args = "AND e.app = $1 AND e.name = $2", []any{string(id.App), string(id.Name)}
	}
	found, err := all(l.view(ctx), func(r row) (s jobs.ScheduleStatus, err error) {
		var spec string
		var next, last, run int64
		err = r.Scan(&s.Environment.App, &s.Environment.Name, &s.Name, &spec, &s.Paused, &next, &last, &run, &s.LastState)
		if err == nil {
			err = json.Unmarshal([]byte(spec), &s.Schedule)
		}
		s.Next, s.Last = at(next), at(last)
		if run != 0 {
			s.LastRun = runID(run)
		}
		return s, err
	}, `SELECT e.app, e.name, s.name, s.spec, s.paused, s.next_slot, s.last_slot, coalesce(runs.id, 0), coalesce(runs.state, '')
		FROM schedules s JOIN environments e ON e.id = s.environment AND e.forgotten = 0
		LEFT JOIN runs ON runs.environment = s.environment AND runs.schedule = s.name AND runs.slot = s.last_slot AND runs.slot <> 0
		WHERE NOT s.gone `+whose, args...)
	slices.SortFunc(found, func(a, b jobs.ScheduleStatus) int {
		return cmp.Or(cmp.Compare(a.Environment.String(), b.Environment.String()), cmp.Compare(a.Name, b.Name))
	})
	return found, l.problem(ctx, err)
}
