package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// rollbackLimit is how long a rollback may take before the connection is given up.
const rollbackLimit = 5 * time.Second

// pipeline is a transaction in PostgreSQL that saves round trips: BEGIN goes
// with its first statement, and its last with COMMIT.
type pipeline struct {
	conn  *pgx.Conn
	begun bool
	// last is to be executed with COMMIT; nil: nothing is.
	last *statement
}

// direct has each statement be a transaction.
type direct struct{ conn *pgx.Conn }

func (d direct) exec(ctx context.Context, text string, args ...any) (int, error) {
	tag, err := d.conn.Exec(ctx, text, args...)
	return int(tag.RowsAffected()), err
}

func (d direct) query(ctx context.Context, text string, args ...any) (rows, error) {
	found, err := d.conn.Query(ctx, text, args...)
	return directRows{found}, err
}

// directRows are what a query gives that was sent directly.
type directRows struct{ pgx.Rows }

func (r directRows) Close() error {
	r.Rows.Close()
	return r.Err()
}

// statement is one with its arguments.
type statement struct {
	text string
	args []any
}

// send sends a statement, and what comes before it.
func (p *pipeline) send(ctx context.Context, text string, args []any) (pgx.BatchResults, error) {
	batch, first := &pgx.Batch{}, !p.begun
	if first {
		batch.Queue("BEGIN")
	}
	batch.Queue(text, args...)
	p.begun = true
	results := p.conn.SendBatch(ctx, batch)
	if first {
		if _, err := results.Exec(); err != nil {
			return nil, closing(results, err)
		}
	}
	return results, nil
}

func (p *pipeline) exec(ctx context.Context, text string, args ...any) (int, error) {
	if len(args) == 0 { // they may be several, which cannot be prepared
		if !p.begun {
			text = "BEGIN; " + text
		}
		p.begun = true
		tag, err := p.conn.Exec(ctx, text)
		return int(tag.RowsAffected()), err
	}
	results, err := p.send(ctx, text, args)
	if err != nil {
		return 0, err
	}
	tag, err := results.Exec()
	return int(tag.RowsAffected()), closing(results, err)
}

func (p *pipeline) query(ctx context.Context, text string, args ...any) (rows, error) {
	results, err := p.send(ctx, text, args)
	if err != nil {
		return nil, err
	}
	found, err := results.Query()
	if err != nil {
		return nil, closing(results, err)
	}
	return pipelineRows{found, results}, nil
}

// pipelineRows are what a query gives that was sent.
type pipelineRows struct {
	pgx.Rows
	results pgx.BatchResults
}

func (r pipelineRows) Close() error {
	r.Rows.Close()
	return r.results.Close()
}

// closing ends what was sent. The first error says what went wrong.
func closing(results pgx.BatchResults, err error) error {
	if closed := results.Close(); err == nil {
		return closed
	}
	return err
}

// commit returns nil only if PostgreSQL says that it committed.
func (p *pipeline) commit(ctx context.Context) error {
	if p.last == nil && !p.begun {
		return nil
	}
	batch := &pgx.Batch{}
	if !p.begun {
		batch.Queue("BEGIN")
	}
	if p.last != nil {
		batch.Queue(p.last.text, p.last.args...)
	}
	batch.Queue("COMMIT")
	p.begun = true
	results := p.conn.SendBatch(ctx, batch)
	for range batch.Len() - 1 {
		if _, err := results.Exec(); err != nil {
			return closing(results, err)
		}
	}
	tag, err := results.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("the transaction was not committed but ended with %s", tag)
	}
	return closing(results, err)
}

// rollback undoes what was done, also if ctx has ended. If it cannot, the
// connection is closed: nobody else must find it in the middle of something.
func (p *pipeline) rollback(ctx context.Context) {
	if !p.begun || p.conn.PgConn().TxStatus() == 'I' {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
	defer cancel()
	if _, err := p.conn.Exec(ctx, "ROLLBACK"); err != nil {
		_ = p.conn.Close(ctx) // the first error says what went wrong
	}
}
