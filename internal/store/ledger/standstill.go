package ledger

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/springtide/springtide/internal/store/server"
)

const (
	// lookEvery is how often transactions are looked for that stand still.
	lookEvery = 3 * time.Second
	// stillFor is how long one may wait for its client before it is ended, and
	// lockedFor for a lock: a little longer than PostgreSQL itself should allow.
	stillFor  = 8 * time.Second
	lockedFor = server.LockTimeout + 5*time.Second
)

// standstill is a statement of a transaction, or a pause in it, that was seen waiting.
type standstill struct {
	pid   int
	since int64 // by PostgreSQL's clock: it only tells one from the next
}

// standstills ends transactions of ours that stand still and so keep what others
// wait for: their server was stopped in the middle, or it is gone. PostgreSQL
// would end them, and circles of them, by itself, but by its wall clock: if that
// goes back by an hour, an hour later.
type standstills struct {
	db     *sql.DB
	logger *slog.Logger
	seen   map[standstill]time.Time
}

func (s *standstills) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, lookEvery)
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.logger.Debug("nobody looks for transactions that stand still", "error", err)
		}
	}
}

// look ends what it has seen for too long.
func (s *standstills) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	const since = "(extract(epoch FROM state_change) * 1000000)::bigint"
	waiting, err := all(&transaction{ctx: ctx, on: pool{s.db}}, func(r row) (w struct {
		standstill
		forLock bool
	}, err error,
	) {
		err = r.Scan(&w.pid, &w.since, &w.forLock)
		return w, err
	}, `SELECT pid, `+since+`, wait_event_type = 'Lock' FROM pg_stat_activity WHERE application_name = $1 AND datname = current_database()
		AND usename = current_user AND xact_start IS NOT NULL AND wait_event_type IN ('Lock', 'Client')`, server.ApplicationName)
	if err != nil {
		return err
	}
	now, seen := time.Now(), map[standstill]time.Time{}
	for _, w := range waiting {
		first, known := s.seen[w.standstill]
		if !known {
			first = now
		}
		seen[w.standstill] = first
		limit := stillFor
		if w.forLock {
			limit = lockedFor
		}
		if now.Sub(first) < limit {
			continue
		}
		s.logger.Warn("a transaction stands still in the way of others; it is ended", "pid", w.pid, "for", now.Sub(first))
		if _, err := s.db.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND "+since+" = $2", w.pid, w.since); err != nil {
			return err
		}
	}
	s.seen = seen
	return nil
}
