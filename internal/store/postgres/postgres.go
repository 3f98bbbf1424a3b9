// Package postgres is the store in a database of PostgreSQL, which control planes
// on several servers share.
//
// Whoever writes locks the one row of the table leadership first: writes come one
// after the other, as they do in SQLite, and each knows who leads when it is
// committed. Nobody waits for that who only reads.
//
// One of the control planes leads, and its Store knows its token:
//
//	following ──── Lead, when nobody led for a while ────▶ leading
//	                                                          │ another one leads
//	                                                          ▼
//	                                                        deposed
//
// A Store that follows writes what its user wants. One that leads writes as long
// as its token is the newest, and a deposed one never again: whatever a leader
// that was stopped in the middle still has in hand is refused.
package postgres

import (
	"context"
	"database/sql"
	"log/slog"
	"sync/atomic"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/server"
	"github.com/springtide/springtide/internal/store/tables"
)

var _ store.Store = (*Store)(nil)

const (
	// owner is whom errors of PostgreSQL are about.
	owner = "store"
	// connections is how many there are at most: one writes.
	connections = 5
)

// Store is a store.Store in a schema of its own, springtide_store.
type Store struct {
	*tables.Store
	host   string
	logger *slog.Logger
	db     *sql.DB
	// writing is held, by a value in it, by whoever writes.
	writing chan struct{}
	// token is that of our lead, 0 before the first.
	token atomic.Int64
}

// Open opens the database at a URL and brings its tables up to date. The error is
// Invalid if the URL, or what it says of user and database, is wrong, and
// Unavailable if the server does not answer now.
func Open(ctx context.Context, location string, logger *slog.Logger) (*Store, error) {
	config, err := server.Parse(owner, location, map[string]string{"search_path": "springtide_store"})
	if err != nil {
		return nil, err
	}
	s := &Store{host: config.Host, logger: logger, db: server.Open(config, connections), writing: make(chan struct{}, 1)}
	s.Store = tables.New(tables.Database{Write: s.write, Note: s.note, Reader: querier{s.db}, Problem: s.problem})
	if err := s.migrate(ctx); err != nil {
		_ = s.db.Close()
		if server.Refused(err) {
			err = server.AsInvalid(err)
		}
		return nil, err
	}
	return s, nil
}

// Close ends all connections.
func (s *Store) Close() error { return s.db.Close() }

// LastSequence implements store.Events.
func (s *Store) LastSequence(ctx context.Context) (sequence int64, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_sequence_seq`).Scan(&sequence)
	return sequence, s.problem(ctx, err)
}

var errNotLeading = springtide.Errorf(springtide.Unavailable, "store: another control plane leads now, and this one writes no more").
	WithHint("it follows once it has started again; ask the one that leads")
