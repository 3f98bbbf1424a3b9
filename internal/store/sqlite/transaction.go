package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// slowWrite is how long a transaction may take before it is told: longer means
// a disk that is in trouble.
const slowWrite = time.Second

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// row is what a scan function reads one result from.
type row interface{ Scan(columns ...any) error }

// write runs one transaction that is on the disk when it returns nil.
func (s *Store) write(ctx context.Context, change func(tx *sql.Tx) error) error {
	return s.transact(ctx, s.truth, change)
}

// note runs one transaction that a power cut may undo, but not a crash.
func (s *Store) note(ctx context.Context, change func(tx *sql.Tx) error) error {
	return s.transact(ctx, s.notes, change)
}

func (s *Store) transact(ctx context.Context, db *sql.DB, change func(tx *sql.Tx) error) error {
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	start := time.Now()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return s.problem(ctx, err)
	}
	if err := change(tx); err != nil {
		// The first error says what went wrong; a transaction that cannot be rolled
		// back any more has been.
		_ = tx.Rollback()
		return s.problem(ctx, err)
	}
	if err := tx.Commit(); err != nil {
		return s.problem(ctx, err)
	}
	if took := time.Since(start); took > slowWrite {
		s.logger.Warn("the disk of the store is slow", "path", s.path, "took", took)
	}
	return nil
}

// all gives what scan makes of every row.
func all[T any](ctx context.Context, from querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := from.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, rows.Err()
}

// read gives what scan makes of every row, as of one moment.
func read[T any](ctx context.Context, s *Store, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	found, err := all(ctx, s.readers, scan, query, args...)
	return found, s.problem(ctx, err)
}

// must executes a statement and gives missing if it changed no row.
func must(ctx context.Context, tx *sql.Tx, missing error, statement string, args ...any) error {
	result, err := tx.ExecContext(ctx, statement, args...)
	if err != nil {
		return err
	}
	if changed, err := result.RowsAffected(); err != nil || changed > 0 {
		return err
	}
	return missing
}

// orMissing replaces "no rows" by an error that says what is missing.
func orMissing(err, missing error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return missing
	}
	return err
}
