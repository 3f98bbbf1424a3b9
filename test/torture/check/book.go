package main

import (
	"context"
	"database/sql"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
)

// book is all that the tables say. Times are microseconds since 1970.
type book struct {
	// calendar is the highest time that the ledger's clock ever told.
	calendar     int64
	environments map[int64]limit
	queues       map[int64]limit
	schedules    []schedule
	runs         []job
	byNumber     map[int64]*job
	events       []event
	settings     []setting
	batches      []batch
	counts       []count
}

// limit is how many runs of a queue or an environment may be under way; 0: any.
type limit struct {
	name string
	most int
}

// scheduleName names a schedule of an environment.
type scheduleName struct {
	environment int64
	name        string
}

type schedule struct {
	scheduleName
	spec spec
	gone bool
}

// spec is what is looked at of a schedule.
type spec struct {
	Cron     string `json:"cron"`
	Timezone string `json:"timezone"`
	Missed   string `json:"missed"`
	Overlap  string `json:"overlap"`
	Jitter   int64  `json:"jitter"` // in nanoseconds
}

// job is a row of the runs.
type job struct {
	number, environment, queue                  int64
	state, key, schedule, batch                 string
	slot, runAt                                 int64
	attempts, attempt, failures, fence, settled int64
	verdict, onLost, payload, result            string
}

// event is a move of a run.
type event struct {
	seq, run                int64
	state                   string
	attempt, fence, settled int64
	verdict, result         string
}

// setting is a change of a schedule.
type setting struct {
	scheduleName
	tx                   int64
	spec                 spec
	gone                 bool
	next, last, calendar int64
}

type batch struct {
	environment             int64
	name                    string
	size, ended, dead, done int64
	callback                string
}

// count is how many ended runs of a queue the ledger says there are.
type count struct {
	queue                                       int64
	succeeded, dead, cancelled, skipped, missed int
}

// read reads the book.
func read(ctx context.Context, db *sql.DB) (b *book, err error) {
	b = &book{environments: map[int64]limit{}, queues: map[int64]limit{}, byNumber: map[int64]*job{}}
	steps := []func() error{
		func() error { return db.QueryRowContext(ctx, "SELECT calendar FROM clock").Scan(&b.calendar) },
		func() error { return limits(ctx, db, "SELECT id, name, concurrency FROM environments", b.environments) },
		func() error { return limits(ctx, db, "SELECT id, name, concurrency FROM queues", b.queues) },
		func() (err error) {
			b.schedules, err = rows(ctx, db, scanSchedule, "SELECT environment, name, spec, gone FROM schedules")
			return err
		},
		func() (err error) { b.runs, err = rows(ctx, db, scanJob, jobQuery); return err },
		func() (err error) {
			b.events, err = rows(ctx, db, func(r *sql.Rows) (e event, err error) {
				return e, r.Scan(&e.seq, &e.run, &e.state, &e.attempt, &e.fence, &e.settled, &e.verdict, &e.result)
			}, "SELECT seq, run, state, attempt, fence, settled, verdict, result FROM audit_runs ORDER BY seq")
			return err
		},
		func() (err error) {
			b.settings, err = rows(ctx, db, scanSetting, "SELECT environment, name, tx, spec, gone, next_slot, last_slot, calendar FROM audit_schedules ORDER BY seq")
			return err
		},
		func() (err error) {
			b.batches, err = rows(ctx, db, func(r *sql.Rows) (n batch, err error) {
				return n, r.Scan(&n.environment, &n.name, &n.size, &n.ended, &n.dead, &n.done, &n.callback)
			}, "SELECT environment, name, size, ended, dead, done_run, done FROM batches")
			return err
		},
		func() (err error) {
			b.counts, err = rows(ctx, db, func(r *sql.Rows) (c count, err error) {
				return c, r.Scan(&c.queue, &c.succeeded, &c.dead, &c.cancelled, &c.skipped, &c.missed)
			}, `SELECT queue, CAST(sum(succeeded) AS bigint), CAST(sum(dead) AS bigint), CAST(sum(cancelled) AS bigint),
				CAST(sum(skipped) AS bigint), CAST(sum(missed) AS bigint) FROM queue_counts GROUP BY queue`)
			return err
		},
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	for i := range b.runs {
		b.byNumber[b.runs[i].number] = &b.runs[i]
	}
	return b, nil
}

const jobQuery = `SELECT id, environment, queue, state, unique_key, schedule, batch, slot, run_at, attempts, attempt, failures,
	fence, settled, verdict, on_lost, payload, result FROM runs ORDER BY id`

func scanJob(r *sql.Rows) (j job, err error) {
	return j, r.Scan(&j.number, &j.environment, &j.queue, &j.state, &j.key, &j.schedule, &j.batch, &j.slot, &j.runAt, &j.attempts,
		&j.attempt, &j.failures, &j.fence, &j.settled, &j.verdict, &j.onLost, &j.payload, &j.result)
}

func scanSchedule(r *sql.Rows) (s schedule, err error) {
	var text string
	if err := r.Scan(&s.environment, &s.name, &text, &s.gone); err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s.spec)
}

func scanSetting(r *sql.Rows) (s setting, err error) {
	var text string
	if err := r.Scan(&s.environment, &s.name, &s.tx, &text, &s.gone, &s.next, &s.last, &s.calendar); err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(text), &s.spec)
}

func limits(ctx context.Context, db *sql.DB, query string, into map[int64]limit) error {
	_, err := rows(ctx, db, func(r *sql.Rows) (none struct{}, err error) {
		var number int64
		var l limit
		err = r.Scan(&number, &l.name, &l.most)
		into[number] = l
		return none, err
	}, query)
	return err
}

func rows[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), query string) (all []T, err error) {
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		one, err := scan(found)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, found.Err()
}

// identifiers are written in base 32, without the letters that look like digits.
var identifiers = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// identifier gives the ID of a run as everybody is told it.
func identifier(number int64) string {
	return identifiers.EncodeToString(binary.BigEndian.AppendUint64(nil, uint64(number)))
}

// over says that nothing more happens to a run in that state.
func over(state string) bool {
	switch state {
	case "succeeded", "dead", "cancelled", "skipped", "missed":
		return true
	}
	return false
}

// underWay says that somebody has a run in that state.
func underWay(state string) bool { return state == "claimed" || state == "running" }
