// Package sqlite is the store of one machine: one SQLite database in WAL mode.
//
// Three kinds of connection share it:
//
//	truth   one connection, synchronous=FULL: a commit is on the disk when it returns
//	notes   one connection, synchronous=NORMAL: decisions and events, whose last
//	        ones a power cut may take, but which must not wait for the disk
//	readers a few connections that cannot write, so that nobody waits for a writer
//
// The caches are small, because the platform's memory is: what is asked for
// often is a few pages.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	"modernc.org/sqlite"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/tables"
)

var _ store.Store = (*Store)(nil)

const (
	// busyTimeout is how long a statement waits for another process that has the
	// database, such as a backup or a curious operator's shell.
	busyTimeout = 5 * time.Second
	// walLimit is what the write-ahead log is cut down to after a checkpoint, in bytes.
	walLimit = 4 << 20
)

// connections is a kind of connection.
type connections struct {
	// synchronous is what a commit waits for; empty: the connections only read.
	synchronous string
	// cache is the size of each one's page cache, in KiB.
	cache int
	// limit is how many there are at most.
	limit int
}

func truth() connections   { return connections{synchronous: "FULL", cache: 1024, limit: 1} }
func notes() connections   { return connections{synchronous: "NORMAL", cache: 256, limit: 1} }
func readers() connections { return connections{cache: 256, limit: 2} }

// Store is a store.Store in one file.
type Store struct {
	*tables.Store
	path   string
	logger *slog.Logger

	truth   *sql.DB
	notes   *sql.DB
	readers *sql.DB
	// writing is held (by a value in it) by whoever writes: SQLite lets one write
	// at a time, and waiting here is fair and ends with the context.
	writing chan struct{}

	close sync.Once
}

// Open opens the database at path, makes it if there is none, and brings its
// tables up to date.
func Open(ctx context.Context, path string, logger *slog.Logger) (*Store, error) {
	if err := createFile(path); err != nil {
		return nil, err
	}
	s := &Store{path: path, logger: logger, writing: make(chan struct{}, 1)}
	var err error
	if s.truth, err = truth().connect(path); err != nil {
		return nil, err
	}
	if err = s.migrate(ctx); err != nil {
		return nil, errors.Join(s.problem(ctx, err), s.truth.Close())
	}
	if s.notes, err = notes().connect(path); err != nil {
		return nil, errors.Join(err, s.truth.Close())
	}
	if s.readers, err = readers().connect(path); err != nil {
		return nil, errors.Join(err, s.notes.Close(), s.truth.Close())
	}
	s.Store = tables.New(tables.Database{Write: s.write, Note: s.note, Reader: s.readers, Problem: s.problem})
	return s, nil
}

// createFile makes the database's file before SQLite does, so that nobody else
// can ever read it. The write-ahead log takes over its mode, and with its first
// commit SQLite makes the names of both durable.
func createFile(path string) error {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "open the store: %w", err).
			WithHint("the data folder must exist and be writable for this user")
	}
	return file.Close()
}

// connect makes a pool of such connections. None is opened before it is needed.
func (c connections) connect(path string) (*sql.DB, error) {
	settings := []string{
		"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")",
		"journal_mode(WAL)",
		"foreign_keys(ON)",
		"cache_size(-" + strconv.Itoa(c.cache) + ")",
		"mmap_size(0)",
		"temp_store(MEMORY)",
		"journal_size_limit(" + strconv.Itoa(walLimit) + ")",
	}
	lock := "immediate"
	if c.synchronous == "" {
		settings, lock = append(settings, "query_only(ON)"), "deferred"
	} else {
		settings = append(settings, "synchronous("+c.synchronous+")")
	}
	source := url.URL{
		Scheme:   "file",
		Opaque:   (&url.URL{Path: path}).EscapedPath(),
		RawQuery: url.Values{"_pragma": settings, "_txlock": {lock}}.Encode(),
	}
	connector, err := sqlite.NewConnector(source.String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(c.limit)
	db.SetMaxIdleConns(c.limit)
	return db, nil
}

// Close ends all connections; the last one folds the write-ahead log into the
// database. Closing again does nothing.
func (s *Store) Close() (err error) {
	s.close.Do(func() {
		err = errors.Join(s.readers.Close(), s.notes.Close(), s.truth.Close())
	})
	return err
}
