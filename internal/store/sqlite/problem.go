package sqlite

import (
	"context"
	"errors"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/springtide/springtide"
)

// problem says what an error of SQLite means to a user. Errors that already say
// so, and those of the context, stay as they are.
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
	cause, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return springtide.Errorf(springtide.Internal, "store: %w", err)
	}
	// The low byte is the error, what is above it the detail.
	switch cause.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return springtide.Errorf(springtide.Unavailable, "store: the disk is full: %w", err).
			WithHint("free some space on the disk of %s; nothing else needs to be done", filepath.Dir(s.path))
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return springtide.Errorf(springtide.Unavailable, "store: another process has locked %s: %w", s.path, err).
			WithHint("find it with: fuser %s", s.path)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return springtide.Errorf(springtide.Unavailable, "store: the disk does not take or give data: %w", err).
			WithHint("look at the disk of %s: is it full, mounted read-only, or failing?", s.path)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return springtide.Errorf(springtide.Failed, "store: %s is damaged or not a database: %w", s.path, err).
			WithHint("move it away and restore it from a backup")
	}
	return springtide.Errorf(springtide.Internal, "store: %w", err)
}
