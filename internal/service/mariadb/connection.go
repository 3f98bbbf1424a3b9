package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/go-sql-driver/mysql"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/socket"
)

// silent is a logger of the library: what goes wrong is in its errors too.
type silent struct{}

func (silent) Print(...any) {}

// with connects by the socket as the platform, and has the function talk to the
// server.
func with(ctx context.Context, server service.Server, talk func(*sql.Conn) error) error {
	key, err := readKey(server.Folder)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "service %s has not been made: %w", server.ID, err)
	}
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.InterpolateParams, config.Logger = platformUser, key, "unix", true, silent{}
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(server.Folder, "run", socketName))
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	database := sql.OpenDB(connector)
	defer database.Close()
	conn, err := database.Conn(ctx)
	if err == nil {
		defer conn.Close()
		err = talk(conn)
	}
	if _, ours := errors.AsType[*springtide.Error](err); err == nil || ours {
		return err
	}
	return springtide.Errorf(springtide.Unavailable, "MariaDB of service %s: %w", server.ID, err)
}

// do carries out a statement.
func do(ctx context.Context, conn *sql.Conn, statement string, args ...any) error {
	if _, err := conn.ExecContext(ctx, statement, args...); err != nil {
		return fmt.Errorf("%.60s: %w", statement, err)
	}
	return nil
}

// row is one of a table that is not known beforehand, by the names of its columns.
type row map[string]string

// ask gives all rows.
func ask(ctx context.Context, conn *sql.Conn, query string, args ...any) ([]row, error) {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("%.60s: %w", query, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var all []row
	for rows.Next() {
		values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		one := row{}
		for i, name := range names {
			one[name] = values[i].String
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// askOne gives the first row; nil if there is none.
func askOne(ctx context.Context, conn *sql.Conn, query string, args ...any) (row, error) {
	all, err := ask(ctx, conn, query, args...)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return all[0], nil
}
