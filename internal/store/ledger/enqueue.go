package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// insertChunk is how many runs one statement inserts at most.
const insertChunk = 1000

// Enqueue makes a run of each job.
func (l *Ledger) Enqueue(ctx context.Context, id springtide.EnvironmentID, asked []springtide.Job, batch *jobs.Batch) ([]jobs.Enqueued, error) {
	completed, queues := make([]springtide.Job, len(asked)), []springtide.QueueName{}
	for i, job := range asked {
		var err error
		if completed[i], err = complete(job); err != nil {
			return nil, which(err, i, len(asked))
		}
		if !slices.Contains(queues, completed[i].Queue) {
			queues = append(queues, completed[i].Queue)
		}
	}
	if batch != nil {
		whole, err := completeBatch(*batch)
		if err != nil {
			return nil, err
		}
		batch = &whole
		if batch.Done != nil && len(asked) == 0 {
			queues = append(queues, batch.Done.Queue) // it is enqueued at once
		}
	} else if len(asked) == 0 {
		return nil, nil
	}
	if batch == nil && len(completed) <= insertChunk && !slices.ContainsFunc(completed, hasKey) {
		enqueued, err := l.gather.enqueue(ctx, id, completed)
		if !errors.Is(err, errUnknownQueue) {
			return enqueued, err
		}
	}
	var enqueued []jobs.Enqueued
	err := l.write(ctx, func(tx *transaction) error {
		p, err := tx.ensure(id, queues...)
		if err != nil {
			return err
		}
		if batch != nil {
			enqueued, err = l.enqueueBatch(tx, p, completed, *batch)
			return err
		}
		runs := p.newRuns(l.identity.take(p.now, len(completed)), completed, "")
		if err := tx.insert(p, runs); err != nil {
			return err
		}
		enqueued = answer(runs)
		return nil
	})
	return enqueued, err
}

func hasKey(job springtide.Job) bool { return job.Key != "" }

// enqueuePlain enqueues what one statement can, since nothing of it can be there
// already; errUnknownQueue if the environment or a queue is to be made first.
func (l *Ledger) enqueuePlain(ctx context.Context, id springtide.EnvironmentID, completed []springtide.Job) (enqueued []jobs.Enqueued, err error) {
	err = l.writeOne(ctx, func(tx *transaction) error {
		p, err := tx.place(id)
		if err != nil {
			return err
		}
		for _, job := range completed {
			if _, known := p.queues[job.Queue]; !known {
				return errUnknownQueue
			}
		}
		runs := p.newRuns(l.identity.take(p.now, len(completed)), completed, "")
		query, args := tx.insertAlike(p, runs)
		if query == "" {
			query, args = tx.with(insertPlain, plainColumns, plainRows(runs), p.environment, p.now.calendar)
		}
		if _, err := tx.exec(query, args...); err != nil {
			return err // also if two runs were given one number: then they are given others
		}
		for i := range runs {
			tx.countInserted(&runs[i])
		}
		enqueued = answer(runs)
		return nil
	})
	return enqueued, err
}

// which says in an error which of several jobs it is about.
func which(err error, index, count int) error {
	if problem, ok := err.(*springtide.Error); ok && count > 1 { //nolint:errorlint // it is made by complete
		with := *problem
		with.Message = fmt.Sprintf("job %d of %d: %s", index+1, count, problem.Message)
		return &with
	}
	return err
}

func (p place) newRuns(first int64, completed []springtide.Job, batch string) []newRun {
	runs := make([]newRun, len(completed))
	for i, job := range completed {
		runs[i] = p.newRun(first+int64(i), i, job)
		runs[i].batch = batch
	}
	return runs
}

// answer tells what became of jobs.
func answer(runs []newRun) []jobs.Enqueued {
	enqueued := make([]jobs.Enqueued, len(runs))
	for i, run := range runs {
		enqueued[i] = jobs.Enqueued{Run: runID(run.number)}
		if run.takenByAnother != 0 {
			enqueued[i] = jobs.Enqueued{Run: runID(run.takenByAnother), Existing: true}
		}
	}
	return enqueued
}

// insert inserts runs. Of one whose key is taken it notes by which run, of one
// whose slot is recorded that it is already there.
func (tx *transaction) insert(p place, runs []newRun) error {
	for chunk := range slices.Chunk(runs, insertChunk) {
		if err := tx.insertChunk(p.environment, p.now.calendar, chunk); err != nil {
			return err
		}
	}
	return nil
}

const insertColumns = "id bigint, queue bigint, kind text, state text, priority bigint, unique_key text, scope text, taken text, " +
	"schedule text, slot bigint, batch text, attempts bigint, timeout bigint, on_lost text, run_at bigint, due bigint, place bigint, " +
	"available bigint, start_by bigint, finished bigint, forget bigint, reason text, command text, payload text"

// insertInto inserts rows into an environment, created at a time.
const insertInto = `INSERT INTO runs (environment, created, id, queue, kind, state, priority, unique_key, scope, taken,
	schedule, slot, batch, attempts, timeout, on_lost, run_at, due, place, available, start_by, finished, forget, reason, command, payload)
	SELECT CAST($1 AS bigint), CAST($2 AS bigint), v.* FROM %s WHERE true`

