package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide/internal/service"
)

// Finish finishes the segment of the log that is being written, so that it can be
// shipped. A transaction is its last entry, by which a recovery knows that it has
// reached every moment before.
func (d *Driver) Finish(ctx context.Context, s service.Server) error {
	return within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		for _, statement := range []string{"select pg_current_xact_id()", "select pg_switch_wal()"} {
			if _, err := conn.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// Rows counts the rows of each table, or estimates those of large ones.
func (d *Driver) Rows(ctx context.Context, s service.Server) (counts map[string]int64, err error) {
	err = within(ctx, s, s.Logins.Database, func(conn *pgx.Conn) (err error) {
		counts, err = countRows(ctx, conn, countedSize)
		return err
	})
	return counts, err
}
