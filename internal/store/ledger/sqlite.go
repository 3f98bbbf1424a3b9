package ledger

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/springtide/springtide"
)

const (
	// busyTimeout is how long a statement waits for another process that has the
	// database, such as a backup or a curious operator's shell.
	busyTimeout = 5 * time.Second
	// walLimit is how long the write-ahead log becomes before a checkpoint, and
	// what it is cut down to after one, in bytes.
	walLimit, pageSize = 16 << 20, 4096
	// The page caches of a connection, in KiB.
	writerCache, readerCache = 8192, 512
)

func openSQLite(ctx context.Context, path string, options Options) (*Ledger, error) {
	// The file is made before SQLite does, so that nobody else can ever read it.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, springtide.Errorf(springtide.Unavailable, "open the ledger: %w", err).
			WithHint("the data folder must exist and be writable for this user")
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	truth, err := connectSQLite(path, "immediate", writerCache, 1, "synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	reader, err := connectSQLite(path, "deferred", readerCache, 2, "query_only(ON)")
	if err != nil {
		return nil, errors.Join(err, truth.Close())
	}
	w := newWriter(truth, sqliteDialect(options.Now), options.Logger)
	l := &Ledger{
		dialect:  w.dialect,
		logger:   options.Logger,
		reader:   &prepared{db: reader, statements: map[string]*sql.Stmt{}},
		transact: w.transact, transactOne: w.transact,
		problem: func(ctx context.Context, err error) error {
			return problem(ctx, err, func(err error) error { return sqliteProblem(path, err) })
		},
		close: sync.OnceValue(func() error {
			return errors.Join(reader.Close(), w.close(), truth.Close())
		}),
	}
	l.gather = newGatherer(1, l.enqueuePlain)
	if err := l.migrate(ctx, "sqlite", "PRAGMA user_version", "PRAGMA user_version = %d"); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// connectSQLite makes a pool of connections. None is opened before it is needed.
func connectSQLite(path, lock string, cache, limit int, setting string) (*sql.DB, error) {
	source := url.URL{
		Scheme: "file",
		Opaque: (&url.URL{Path: path}).EscapedPath(),
		RawQuery: url.Values{"_txlock": {lock}, "_pragma": {
			"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
			"journal_mode(WAL)",
			"cache_size(-" + strconv.Itoa(cache) + ")",
			"mmap_size(0)",
			"temp_store(MEMORY)",
			"journal_size_limit(" + strconv.Itoa(walLimit) + ")",
			"wal_autocheckpoint(" + strconv.Itoa(walLimit/pageSize) + ")",
			setting,
		}}.Encode(),
	}
	connector, err := sqlite.NewConnector(source.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(limit)
	db.SetMaxIdleConns(limit)
	return db, nil
}

// sqliteProblem says what an error of SQLite means.
func sqliteProblem(path string, err error) error {
	cause, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return nil
	}
	// The low byte is the error, what is above it the detail.
	switch cause.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return springtide.Errorf(springtide.Unavailable, "ledger: the disk is full: %w", err).
			WithHint("free some space on the disk of %s; nothing else needs to be done", filepath.Dir(path))
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return springtide.Errorf(springtide.Unavailable, "ledger: another process has locked %s: %w", path, err).
			WithHint("find it with: fuser %s", path)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		return springtide.Errorf(springtide.Unavailable, "ledger: %s cannot be written: %w", path, err).
			WithHint("is its disk mounted read-only, or does it belong to another user?")
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		return springtide.Errorf(springtide.Unavailable, "ledger: the disk does not take or give data: %w", err).
			WithHint("look at the disk of %s: is it full, mounted read-only, or failing?", path)
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return springtide.Errorf(springtide.Failed, "ledger: %s is damaged or not a database: %w", path, err).
			WithHint("move it away and restore it from a backup")
	}
	return nil
}
