package ledger

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// dialect is what SQLite and PostgreSQL say differently.
type dialect struct {
	// now is the database's clock in an expression; "0" if tell is it.
	now  string
	tell func() time.Time
	// advance moves the clock on by longestTick at most, and gives it.
	advance string
	// lock makes a SELECT lock its rows; skipLocked leaves out those locked by others.
	lock, skipLocked string
	// lockOf and skipLockedOf are the same for a SELECT from several tables, of
	// which only the one is locked that is to be filled in.
	lockOf, skipLockedOf string
	// pick selects those to be claimed, as id and ordinal; the queue and how the
	// kind is compared are to be filled in. fence is the new fence of each.
	pick, fence string
	// lockFence is the new fence of a lock.
	lockFence string
	// spendFences accounts for those that were used; empty: nothing to do.
	spendFences string
	// source gives rows as a table named v, whose first parameter is numbered as
	// said, and what it is given for them.
	source func(columns []column, first int, rows [][]any) (source string, arguments []any)
	// begin is said before a migration; empty: nothing is.
	begin string
	// among says that a number is one of those in a source of rows, %s. The rows are
	// then found by the index of that number, in order.
	among string
	// quick says that a statement may look at the clock by itself: see momentOf.
	quick bool
	// collided reports whether something was there already that must be unique.
	collided func(error) bool
	// shards is over how many rows each count is spread, so that transactions at
	// the same time do not wait for each other.
	shards int
}

// locks fills in the table that lockOf is about.
func (d *dialect) locks(table string) string { return strings.Replace(d.lockOf, "%s", table, 1) }

// skips fills in the table that skipLockedOf is about.
func (d *dialect) skips(table string) string {
	return strings.Replace(d.skipLockedOf, "%s", table, 1)
}

// column is one of the rows that are handed to a statement.
type column struct{ name, kind string }

// columns reads "id bigint, state text".
func columns(list string) []column {
	var read []column
	for field := range strings.SplitSeq(list, ",") {
		name, kind, _ := strings.Cut(strings.TrimSpace(field), " ")
		read = append(read, column{name, kind})
	}
	return read
}

// with completes a statement that takes its rows from a table v: the place of
// the table is %s, and $1 and on, which come before it, are args.
func (tx *transaction) with(statement, list string, rows [][]any, args ...any) (query string, all []any) {
	source, given := tx.dialect.source(columns(list), len(args)+1, rows)
	return strings.Replace(statement, "%s", source, 1), append(args, given...)
}

// withLocked is with for a statement that changes those runs whose id is the
// first column. It locks them first, in the order in which everybody does, so
// that nobody waits in a circle: PostgreSQL would notice that after a while by
// its wall clock, and so, if that goes back, not for as long.
func (tx *transaction) withLocked(statement, list string, rows [][]any, args ...any) (query string, all []any) {
	if tx.dialect.lock != "" && len(rows) > 1 {
		statement = strings.Replace(statement, "%s", `(WITH given AS MATERIALIZED (SELECT * FROM %s),
				locked AS MATERIALIZED (SELECT runs.id FROM runs WHERE runs.id = ANY (ARRAY(SELECT given.id FROM given)) ORDER BY runs.id FOR UPDATE)
			SELECT * FROM given WHERE (SELECT count(*) FROM locked) >= 0) AS v`, 1)
	}
	return tx.with(statement, list, rows, args...)
}

func sqliteDialect(now func() time.Time) *dialect {
	return &dialect{
		now:  "0",
		tell: now,
		advance: `UPDATE clock SET calendar = max(calendar, $1), last_seen = $1,
			uptime = uptime + min(max($1 - last_seen, 0), 2000000),
			away = CASE WHEN $1 - last_seen > 2000000 THEN max(calendar, $1) ELSE away END
			RETURNING calendar, uptime, away`,
		pick: `SELECT id, row_number() OVER (ORDER BY place, available, id) AS ordinal FROM (
			SELECT id, place, available FROM runs WHERE queue = %s AND state = 'available' AND kind %s 'command'
			ORDER BY place, available, id LIMIT $2)`,
		fence:       `(SELECT last FROM fences) + picked.ordinal`,
		lockFence:   `(SELECT last FROM fences) + 1`,
		spendFences: `UPDATE fences SET last = last + $1`,
		among:       "IN (SELECT v.id FROM %s)",
		shards:      1,
		collided: func(err error) bool {
			cause, ok := errors.AsType[*sqlite.Error](err)
			return ok && cause.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
		},
		source: valueRows,
	}
}

