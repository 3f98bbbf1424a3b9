package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/server"
	"github.com/springtide/springtide/internal/store/tables"
)

const (
	// slowWrite is how long a transaction may take before it is told.
	slowWrite = time.Second
	// takeTurn waits until nobody else writes. It is not before that the statements
	// after it look at the tables.
	takeTurn = `SELECT token FROM leadership FOR UPDATE`
)

// write runs one transaction that is on PostgreSQL's disk when it returns nil. If
// this control plane has led and another one leads now, nothing is written.
func (s *Store) write(ctx context.Context, change func(tables.Transaction) error) error {
	return s.transact(ctx, func(tx transaction) error {
		var token int64
		if err := tx.QueryRowContext(ctx, takeTurn).Scan(&token); err != nil {
			return err
		}
		if own := s.token.Load(); own != 0 && own != token {
			return errNotLeading
		}
		return change(tx)
	})
}

// note is write for what a crash of PostgreSQL may undo.
func (s *Store) note(ctx context.Context, change func(tables.Transaction) error) error {
	return s.write(ctx, func(tx tables.Transaction) error {
		if _, err := tx.ExecContext(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		return change(tx)
	})
}

// transact runs one transaction. It is begun again if others were in its way, or
// the connection was lost before the commit: then nothing of it has happened.
func (s *Store) transact(ctx context.Context, change func(transaction) error) error {
	select { // in a line of our own, which is fair and needs one connection
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	start := time.Now()
	committing := false
	err := server.Again(ctx, func(err error) bool {
		return server.InTheWay(err) || !committing && server.Lost(err)
	}, func() error {
		committing = false
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		if err := change(transaction{querier{tx}, tx}); err != nil {
			_ = tx.Rollback() // the first error says what went wrong
			return err
		}
		committing = true
		return tx.Commit()
	})
	if took := time.Since(start); took > slowWrite {
		s.logger.Warn("PostgreSQL is slow, or others are in the way", "host", s.host, "took", took)
	}
	return s.problem(ctx, err)
}

// problem says what an error means to a user. Errors that already say so, and
// those of the context, stay as they are.
func (s *Store) problem(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*springtide.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if meant := server.Problem(owner, s.host, err); meant != nil {
		return meant
	}
	return springtide.Errorf(springtide.Internal, "store: %w", err)
}

// querier asks PostgreSQL what is written for both databases.
type querier struct{ of tables.Querier }

// QueryContext implements tables.Querier.
func (q querier) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	args, err := storable(args)
	if err != nil {
		return nil, err
	}
	return q.of.QueryContext(ctx, numbered(query), args...)
}

// QueryRowContext implements tables.Querier.
func (q querier) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if values, err := storable(args); err == nil {
		args = values
	} // else the driver comes to the same error
	return q.of.QueryRowContext(ctx, numbered(query), args...)
}

// transaction changes what is written for both databases.
type transaction struct {
	querier
	tx *sql.Tx
}

// ExecContext implements tables.Transaction.
func (t transaction) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	args, err := storable(args)
	if err != nil {
		return nil, err
	}
	return t.tx.ExecContext(ctx, numbered(statement), args...)
}

// storable makes values of arguments, whose texts PostgreSQL takes: what an app
// says before it ends need not be text.
func storable(args []any) ([]any, error) {
	values := make([]any, len(args))
	for i, arg := range args {
		value, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, err
		}
		if text, ok := value.(string); ok {
			value = plain(text)
		}
		values[i] = value
	}
	return values, nil
}
