package ledger

import (
	"context"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/server"
)

// prepareAgain is how soon a server that was away is looked for again.
const prepareAgain = time.Second

// preparation brings the tables of a server up to date that did not answer when
// the ledger was opened: before the first change.
type preparation struct {
	prepare func(ctx context.Context) error

	mutex sync.Mutex
	done  bool
	tried time.Time
	err   error
}

func (p *preparation) once(ctx context.Context) error {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.done || p.err != nil && time.Since(p.tried) < prepareAgain {
		return p.err
	}
	p.err = p.prepare(ctx)
	p.done, p.tried = p.err == nil, time.Now()
	return p.err
}

type transactor = func(ctx context.Context, change func(*transaction) error) error

// before gives a transactor that prepares first.
func (p *preparation) before(transact transactor) transactor {
	return func(ctx context.Context, change func(*transaction) error) error {
		if err := p.once(ctx); err != nil {
			return err
		}
		return transact(ctx, change)
	}
}

// prepareOrWait prepares now or, if whoever opens the ledger is patient, when
// the server answers.
func (l *Ledger) prepareOrWait(ctx context.Context, patient bool, prepare func(ctx context.Context) error) error {
	err := prepare(ctx)
	if err != nil && !patient && server.Refused(err) {
		return server.AsInvalid(err)
	}
	if err == nil || !patient || springtide.KindOf(err) != springtide.Unavailable {
		return err
	}
	l.logger.Warn("the ledger is away; nothing of jobs happens until it is back", "error", err)
	waiting := &preparation{prepare: prepare, err: err, tried: time.Now()}
	l.transact, l.transactOne = waiting.before(l.transact), waiting.before(l.transactOne)
	return nil
}
