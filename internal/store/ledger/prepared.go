package ledger

import (
	"context"
	"database/sql"
	"sync"
)

// preparedLimit is how many statements stay prepared at most: listings can be
// asked for in many ways.
const preparedLimit = 100

// prepared is a pool whose statements stay prepared: to prepare one costs SQLite
// more than to execute it.
type prepared struct {
	db         *sql.DB
	mutex      sync.Mutex
	statements map[string]*sql.Stmt
}

func (p *prepared) exec(ctx context.Context, query string, args ...any) (int, error) {
	return pool{p.db}.exec(ctx, query, args...)
}

func (p *prepared) query(ctx context.Context, query string, args ...any) (rows, error) {
	statement, err := p.prepare(ctx, query) //nolint:sqlclosecheck // it stays prepared
	if err != nil {
		return nil, err
	}
	if statement == nil {
		return pool{p.db}.query(ctx, query, args...)
	}
	return statement.QueryContext(ctx, args...)
}

// prepare gives the statement of a query, nil if there are too many.
func (p *prepared) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mutex.Lock()
	known, full := p.statements[query], len(p.statements) >= preparedLimit
	p.mutex.Unlock()
	if known != nil || full {
		return known, nil
	}
	statement, err := p.db.PrepareContext(ctx, query) // nobody else waits for it
	if err != nil {
		return nil, err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if known = p.statements[query]; known != nil {
		return known, statement.Close() //nolint:sqlclosecheck // somebody was faster
	}
	p.statements[query] = statement
	return statement, nil
}
