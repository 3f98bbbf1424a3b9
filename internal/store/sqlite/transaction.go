package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/springtide/springtide/internal/store/tables"
)

// slowWrite is how long a transaction may take before it is told: longer means
// a disk that is in trouble.
const slowWrite = time.Second

// write runs one transaction that is on the disk when it returns nil.
func (s *Store) write(ctx context.Context, change func(tables.Transaction) error) error {
	return s.transact(ctx, s.truth, change)
}

// note runs one transaction that a power cut may undo, but not a crash.
func (s *Store) note(ctx context.Context, change func(tables.Transaction) error) error {
	return s.transact(ctx, s.notes, change)
}

func (s *Store) transact(ctx context.Context, db *sql.DB, change func(tables.Transaction) error) error {
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

// LastSequence implements store.Events. SQLite remembers it for AUTOINCREMENT.
func (s *Store) LastSequence(ctx context.Context) (sequence int64, err error) {
	err = s.readers.QueryRowContext(ctx, `SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'`).Scan(&sequence)
	return sequence, s.problem(ctx, err)
}
