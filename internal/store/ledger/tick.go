package ledger

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// bite is how many runs one transaction of a tick changes at most.
	bite = 1000
	// tickRounds is how often a tick looks again for what is due.
	tickRounds = 20
	// soon is when to tick again if something is due that this tick left: there
	// was too much of it, or another server has it.
	soon = 20 * time.Millisecond
)

// Tick makes what time brings about. Nothing that is due costs two statements,
// and no write at all while nothing ever will be.
func (l *Ledger) Tick(ctx context.Context) (ticked jobs.Ticked, err error) {
	if idle, err := l.due(ctx); err != nil || idle.nothing() {
		return ticked, err
	}
	now, err := l.advance(ctx)
	if err == nil {
		err = l.saveUnsaved(ctx)
	}
	if err != nil {
		return ticked, err
	}
	for range tickRounds {
		due, err := l.due(ctx)
		if err != nil {
			return ticked, err
		}
		ticked.Next = due.next(now)
		if ticked.Next > soon || ticked.Next == 0 {
			return ticked, nil
		}
		ticked.Next = max(ticked.Next, time.Millisecond)
		did, err := l.round(ctx, now, due, &ticked)
		if err != nil {
			return ticked, err
		}
		if !did {
			ticked.Next = max(ticked.Next, soon)
			return ticked, nil
		}
	}
	return ticked, nil
}

// due is when what is next: in the calendar, in uptime, or at once; never if
// there is none of it.
type due struct {
	slot, runAt, deadline          int64
	delay, lease, run, batch, lock int64
	environment                    int64
	waiting, happening             bool
}

// next is in how long the first of it is due; 0: nothing is.
func (d due) next(now moment) time.Duration {
	wait := min(d.calendar()-now.calendar, d.uptime()-now.uptime)
	if d.waiting || d.happening {
		wait = 0
	}
	if wait > never/2 {
		return 0
	}
	return max(elapsed(wait), 1)
}

// nothing reports whether time brings nothing about.
func (d due) nothing() bool {
	return !d.waiting && !d.happening && min(d.calendar(), d.uptime()) == never
}

func (d due) calendar() int64 { return min(d.slot, d.runAt, d.deadline) }
func (d due) uptime() int64   { return min(d.delay, d.lease, d.run, d.batch, d.lock, d.environment) }

func (l *Ledger) due(ctx context.Context) (due, error) {
	found, err := one(l.view(ctx), nil, func(r row) (d due, err error) {
		err = r.Scan(&d.slot, &d.runAt, &d.deadline, &d.delay, &d.lease, &d.run, &d.batch, &d.lock, &d.environment, &d.waiting, &d.happening)
		return d, err
	}, `SELECT coalesce((SELECT min(next_slot) FROM schedules WHERE next_slot <> 0), $1),
		coalesce((SELECT min(run_at) FROM runs WHERE state = 'scheduled'), $1),
		coalesce((SELECT min(start_by) FROM runs WHERE `+awaited+`), $1),
		coalesce((SELECT min(due) FROM runs WHERE state = 'scheduled'), $1),
		coalesce((SELECT min(lease) FROM runs WHERE `+underWay+`), $1),
		coalesce((SELECT min(forget) FROM runs WHERE forget <> 0), $1),
		coalesce((SELECT min(forget) FROM batches WHERE forget <> 0), $1),
		coalesce((SELECT min(expires) FROM locks), $1),
		coalesce((SELECT min(forgotten) FROM environments WHERE forgotten <> 0), $1),
		EXISTS (SELECT 1 `+released("schedules AS v")+`),
		EXISTS (SELECT 1 FROM happenings)`, int64(never))
	return found, l.problem(ctx, err)
}

// round does what is due, a bite of each, and tells whether it did anything.
func (l *Ledger) round(ctx context.Context, now moment, d due, ticked *jobs.Ticked) (did bool, err error) {
	steps := []struct {
		due  bool
		step func(ctx context.Context, now moment) (did, available int, err error)
	}{
		{d.slot <= now.calendar, l.recordDue},
		{d.runAt <= now.calendar || d.delay <= now.uptime, l.endDelays},
		{d.lease <= now.uptime, l.takeBack},
		{d.waiting, l.endWaits},
		{d.deadline < now.calendar, l.passDeadlines},
		{d.run <= now.uptime, l.forgetRuns},
		{d.batch <= now.uptime || d.lock <= now.uptime, l.forgetOthers},
		{d.environment <= now.uptime, l.forgetEnvironments},
	}
	for _, s := range steps {
		if !s.due {
			continue
		}
		done, available, err := s.step(ctx, now)
		if err != nil {
			return did, err
		}
		did = did || done > 0
		ticked.Available += available
	}
	// What these steps have brought about is told at once.
	told, err := l.happened(ctx)
	ticked.Happened = append(ticked.Happened, told...)
	return did || len(told) > 0, err
}

// endDelays makes runs available whose time has come by either clock.
func (l *Ledger) endDelays(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		ended, _, err := tx.makeAvailable(`WITH picked AS MATERIALIZED (
				SELECT id FROM (SELECT id FROM runs WHERE state = 'scheduled' AND run_at <= $1 ORDER BY run_at LIMIT $3`+tx.dialect.skipLocked+`) AS a
				UNION SELECT id FROM (SELECT id FROM runs WHERE state = 'scheduled' AND due <= $2 ORDER BY due LIMIT $3`+tx.dialect.skipLocked+`) AS b)
			UPDATE runs SET state = 'available', available = $1, place = $1 + priority * 60000000, due = `+neverText+`
			FROM picked WHERE runs.id = picked.id AND runs.state = 'scheduled' RETURNING runs.queue, runs.kind, runs.state`,
			now.calendar, now.uptime, bite)
		did, available = ended, ended
		return err
	})
	return did, available, err
}

// neverText is never, in a statement.
const neverText = "9223372036854775807"

// makeAvailable executes a statement that gives queue, kind and state of those
// whose waiting it ended, and tells how many are available and how many are not yet.
func (tx *transaction) makeAvailable(statement string, args ...any) (available, others int, err error) {
	made, err := all(tx, func(r row) (n newRun, err error) {
		err = r.Scan(&n.queue, &n.job.Kind, &n.state)
		return n, err
	}, statement, args...)
	for _, run := range made {
		if run.state != springtide.RunAvailable {
			others++
			continue
		}
		available++
		tx.countAvailable(run.queue, run.job.Kind)
	}
	return available, others, err
}

// takeBack ends attempts whose lease has run out.
func (l *Ledger) takeBack(ctx context.Context, now moment) (did, available int, err error) {
	err = l.write(ctx, func(tx *transaction) error {
		expired, err := all(tx, scanAttempt, "SELECT "+attemptColumns+"WHERE "+underWay+" AND runs.lease <= $1 LIMIT $2"+tx.dialect.skips("runs"), now.uptime, bite)
		if err != nil {
			return err
		}
		changes := make([]change, len(expired))
		for i, a := range expired {
			changes[i] = settle(now, a, lostOutcome(a), rand.Float64())
		}
		made, err := l.apply(tx, now, changes)
		did, available = 0, 0
		for i := range made {
			if made[i] {
				did++
				if changes[i].to == springtide.RunAvailable {
					available++
				}
			}
		}
		return err
	})
	return did, available, err
}
