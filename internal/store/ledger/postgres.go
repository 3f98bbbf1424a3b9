package ledger

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/springtide/springtide"
)

const (
	// oldestServer is the oldest PostgreSQL that is known to do.
	oldestServer = 15
	// tries is how often a transaction is begun that others are in the way of.
	tries = 10
	// statementsAtOnce is how many statements enqueue for an environment at once.
	statementsAtOnce = 2
	// connectTimeout is how long a server may take to answer, unless the URL says so.
	connectTimeout = 5 * time.Second
	// lockTimeout is how long a statement waits for a lock.
	lockTimeout = 10 * time.Second
	// applicationName is what our sessions are called.
	applicationName = "springtide"
)

// settings are those of a session.
func settings() map[string]string {
	return map[string]string{
		"application_name": applicationName,
		"search_path":      "springtide",
		// Whoever is stopped in the middle of a transaction must not keep its locks.
		"idle_in_transaction_session_timeout": "5s",
		"lock_timeout":                        strconv.FormatInt(lockTimeout.Milliseconds(), 10),
		// The tables grow and shrink faster than anybody counts their rows: where
		// there is an index for it, it is the right one.
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
		"jit":              "off",
		// What a statement is given does not change how it is best carried out, and to
		// plan it costs more than that.
		"plan_cache_mode": "force_generic_plan",
	}
}

func openPostgres(ctx context.Context, location string, options Options) (*Ledger, error) {
	config, err := pgx.ParseConfig(location)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the ledger's address: %w", err).
			WithHint("use one like postgres://user:password@host:5432/database")
	}
	maps.Copy(config.RuntimeParams, settings())
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		// What is acknowledged must be on a disk, whatever holds for others.
		_, err := conn.Exec(ctx, "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'")
		return err
	}))
	db.SetMaxOpenConns(options.Connections)
	db.SetMaxIdleConns(options.Connections)
	p := &postgres{db: db, dialect: postgresDialect(), logger: options.Logger}
	l := &Ledger{dialect: p.dialect, logger: options.Logger, reader: pool{db}, transact: p.transact, transactOne: p.transactOne}
	l.problem = func(ctx context.Context, err error) error {
		return problem(ctx, err, func(err error) error { return postgresProblem(config.Host, err) })
	}
	l.gather = newGatherer(statementsAtOnce, l.enqueuePlain)
	l.close = sync.OnceValue(db.Close)
	bare := &Ledger{dialect: l.dialect, reader: l.reader, transact: l.transact, problem: l.problem}
	err = l.prepareOrWait(ctx, options.Patient, func(ctx context.Context) error {
		if err := p.prepare(ctx); err != nil {
			return l.problem(ctx, err)
		}
		return bare.migrate(ctx, "postgres", "SELECT version FROM ledger_version FOR UPDATE", "UPDATE ledger_version SET version = %d")
	})
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	m := newMessenger(config, l.wakes.wake, options.Logger)
	l.announce = m.announce
	l.close = sync.OnceValue(func() error {
		m.close()
		return db.Close()
	})
	return l, nil
}

// postgres makes transactions in PostgreSQL.
type postgres struct {
	db      *sql.DB
	dialect *dialect
	logger  *slog.Logger
}

// prepare makes what the migrations need: a schema of our own, and the version
// of its tables.
func (p *postgres) prepare(ctx context.Context) error {
	return p.transact(ctx, func(tx *transaction) error {
		version, err := one(tx, nil, value[int], "SELECT current_setting('server_version_num')::bigint / 10000")
		if err != nil {
			return err
		}
		if version < oldestServer {
			return springtide.Errorf(springtide.Failed, "ledger: PostgreSQL %d is too old", version).
				WithHint("version %d or newer is needed", oldestServer)
		}
		const others = "SELECT pg_advisory_xact_lock(hashtext('springtide ledger'))"
		if _, err := tx.exec(others); err != nil {
			return err
		}
		there, err := one(tx, nil, value[bool], "SELECT to_regclass('springtide.ledger_version') IS NOT NULL")
		if err != nil || there {
			return err
		}
		_, err = tx.exec(`CREATE SCHEMA IF NOT EXISTS springtide; CREATE TABLE springtide.ledger_version (version BIGINT NOT NULL);
			INSERT INTO springtide.ledger_version VALUES (0)`)
		return err
	})
}

