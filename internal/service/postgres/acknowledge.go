package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide/internal/service"
)

// Acknowledge returns when the standby has a change that was made once all
// sessions wait for it. Whether they wait is up to the checkpointer, which has read
// the settings by the end of a checkpoint that is asked for after a new session has.
func (d *Driver) Acknowledge(ctx context.Context, s service.Server) error {
	return within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		for {
			names, err := ask[string](ctx, conn, "select current_setting('synchronous_standby_names')")
			if err != nil {
				return err
			}
			if names != "" {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond): // The postmaster is about to read them.
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return do(ctx, conn, "checkpoint", "set synchronous_commit = on", "select pg_logical_emit_message(true, 'springtide', '')")
	})
}
