package ledger

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/store/server"
)

var _ jobs.Ledger = (*Ledger)(nil)

// Options is what a ledger may be given besides its location.
type Options struct {
	// Logger is told of slow and repeated transactions. Default: nobody is told.
	Logger *slog.Logger
	// Now is the clock of a ledger in SQLite. Default: time.Now. PostgreSQL has
	// its own.
	Now func() time.Time
	// Connections to PostgreSQL at most, besides the one that listens. Default: 8.
	Connections int
	// Patient opens a ledger in PostgreSQL also while that does not answer: until
	// it does, all that is asked is Unavailable.
	Patient bool
}

// Ledger is a jobs.Ledger in a database.
type Ledger struct {
	dialect *dialect
	logger  *slog.Logger
	// reader is what views are taken with.
	reader executor
	// transact carries out a change in one transaction, durably. So does
	// transactOne, if the change writes with one statement at most.
	transact, transactOne func(ctx context.Context, change func(*transaction) error) error
	// problem says what an error of the database means.
	problem  func(ctx context.Context, err error) error
	identity identities
	wakes    wakes
	unsaved  unsaved
	onlyLane onlyLanes
	gather   *gatherer
	// announce tells other processes that there is something to do; nil: there are none.
	announce func()
	close    func() error
}

// Open opens the ledger at a location and brings its tables up to date: the
// path of an SQLite database, which is made if there is none, or a URL like
// postgres://user@host/database.
func Open(ctx context.Context, location string, options Options) (*Ledger, error) {
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Connections <= 0 {
		options.Connections = 8
	}
	if strings.HasPrefix(location, "postgres://") || strings.HasPrefix(location, "postgresql://") {
		return openPostgres(ctx, location, options)
	}
	return openSQLite(ctx, location, options)
}

// Close lets go of the database. What was written stays. Closing again does nothing.
func (l *Ledger) Close() error { return l.close() }

// write carries out a change in one transaction that is durable when it returns
// nil. The change may be carried out again from its beginning if the database
// could not bring it together with another's; only the last time counts.
func (l *Ledger) write(ctx context.Context, change func(*transaction) error) error {
	return l.writeBy(ctx, l.transact, change)
}

// writeOne is write for a change that writes with one statement at most. What it
// reads before may be older.
func (l *Ledger) writeOne(ctx context.Context, change func(*transaction) error) error {
	return l.writeBy(ctx, l.transactOne, change)
}

func (l *Ledger) writeBy(ctx context.Context, transact func(context.Context, func(*transaction) error) error, change func(*transaction) error) error {
	var last *transaction
	var saved map[int64]counts
	var err error
	for range server.Tries {
		err = transact(ctx, func(tx *transaction) error {
			last = tx
			if err := change(tx); err != nil || !tx.exact {
				return err
			}
			if saved == nil {
				saved = l.unsaved.take()
			}
			return tx.saveCounts(saved)
		})
		if !errors.Is(err, errCollision) && !l.dialect.collided(err) {
			break
		}
		l.identity.leave()
	}
	if err != nil {
		l.unsaved.add(saved)
		return l.problem(ctx, err)
	}
	if !last.exact {
		l.unsaved.add(last.counts)
	}
	if last.awake {
		l.wakes.wake()
		if l.announce != nil {
			l.announce()
		}
	}
	return nil
}

// view is a transaction that only reads, each query as of its own moment.
func (l *Ledger) view(ctx context.Context) *transaction {
	return &transaction{ctx: ctx, dialect: l.dialect, on: l.reader}
}

// executor is a connection, a pool of them, or a transaction.
type executor interface {
	// exec executes a statement and gives how many rows it changed. Without
	// arguments, it may be several.
	exec(ctx context.Context, statement string, args ...any) (int, error)
	query(ctx context.Context, query string, args ...any) (rows, error)
}

// rows are what a query gives.
type rows interface {
	row
	Next() bool
	Err() error
	Close() error
}

// pool is an executor whose statements each have a connection of their own.
type pool struct{ *sql.DB }

func (p pool) exec(ctx context.Context, statement string, args ...any) (int, error) {
	return changed(p.ExecContext(ctx, statement, args...))
}

func (p pool) query(ctx context.Context, query string, args ...any) (rows, error) {
	return p.QueryContext(ctx, query, args...)
}

// changed is how many rows a statement changed.
func changed(result sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	count, err := result.RowsAffected()
	return int(count), err
}

// transaction is what a change is carried out in.
type transaction struct {
	ctx     context.Context
	dialect *dialect
	on      executor
	counts  map[int64]counts
	// exact says that the counts are part of it: some of them must not be lost.
	exact bool
	// awake says that somebody may have something to do once this is committed.
	awake bool
}

// exec executes a statement and gives how many rows it changed.
func (tx *transaction) exec(statement string, args ...any) (int, error) {
	return tx.on.exec(tx.ctx, statement, args...)
}

// row is what a scan function reads one result from.
type row interface{ Scan(columns ...any) error }

// all gives what scan makes of every row.
func all[T any](tx *transaction, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := tx.on.query(tx.ctx, query, args...)
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

// one gives the first row's value, or missing and nothing if there is none.
func one[T any](tx *transaction, missing error, scan func(row) (T, error), query string, args ...any) (T, error) {
	found, err := all(tx, scan, query, args...)
	if err == nil && len(found) > 0 {
		return found[0], nil
	}
	var none T
	if err == nil {
		err = missing
	}
	return none, err
}

// value scans a row of one column.
func value[T any](r row) (v T, err error) {
	err = r.Scan(&v)
	return v, err
}

// identities makes the numbers of runs. They rise with the time, 2,097,152 in a
// millisecond; two processes begin at different ones within it, and if they
// meet all the same, the primary key has one of them begin again.
type identities struct {
	mutex sync.Mutex
	last  int64
}

// take gives the first of so many numbers in a row.
func (i *identities) take(now moment, count int) int64 {
	const began, bits = 1_577_836_800_000, 21 // 2020-01-01
	first := max(now.calendar/1000-began, 0)<<bits + rand.Int64N(1<<(bits-1))
	i.mutex.Lock()
	defer i.mutex.Unlock()
	first = max(first, i.last+1)
	i.last = first + int64(count) - 1
	return first
}

// leave goes far from where the numbers were another's. While the clock stands
// still all processes take from one millisecond, and would meet again and again.
func (i *identities) leave() {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.last += rand.Int64N(1 << 24)
}
