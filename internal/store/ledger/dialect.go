package ledger

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
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
	// pick selects those to be claimed, as id and ordinal, from a place in which
	// the kind is to be filled in; fence is the new fence of each.
	pick, fence string
	// lockFence is the new fence of a lock.
	lockFence string
	// spendFences accounts for those that were used; empty: nothing to do.
	spendFences string
	// source gives rows as a table named v; arguments are what it is given for them.
	source    func(columns []column, first int) string
	arguments func(columns []column, rows [][]any) ([]any, error)
	// shards is over how many rows each count is spread, so that transactions at
	// the same time do not wait for each other.
	shards int
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

// with executes a statement that takes its rows from a table v: the place of
// the table is %s, and $1 and on are args.
func (tx *transaction) with(statement, list string, rows [][]any, args ...any) (query string, all []any, err error) {
	named := columns(list)
	given, err := tx.dialect.arguments(named, rows)
	if err != nil {
		return "", nil, err
	}
	source := tx.dialect.source(named, len(args)+1)
	return strings.Replace(statement, "%s", source, 1), append(args, given...), nil
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
			SELECT id, place, available FROM runs WHERE queue = $1 AND state = 'available' AND kind %s 'command'
			ORDER BY place, available, id LIMIT $2)`,
		fence:       `(SELECT last FROM fences) + picked.ordinal`,
		lockFence:   `(SELECT last FROM fences) + 1`,
		spendFences: `UPDATE fences SET last = last + $1`,
		shards:      1,
		source: func(columns []column, first int) string {
			fields := make([]string, len(columns))
			for i, c := range columns {
				fields[i] = fmt.Sprintf("value->>%d AS %s", i, c.name)
			}
			return fmt.Sprintf("(SELECT %s FROM json_each($%d)) AS v", strings.Join(fields, ", "), first)
		},
		arguments: func(_ []column, rows [][]any) ([]any, error) {
			text, err := json.Marshal(rows)
			return []any{string(text)}, err
		},
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
		pick: `SELECT id FROM runs WHERE queue = $1 AND state = 'available' AND kind %s 'command'
			ORDER BY place, available LIMIT $2 FOR UPDATE SKIP LOCKED`,
		fence:     `nextval('fences')`,
		lockFence: `nextval('fences')`,
		shards:    16,
		source: func(columns []column, first int) string {
			arrays, names := make([]string, len(columns)), make([]string, len(columns))
			for i, c := range columns {
				arrays[i], names[i] = fmt.Sprintf("$%d::%s[]", first+i, c.kind), c.name
			}
			return fmt.Sprintf("unnest(%s) AS v(%s)", strings.Join(arrays, ", "), strings.Join(names, ", "))
		},
		arguments: arrays,
	}
}

// arrays turns rows into one array for each column.
func arrays(columns []column, rows [][]any) ([]any, error) {
	made := make([]any, len(columns))
	for i, c := range columns {
		switch c.kind {
		case "bigint":
			made[i] = array[int64](rows, i)
		case "text":
			made[i] = array[string](rows, i)
		case "boolean":
			made[i] = array[bool](rows, i)
		case "double precision":
			made[i] = array[float64](rows, i)
		}
	}
	return made, nil
}

func array[T any](rows [][]any, column int) []T {
	made := make([]T, len(rows))
	for i, row := range rows {
		made[i] = row[column].(T)
	}
	return made
}