func postgresDialect() *dialect {
	return &dialect{
		now: `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`,
		// The row is locked before the clock is looked at: who waited for the lock
		// must not bring an older time than the one before him.
		advance: `WITH locked AS MATERIALIZED (SELECT * FROM clock FOR UPDATE), told AS MATERIALIZED (
				SELECT locked.*, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now FROM locked)
			UPDATE clock SET calendar = greatest(told.calendar, told.now), last_seen = told.now,
				uptime = told.uptime + least(greatest(told.now - told.last_seen, 0), 2000000),
				away = CASE WHEN told.now - told.last_seen > 2000000 THEN greatest(told.calendar, told.now) ELSE told.away END
			FROM told RETURNING clock.calendar, clock.uptime, clock.away`,
		lock:       " FOR UPDATE",
		skipLocked: " FOR UPDATE SKIP LOCKED",
		lockOf:     " FOR UPDATE OF %s", skipLockedOf: " FOR UPDATE OF %s SKIP LOCKED",
		pick: `SELECT id FROM runs WHERE queue = %s AND state = 'available' AND kind %s 'command'
			ORDER BY place, available LIMIT $2 FOR UPDATE SKIP LOCKED`,
		begin:     "SET LOCAL application_name = 'springtide migration'; SET LOCAL lock_timeout = 0", // it may take long
		among:     "= ANY (ARRAY(SELECT v.id FROM %s))",
		quick:     true,
		fence:     `nextval('fences')`,
		lockFence: `nextval('fences')`,
		shards:    16,
		collided: func(err error) bool {
			cause, ok := errors.AsType[*pgconn.PgError](err)
			return ok && cause.Code == "23505"
		},
		source: arrays,
	}
}

// valueRows writes rows as VALUES. Their number is rounded up, with rows of
// nothing but NULL, so that there are few statements, which stay prepared.
func valueRows(columns []column, _ int, rows [][]any) (string, []any) {
	size := 1
	for size < len(rows) {
		size *= 2
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = fmt.Sprintf("column%d AS %s", i+1, c.name)
	}
	given := make([]any, size*len(columns))
	for i, row := range rows {
		copy(given[i*len(columns):], row)
	}
	// A parameter without a number is the next one.
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", len(columns)), ",") + ")"
	return fmt.Sprintf("(SELECT %s FROM (VALUES %s) WHERE column1 IS NOT NULL) AS v", strings.Join(names, ", "),
		strings.TrimSuffix(strings.Repeat(one+",", size), ",")), given
}

// arrays writes rows as one array for each column.
func arrays(columns []column, first int, rows [][]any) (string, []any) {
	parameters, names, given := make([]string, len(columns)), make([]string, len(columns)), make([]any, len(columns))
	for i, c := range columns {
		parameters[i], names[i] = fmt.Sprintf("$%d::%s[]", first+i, c.kind), c.name
		switch c.kind {
		case "bigint":
			given[i] = array[int64](rows, i)
		case "text":
			given[i] = array[string](rows, i)
		case "boolean":
			given[i] = array[bool](rows, i)
		case "double precision":
			given[i] = array[float64](rows, i)
		}
	}
	return fmt.Sprintf("unnest(%s) AS v(%s)", strings.Join(parameters, ", "), strings.Join(names, ", ")), given
}

func array[T any](rows [][]any, column int) []T {
	made := make([]T, len(rows))
	for i, row := range rows {
		made[i] = row[column].(T)
	}
	return made
}