func (p *postgres) transact(ctx context.Context, change func(*transaction) error) error {
	return p.connected(ctx, func(conn *pgx.Conn) error {
		tx := &pipeline{conn: conn}
		err := change(&transaction{ctx: ctx, dialect: p.dialect, on: tx})
		if err == nil {
			err = tx.commit(ctx)
		}
		if err != nil {
			tx.rollback(ctx)
		}
		return err
	})
}

// transactOne lets the server make a transaction of each statement.
func (p *postgres) transactOne(ctx context.Context, change func(*transaction) error) error {
	return p.connected(ctx, func(conn *pgx.Conn) error {
		return change(&transaction{ctx: ctx, dialect: p.dialect, on: direct{conn}})
	})
}

// connected does something on a connection of its own, again if others were in
// the way.
func (p *postgres) connected(ctx context.Context, do func(*pgx.Conn) error) error {
	return repeat(ctx, func() error {
		connection, err := p.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer connection.Close()
		return connection.Raw(func(of any) error { return do(of.(*stdlib.Conn).Conn()) })
	})
}

// repeat begins again what others were in the way of.
func repeat(ctx context.Context, once func() error) error {
	for try := 1; ; try++ {
		err := once()
		if err == nil || try == tries || !isInTheWay(err) {
			return err
		}
		pause(ctx, rand.N(time.Duration(try)*5*time.Millisecond))
	}
}

// isInTheWay reports whether the transaction has changed nothing because of
// another at the same time, or took too long in between: it may be begun again.
func isInTheWay(err error) bool {
	cause, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{
		"40001", // serialization failure
		"40P01", // deadlock
		"23505", // somebody else has made it: it will be found
		"25P03", // we were stopped for too long in the middle of it
	}, cause.Code)
}

// postgresProblem says what an error of PostgreSQL means.
func postgresProblem(host string, err error) error {
	cause, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		if isConnection(err) {
			return springtide.Errorf(springtide.Unavailable, "ledger: PostgreSQL at %s does not answer: %w", host, err).
				WithHint("is it running, and is there a way to it? nothing is lost, and it goes on by itself")
		}
		return nil
	}
	unavailable := func(what, hint string) error {
		return springtide.Errorf(springtide.Unavailable, "ledger: %s: %w", what, err).WithHint("%s", hint)
	}
	switch {
	case cause.Code == "53100":
		return unavailable("the disk of PostgreSQL at "+host+" is full", "free some space on it; nothing else needs to be done")
	case cause.Code == "53300":
		return unavailable("PostgreSQL at "+host+" has no connection left", "raise its max_connections: each server needs up to 9")
	case cause.Code == "25006":
		return unavailable("PostgreSQL at "+host+" is read-only", "is it a standby? give the address of the primary")
	case cause.Code == "55P03", isInTheWay(err):
		return unavailable("others are in the way in PostgreSQL at "+host, "look for long transactions in pg_stat_activity")
	case strings.HasPrefix(cause.Code, "57P"), strings.HasPrefix(cause.Code, "08"), strings.HasPrefix(cause.Code, "53"), strings.HasPrefix(cause.Code, "58"):
		return unavailable("PostgreSQL at "+host+" is starting, stopping or in trouble", "see its log; nothing is lost, and it goes on by itself")
	case isRefusal(err):
		return unavailable("PostgreSQL at "+host+" does not let us in", "see that user, password and database are right, and that the user may create a schema in it")
	}
	return nil
}

// isRefusal reports whether PostgreSQL answers and does not let us in.
func isRefusal(err error) bool {
	cause, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(cause.Code, "28") || cause.Code == "3D000" || cause.Code == "42501")
}

// asInvalid is an error of who gave the address, not of the moment.
func asInvalid(err error) error {
	if problem, ok := errors.AsType[*springtide.Error](err); ok {
		invalid := *problem
		invalid.Kind = springtide.Invalid
		return &invalid
	}
	return err
}

// isConnection reports whether an error is about the connection.
func isConnection(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	return pgconn.SafeToRetry(err) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
