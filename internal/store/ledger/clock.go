package ledger

import (
	"context"
	"math"
	"time"
)

const (
	// longestTick is by how much the uptime grows at most from one tick to the
	// next, in microseconds. After a longer one, somebody was away.
	longestTick = 2_000_000
	// never is a time that does not come.
	never = math.MaxInt64
)

// moment is a time of both clocks, in microseconds. See [jobs.Clock].
type moment struct {
	calendar, uptime int64
	// away is the calendar's time when the last outage was over: what was due
	// before, nobody was there for.
	away int64
}

// told is the row of the clock and what the database's clock says beside it.
type told struct{ calendar, lastSeen, uptime, now int64 }

// clockColumns are what told is scanned from, of the table clock named c.
func (d *dialect) clockColumns() string {
	return "c.calendar, c.last_seen, c.uptime, " + d.now
}

func (t *told) columns() []any { return []any{&t.calendar, &t.lastSeen, &t.uptime, &t.now} }

// moment is what the next tick would make of it.
func (t *told) moment(d *dialect) moment {
	if d.tell != nil {
		t.now = d.tell().UnixMicro()
	}
	return moment{
		calendar: max(t.calendar, t.now),
		uptime:   t.uptime + min(max(t.now-t.lastSeen, 0), longestTick),
	}
}

// momentOf is the moment, in a row of calendar and uptime, for a statement of a
// quick dialect: what told.moment makes of the clock.
func (d *dialect) momentOf() string {
	return `SELECT greatest(c.calendar, n.now) AS calendar, c.uptime + least(greatest(n.now - c.last_seen, 0), 2000000) AS uptime
		FROM clock c CROSS JOIN (SELECT ` + d.now + ` AS now) AS n`
}

// now looks at the clocks.
func (tx *transaction) now() (moment, error) {
	return one(tx, errNoClock, func(r row) (moment, error) {
		var t told
		err := r.Scan(t.columns()...)
		return t.moment(tx.dialect), err
	}, "SELECT "+tx.dialect.clockColumns()+" FROM clock c")
}

// advance moves the clocks on. It is one statement, so that everybody who waits
// for the clock's row waits for no more than that.
func (l *Ledger) advance(ctx context.Context) (now moment, err error) {
	err = l.writeOne(ctx, func(tx *transaction) (err error) {
		var argument []any
		if tx.dialect.tell != nil {
			argument = append(argument, tx.dialect.tell().UnixMicro())
		}
		now, err = one(tx, errNoClock, func(r row) (m moment, err error) {
			err = r.Scan(&m.calendar, &m.uptime, &m.away)
			return m, err
		}, tx.dialect.advance, argument...)
		return err
	})
	return now, err
}

// in gives the later time, or never if it is beyond all times.
func in(now int64, wait time.Duration) int64 {
	if wait.Microseconds() > never-now {
		return never
	}
	return now + wait.Microseconds()
}

// micros is a time as it is kept: 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// at reads what micros gave.
func at(kept int64) time.Time {
	if kept == 0 {
		return time.Time{}
	}
	return time.UnixMicro(kept).UTC()
}

// elapsed is a duration that is kept.
func elapsed(kept int64) time.Duration { return time.Duration(kept) * time.Microsecond }
