// Package tables is what the store says to its database, in the SQL that SQLite
// and PostgreSQL share. Packages sqlite and postgres open one, make the tables,
// and carry transactions out.
//
// Parameters are written ?, or ?1, ?2 where one is used more than once.
package tables

import (
	"context"
	"database/sql"
	"errors"
)

// Database is where the tables are. All is required.
type Database struct {
	// Write carries out a transaction that is durable when it returns nil; Note one
	// that a power cut may undo, but not a crash. All of them come one after the
	// other: each sees what those before it wrote. A change that was in somebody's
	// way, or in whose middle the database was lost, may be made again.
	Write, Note func(ctx context.Context, change func(Transaction) error) error
	// Reader reads as of one moment, and waits for no writer.
	Reader Querier
	// Problem says what an error means to a user.
	Problem func(ctx context.Context, err error) error
}

// Querier is what can be asked. Implemented by sql.DB and sql.Tx.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Transaction is what a change is made in. Implemented by sql.Tx.
type Transaction interface {
	Querier
	ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error)
}

// Store is a store.Store but for what each database does its own way: to close,
// and to know the last number that it gave to an event.
type Store struct {
	db       Database
	versions tableVersions
}

// New gives a store in tables that are up to date.
func New(db Database) *Store { return &Store{db: db} }

// row is what a scan function reads one result from.
type row interface{ Scan(columns ...any) error }

// all gives what scan makes of every row.
func all[T any](ctx context.Context, from Querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
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
	found, err := all(ctx, s.db.Reader, scan, query, args...)
	return found, s.db.Problem(ctx, err)
}

// must executes a statement and gives missing if it changed no row.
func must(ctx context.Context, tx Transaction, missing error, statement string, args ...any) error {
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
