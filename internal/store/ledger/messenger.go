package ledger

import (
	"context"
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// channel is what servers on one PostgreSQL wake each other by.
	channel = "springtide_ledger"
	// betweenMessages is how long to wait after a message before the next.
	betweenMessages = 10 * time.Millisecond
	// checkEvery is how often a silent connection is tried.
	checkEvery = 30 * time.Second
	// The pauses between attempts to connect.
	firstPause, longestPause = 100 * time.Millisecond, 5 * time.Second
)

// messenger tells other servers that there is something to do, and hears it
// from them; and it looks after transactions that stand still. Messages are no part of the transactions that they are about:
// those would wait for each other, since PostgreSQL keeps messages in order.
type messenger struct {
	config *pgx.ConnConfig
	db     *sql.DB
	wake   func()
	logger *slog.Logger
	name   string
	news   chan struct{}
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func newMessenger(config *pgx.ConnConfig, wake func(), logger *slog.Logger) *messenger {
	ctx, cancel := context.WithCancel(context.Background())
	config = config.Copy()
	config.RuntimeParams["synchronous_commit"] = "off" // a message need not outlive the server
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(1)
	m := &messenger{
		config: config, db: db, wake: wake, logger: logger,
		name: strconv.FormatUint(rand.Uint64(), 36), news: make(chan struct{}, 1), cancel: cancel,
	}
	m.done.Go(func() { m.speak(ctx) })
	m.done.Go(func() { m.listen(ctx) })
	m.done.Go(func() { (&standstills{db: db, logger: logger}).run(ctx) })
	return m
}

// announce has the others told soon.
func (m *messenger) announce() {
	select {
	case m.news <- struct{}{}:
	default:
	}
}

func (m *messenger) close() {
	m.cancel()
	m.done.Wait()
	_ = m.db.Close() // nothing of ours is in it
}

func (m *messenger) speak(ctx context.Context) {
	for {
		select {
		case <-m.news:
		case <-ctx.Done():
			return
		}
		if _, err := m.db.ExecContext(ctx, "SELECT pg_notify($1, $2)", channel, m.name); err != nil && ctx.Err() == nil {
			m.logger.Debug("other servers were not told", "error", err) // they look by themselves, too
		}
		pause(ctx, betweenMessages)
	}
}

func (m *messenger) listen(ctx context.Context) {
	wait := firstPause
	for ctx.Err() == nil {
		err := m.hear(ctx, func() { wait = firstPause })
		if ctx.Err() != nil {
			return
		}
		m.logger.Debug("cannot hear other servers", "error", err)
		pause(ctx, wait)
		wait = min(2*wait, longestPause)
	}
}

// hear listens on one connection until it is gone.
func (m *messenger) hear(ctx context.Context, connected func()) error {
	conn, err := pgx.ConnectConfig(ctx, m.config.Copy())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	connected()
	m.wake() // there may have been news that nobody heard
	for {
		waiting, cancel := context.WithTimeout(ctx, checkEvery)
		heard, err := conn.WaitForNotification(waiting)
		silent := waiting.Err() != nil
		cancel()
		switch {
		case err == nil && heard.Payload != m.name:
			m.wake()
		case err == nil:
		case silent && ctx.Err() == nil:
			if err := conn.Ping(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-ctx.Done():
	}
}
