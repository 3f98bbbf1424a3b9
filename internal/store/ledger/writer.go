package ledger

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// slowWrite is how long a transaction may take before it is told: longer means
	// a disk that is in trouble.
	slowWrite = time.Second
	// groupLimit is how many changes are committed together at most.
	groupLimit = 64
)

// writer is the one connection that writes to SQLite. What waits for it is
// carried out together: each change in a savepoint, all of them in one
// transaction, since it is the commit that waits for the disk.
type writer struct {
	db      *sql.DB
	dialect *dialect
	logger  *slog.Logger
	queue   chan *call
	closing chan struct{}
	done    chan struct{}
	once    sync.Once

	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

// call is a change that waits to be carried out.
type call struct {
	change func(*transaction) error
	// taken is held by whoever decides first: the writer that it is carried out,
	// or the caller that it is not.
	taken sync.Mutex
	done  chan error
}

func newWriter(db *sql.DB, dialect *dialect, logger *slog.Logger) *writer {
	w := &writer{
		db: db, dialect: dialect, logger: logger,
		queue: make(chan *call, groupLimit), closing: make(chan struct{}), done: make(chan struct{}),
	}
	go w.run()
	return w
}

func (w *writer) transact(ctx context.Context, change func(*transaction) error) error {
	c := &call{change: change, done: make(chan error, 1)}
	select {
	case w.queue <- c:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return errClosed
	}
	select {
	case err := <-c.done:
		return err
	case <-w.done:
		// It was carried out last, or not at all.
		select {
		case err := <-c.done:
			return err
		default:
			return errClosed
		}
	case <-ctx.Done():
		if c.taken.TryLock() {
			return ctx.Err()
		}
		return <-c.done // it is being carried out: the truth is a moment away
	}
}

func (w *writer) close() error {
	w.once.Do(func() { close(w.closing) })
	<-w.done
	return w.forget()
}

func (w *writer) run() {
	defer close(w.done)
	for {
		select {
		case first := <-w.queue:
			w.group(first)
		case <-w.closing:
			return
		}
	}
}

// group carries out the first change and those that wait behind it.
func (w *writer) group(first *call) {
	group := make([]*call, 0, groupLimit)
	for next := first; next != nil; {
		if next.taken.TryLock() {
			group = append(group, next)
		}
		if len(group) == groupLimit {
			break
		}
		select {
		case next = <-w.queue:
		default:
			next = nil
		}
	}
	if len(group) == 0 {
		return
	}
	start := time.Now()
	results := make([]error, len(group))
	if err := w.commit(group, results); err != nil {
		// Nothing of it was kept.
		for i := range results {
			if results[i] == nil {
				results[i] = err
			}
		}
		_ = w.forget() // the connection may be in the middle of something
	}
	if took := time.Since(start); took > slowWrite {
		w.logger.Warn("the disk of the ledger is slow", "took", took, "changes", len(group))
	}
	for i, c := range group {
		c.done <- results[i]
	}
}

// commit carries out the group in one transaction. What one of it does wrong is
// its result; an error is everybody's.
func (w *writer) commit(group []*call, results []error) error {
	ctx := context.Background() // what is carried out is not given up in the middle
	if w.conn == nil {
		conn, err := w.db.Conn(ctx)
		if err != nil {
			return err
		}
		w.conn, w.prepared = conn, map[string]*sql.Stmt{}
	}
	if err := w.say(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for i, c := range group {
		if len(group) > 1 {
			if err := w.say(ctx, "SAVEPOINT change"); err != nil {
				return err
			}
		}
		results[i] = c.change(&transaction{ctx: ctx, dialect: w.dialect, on: w})
		if results[i] == nil {
			continue
		}
		undo := "ROLLBACK TO change"
		if len(group) == 1 {
			undo = "ROLLBACK"
		}
		if err := w.say(ctx, undo); err != nil {
			return errors.Join(results[i], err) // SQLite itself has rolled all of it back
		}
		if len(group) == 1 {
			return nil
		}
	}
	return w.say(ctx, "COMMIT")
}

func (w *writer) say(ctx context.Context, statement string) error {
	_, err := w.exec(ctx, statement)
	return err
}

// exec executes a statement, which stays prepared.
func (w *writer) exec(ctx context.Context, query string, args ...any) (int, error) {
	statement, err := w.prepare(ctx, query) //nolint:sqlclosecheck // it stays prepared
	if err != nil {
		return 0, err
	}
	return changed(statement.ExecContext(ctx, args...))
}

// query executes a query, which stays prepared.
func (w *writer) query(ctx context.Context, query string, args ...any) (rows, error) {
	statement, err := w.prepare(ctx, query) //nolint:sqlclosecheck // it stays prepared
	if err != nil {
		return nil, err
	}
	return statement.QueryContext(ctx, args...)
}

func (w *writer) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if statement := w.prepared[query]; statement != nil {
		return statement, nil
	}
	statement, err := w.conn.PrepareContext(ctx, query)
	if err == nil {
		w.prepared[query] = statement
	}
	return statement, err
}

// forget closes the connection, so that the next transaction begins with a new one.
func (w *writer) forget() error {
	if w.conn == nil {
		return nil
	}
	var problems []error
	for _, statement := range w.prepared {
		problems = append(problems, statement.Close())
	}
	// An open transaction would come back with the connection from the pool.
	_, _ = w.conn.ExecContext(context.Background(), "ROLLBACK")
	problems = append(problems, w.conn.Close())
	w.conn = nil
	return errors.Join(problems...)
}
