package postgres_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// TestMain has the servers write to memory where there is enough of it: what the
// tests kill are processes, which lose nothing that was written, synced or not.
func TestMain(m *testing.M) {
	var space unix.Statfs_t
	if err := unix.Statfs(inMemory, &space); err == nil && int64(space.Bavail)*space.Bsize > 4<<30 {
		os.Setenv("TMPDIR", inMemory)
	}
	os.Exit(m.Run())
}

const inMemory = "/dev/shm"

func TestItDoesAllThatTheManagerAsksOfADriver(t *testing.T) {
	servicetest.Run(t, servicetest.Kit{
		Driver: postgres.New(postgres.Options{}), Spec: spec(), Synchronous: true, Write: put, Read: get,
	})
}

// spec is a small server.
func spec() springtide.Service {
	return springtide.Service{Kind: springtide.ServicePostgres, Memory: 64 << 20}
}

func put(ctx context.Context, url, key, value string) error {
	return connected(ctx, url, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "insert into kept values ($1, $2) on conflict (key) do update set value = $2", key, value)
		if isUndefined(err) {
			_, err = conn.Exec(ctx, "create table if not exists kept (key text primary key, value text); ")
			if err == nil || isTwice(err) {
				_, err = conn.Exec(ctx, "insert into kept values ($1, $2) on conflict (key) do update set value = $2", key, value)
			}
		}
		return err
	})
}

func get(ctx context.Context, url, key string) (value string, err error) {
	err = connected(ctx, url, func(conn *pgx.Conn) error {
		err := conn.QueryRow(ctx, "select value from kept where key = $1", key).Scan(&value)
		if errors.Is(err, pgx.ErrNoRows) || isUndefined(err) {
			return nil
		}
		return err
	})
	return value, err
}

func connected(ctx context.Context, url string, work func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return work(conn)
}

func isUndefined(err error) bool { return hasCode(err, "42P01") }

// isTwice is what one of two gets that make the same table at the same time.
func isTwice(err error) bool { return hasCode(err, "23505") || hasCode(err, "42P07") }

func hasCode(err error, code string) bool {
	failed, ok := errors.AsType[*pgconn.PgError](err)
	return ok && failed.Code == code
}
