package postgres

import (
	"context"
	"net"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/socket"
)

// platformDatabase is the one that is not the app's.
const platformDatabase = "postgres"

// within connects to the server's database as the platform's superuser, for as
// long as work takes. What it writes is not waited for at a standby that may be
// away, and statements that may hold a password are not logged.
func within(ctx context.Context, s service.Server, database string, work func(*pgx.Conn) error) error {
	config, err := pgx.ParseConfig("sslmode=disable")
	if err != nil {
		return err
	}
	folder := filepath.Join(s.Folder, "run")
	config.Host, config.Port, config.User, config.Password, config.Database = folder, s.Address.Port(), superuser, "", database
	config.Fallbacks, config.TLSConfig = nil, nil
	config.RuntimeParams = map[string]string{
		"application_name": "springtide", "synchronous_commit": "local",
		"log_min_duration_statement": "-1", "log_min_error_statement": "panic",
	}
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(folder, ".s.PGSQL."+strconv.Itoa(int(s.Address.Port()))))
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "reach PostgreSQL of %s: %w", s.ID, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return work(conn)
}

// ask gives the one value that a query does.
func ask[T any](ctx context.Context, conn *pgx.Conn, query string, args ...any) (answer T, err error) {
	err = conn.QueryRow(ctx, query, args...).Scan(&answer)
	return answer, err
}

// list gives the first column of what a query does.
func list[T any](ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]T, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[T])
}

// execer is a connection, or a transaction on one.
type execer interface {
	Exec(ctx context.Context, statement string, args ...any) (pgconn.CommandTag, error)
}

// do carries out statements, the one after the other.
func do(ctx context.Context, conn execer, statements ...string) error {
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// quoted is a name in a statement.
func quoted(name string) string { return pgx.Identifier{name}.Sanitize() }

// Ready gives nil when the server answers: a primary as such, a replica what it
// has so far. Errors are of kind Unavailable.
func (d *Driver) Ready(ctx context.Context, s service.Server) error {
	return within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		recovering, err := ask[bool](ctx, conn, "select pg_is_in_recovery()")
		if err == nil && recovering && s.Role == service.RolePrimary {
			return springtide.Errorf(springtide.Unavailable, "PostgreSQL of %s is not a primary yet: it still follows another, or its log", s.ID)
		}
		return err
	})
}
