package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/springtide/springtide/internal/service"
)

// Verify reads every page of the app's database, which compares checksums, has
// pg_amcheck look into tables and indexes, and counts all rows.
func (d *Driver) Verify(ctx context.Context, s service.Server) (found service.Verification, err error) {
	err = within(ctx, s, s.Logins.Database, func(conn *pgx.Conn) error {
		if found.Rows, err = countRows(ctx, conn, -1); err != nil {
			return err
		}
		found.Checked = fmt.Sprintf("every row of %d tables", len(found.Rows))
		path := d.program(s.Version, "pg_amcheck")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil // There is none before version 14.
		}
		if err := do(ctx, conn, "create extension if not exists amcheck schema pg_catalog"); err != nil {
			return err
		}
		var report tail
		_, err := run(ctx, s, program{Output: &report, Process: service.Process{
			Path: path, Args: append(toward(s), "--no-password", "--heapallindexed", s.Logins.Database),
		}})
		if ended, ok := errors.AsType[*exec.ExitError](err); ok && ended.ExitCode() == corrupt {
			found.Problems, err = report.lines(), nil
		}
		if err != nil {
			return err
		}
		found.Checked += ", and all tables and indexes by pg_amcheck"
		return do(ctx, conn, "drop extension amcheck")
	})
	if damaged, ok := errors.AsType[*pgconn.PgError](err); ok && isCorruption(damaged.Code) {
		found.Problems, err = append(found.Problems, err.Error()), nil
	}
	return found, err
}

// corrupt is how pg_amcheck ends when it has found something.
const corrupt = 2

// isCorruption says whether a code of an error is of data that cannot be read.
func isCorruption(code string) bool { return code == "XX001" || code == "XX002" }

// isGone says whether a table was dropped meanwhile.
func isGone(err error) bool {
	failed, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(failed.Code, "42P01")
}