// insertPlain is insertInto for runs that are nothing but a job without a key:
// half as much to hand over.
const (
	plainColumns = "id bigint, queue bigint, kind text, state text, priority bigint, attempts bigint, timeout bigint, on_lost text, " +
		"run_at bigint, due bigint, place bigint, available bigint, command text, payload text"
	insertPlain = `INSERT INTO runs (environment, created, id, queue, kind, state, priority, attempts, timeout, on_lost,
		run_at, due, place, available, command, payload)
		SELECT CAST($1 AS bigint), CAST($2 AS bigint), v.* FROM %s WHERE true`
)

// insertAlike is insertPlain for runs that differ in nothing but their payload,
// as most that are enqueued together do; empty: these are others.
func (tx *transaction) insertAlike(p place, runs []newRun) (query string, args []any) {
	first, rows := runs[0], make([][]any, len(runs))
	for i, run := range runs {
		rows[i] = []any{int64(i), string(run.job.Payload)}
		run.number, run.place = run.number-int64(i), run.place-int64(i)
		if run.state != springtide.RunAvailable || !first.alike(run) {
			return "", nil
		}
	}
	job := first.job
	return tx.with(`INSERT INTO runs (environment, created, id, queue, kind, state, priority, attempts, timeout, on_lost,
			run_at, due, place, available, command, payload)
		SELECT CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint) + v.n, CAST($4 AS bigint), CAST($5 AS text), 'available', CAST($6 AS bigint),
			CAST($7 AS bigint), CAST($8 AS bigint), CAST($9 AS text), CAST($10 AS bigint), CAST($11 AS bigint), CAST($12 AS bigint) + v.n,
			CAST($13 AS bigint), CAST($14 AS text), v.payload FROM %s WHERE true`, "n bigint, payload text", rows,
		p.environment, p.now.calendar, first.number, first.queue, string(job.Kind), int64(job.Priority), int64(first.attempts), job.Timeout.Microseconds(),
		string(job.OnLost), first.runAt, first.due, first.place, first.since, job.Command)
}

// alike reports whether another run is the same but for its payload.
func (r *newRun) alike(other newRun) bool {
	a, b := &r.job, &other.job
	return r.number == other.number && r.place == other.place && r.queue == other.queue && r.attempts == other.attempts && r.runAt == other.runAt &&
		r.due == other.due && r.since == other.since && a.Kind == b.Kind && a.Priority == b.Priority && a.Timeout == b.Timeout &&
		a.OnLost == b.OnLost && a.Command == b.Command
}

func plainRows(runs []newRun) [][]any {
	rows := make([][]any, len(runs))
	for i := range runs {
		r, job := &runs[i], &runs[i].job
		rows[i] = []any{
			r.number, r.queue, string(job.Kind), string(r.state), int64(job.Priority), int64(r.attempts), job.Timeout.Microseconds(), string(job.OnLost),
			r.runAt, r.due, r.place, r.since, job.Command, string(job.Payload),
		}
	}
	return rows
}

func insertRows(runs []newRun) [][]any {
	rows := make([][]any, len(runs))
	for i, r := range runs {
		job, scope, taken := r.job, "", r.job.Key
		if job.Key != "" {
			scope = string(job.KeyScope)
		}
		if r.state.Over() {
			taken = ""
		}
		rows[i] = []any{
			r.number, r.queue, string(job.Kind), string(r.state), int64(job.Priority), job.Key, scope, taken,
			string(r.schedule), r.slot, r.batch, int64(r.attempts), job.Timeout.Microseconds(), string(job.OnLost), r.runAt, r.due, r.place,
			r.since, r.startBy, r.finished, r.forget, r.reason, job.Command, string(job.Payload),
		}
	}
	return rows
}

func (tx *transaction) countInserted(r *newRun) {
	tx.countState(r.queue, r.state, 1)
	if r.state == springtide.RunAvailable {
		tx.countAvailable(r.queue, r.job.Kind)
	}
}

func (tx *transaction) insertChunk(environment, now int64, runs []newRun) error {
	query, args := tx.with(insertInto+" ON CONFLICT DO NOTHING RETURNING id", insertColumns, insertRows(runs), environment, now)
	inserted, err := all(tx, value[int64], query, args...)
	if err != nil {
		return err
	}
	for i := range runs {
		r := &runs[i]
		switch {
		case len(inserted) == len(runs) || slices.Contains(inserted, r.number):
			tx.countInserted(r)
		case r.slot != 0:
			// Its slot is recorded already, or only its number is another's.
			if _, err := one(tx, errCollision, value[int64], `SELECT id FROM runs WHERE environment = $1 AND schedule = $2 AND slot = $3 AND slot <> 0`,
				environment, string(r.schedule), r.slot); err != nil {
				return err
			}
			r.alreadyThere = true
		case r.job.Key == "":
			return errCollision
		default:
			if r.takenByAnother, err = one(tx, errCollision, value[int64],
				`SELECT id FROM runs WHERE environment = $1 AND taken = $2 AND taken <> ''`, environment, r.job.Key); err != nil {
				return err
			}
		}
	}
	return nil
}
