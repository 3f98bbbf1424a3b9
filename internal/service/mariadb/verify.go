package mariadb

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/springtide/springtide/internal/service"
)

// table is one of the app's.
type table struct {
	schema, name string
	// rows is an estimate.
	rows int64
}

func (t table) String() string { return t.schema + "." + t.name }
func (t table) quoted() string { return quoted(t.schema) + "." + quoted(t.name) }

// tables gives all that are not the server's own.
func tables(ctx context.Context, conn *sql.Conn) ([]table, error) {
	found, err := ask(ctx, conn, `SELECT table_schema AS s, table_name AS n, table_rows AS r FROM information_schema.tables
		WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND table_schema NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema')
		ORDER BY 1, 2`)
	var all []table
	for _, one := range found {
		rows, _ := strconv.ParseInt(one["r"], 10, 64)
		all = append(all, table{one["s"], one["n"], rows})
	}
	return all, err
}

// countRows counts those of each table, as "database.table"; of tables with more
// than a limit it takes the server's estimate. A negative limit is none.
func countRows(ctx context.Context, conn *sql.Conn, exactBelow int64) (map[string]int64, error) {
	all, err := tables(ctx, conn)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for _, one := range all {
		counts[one.String()] = one.rows
		if exactBelow >= 0 && one.rows >= exactBelow {
			continue
		}
		found, err := askOne(ctx, conn, "SELECT COUNT(*) AS n FROM "+one.quoted())
		if err != nil {
			return nil, err
		}
		counts[one.String()], _ = strconv.ParseInt(found["n"], 10, 64)
	}
	return counts, nil
}

// Rows counts those of the tables of a running server; of large ones it is the
// server's own estimate.
func (Driver) Rows(ctx context.Context, server service.Server) (counts map[string]int64, err error) {
	err = with(ctx, server, func(conn *sql.Conn) error {
		counts, err = countRows(ctx, conn, countedBelow)
		return err
	})
	return counts, err
}

// Verify has the server check every table and its indexes, and counts all rows.
func (Driver) Verify(ctx context.Context, server service.Server) (service.Verification, error) {
	var found service.Verification
	err := with(ctx, server, func(conn *sql.Conn) error {
		all, err := tables(ctx, conn)
		if err != nil {
			return err
		}
		for _, one := range all {
			said, err := ask(ctx, conn, "CHECK TABLE "+one.quoted())
			if err != nil {
				return err
			}
			found.Problems = append(found.Problems, problems(one, said)...)
		}
		found.Checked = fmt.Sprintf("every index and row of %d tables, by CHECK TABLE", len(all))
		if len(found.Problems) > 0 {
			return nil // to count in a damaged table may fail, and would tell nothing
		}
		found.Rows, err = countRows(ctx, conn, -1)
		return err
	})
	return found, err
}

// problems are what CHECK TABLE says if not all is well.
func problems(of table, said []row) (all []string) {
	for _, line := range said {
		kind, text := line["Msg_type"], line["Msg_text"]
		if kind == "error" || kind == "status" && text != "OK" && text != "Table is already up to date" {
			all = append(all, fmt.Sprintf("table %s: %s", of, text))
		}
	}
	return all
}
