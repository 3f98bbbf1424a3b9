package ledger

import (
	"context"
	"database/sql"
	"log/slog"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/springtide/springtide/internal/store/server"
)

const (
	// owner is whom errors of PostgreSQL are about.
	owner = "ledger"
	// statementsAtOnce is how many statements enqueue for an environment at once.
	statementsAtOnce = 2
)

// settings are those of a session.
func settings() map[string]string {
	return map[string]string{
		"search_path": "springtide",
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
	config, err := server.Parse(owner, location, settings())
	if err != nil {
		return nil, err
	}
	db := server.Open(config, options.Connections)
	p := &postgres{db: db, dialect: postgresDialect(), logger: options.Logger}
	l := &Ledger{dialect: p.dialect, logger: options.Logger, reader: pool{db}, transact: p.transact, transactOne: p.transactOne}
	l.problem = func(ctx context.Context, err error) error {
		return problem(ctx, err, func(err error) error { return server.Problem(owner, config.Host, err) })
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
		version, err := one(tx, nil, value[int], server.VersionQuery)
		if err == nil {
			err = server.CheckVersion(owner, version)
		}
		if err != nil {
			return err
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
	return server.Again(ctx, server.InTheWay, func() error {
		connection, err := p.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer connection.Close()
		return connection.Raw(func(of any) error { return do(of.(*stdlib.Conn).Conn()) })
	})
}
