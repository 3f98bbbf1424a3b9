// Package server is what the store and the ledger both know of a PostgreSQL
// server: how it is connected to, what its errors mean, and when a transaction
// is begun again.
package server

import (
	"context"
	"database/sql"
	"maps"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/springtide/springtide"
)

const (
	// ApplicationName is what our sessions are called.
	ApplicationName = "springtide"
	// LockTimeout is how long a statement waits for a lock.
	LockTimeout = 10 * time.Second
	// connectTimeout is how long a server may take to answer, unless the URL says so.
	connectTimeout = 5 * time.Second
	// oldest is the oldest PostgreSQL that is known to do.
	oldest = 15
)

// Parse reads a URL of PostgreSQL for an owner, the store or the ledger, whose
// sessions have settings of their own.
func Parse(owner, location string, settings map[string]string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(location)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the %s's address: %w", owner, err).
			WithHint("use one like postgres://user:password@host:5432/database")
	}
	maps.Copy(config.RuntimeParams, map[string]string{
		"application_name": ApplicationName,
		// Whoever is stopped in the middle of a transaction must not keep its locks.
		"idle_in_transaction_session_timeout": "5s",
		"lock_timeout":                        strconv.FormatInt(LockTimeout.Milliseconds(), 10),
	})
	maps.Copy(config.RuntimeParams, settings)
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	return config, nil
}

// Open gives up to so many connections. None is made before it is needed.
func Open(config *pgx.ConnConfig, connections int) *sql.DB {
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		// What is acknowledged must be on a disk, whatever holds for others.
		_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
		return err
	}))
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db
}

// VersionQuery asks for the number that [CheckVersion] looks at.
const VersionQuery = "SELECT current_setting('server_version_num')::bigint / 10000"

// CheckVersion refuses a server that is too old.
func CheckVersion(owner string, version int) error {
	if version < oldest {
		return springtide.Errorf(springtide.Failed, "%s: PostgreSQL %d is too old", owner, version).
			WithHint("version %d or newer is needed", oldest)
	}
	return nil
}
