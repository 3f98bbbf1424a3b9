package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// TakeLock gives the lock to the owner if nobody else has it.
func (l *Ledger) TakeLock(ctx context.Context, id springtide.EnvironmentID, name, owner string, ttl time.Duration) (lock jobs.Lock, err error) {
	if err := checkLock(name, owner, ttl); err != nil {
		return lock, err
	}
	err = l.write(ctx, func(tx *transaction) error {
		p, err := tx.ensure(id)
		if err != nil {
			return err
		}
		// Who has it keeps its fence; whoever finds it free, or run out, gets a new one.
		taken, err := all(tx, scanLock(p.now), `INSERT INTO locks (environment, name, owner, fence, taken, expires)
			SELECT $1, $2, $3, `+tx.dialect.lockFence+`, $4, $5 WHERE true
			ON CONFLICT (environment, name) DO UPDATE SET owner = excluded.owner, expires = excluded.expires,
			fence = CASE WHEN locks.owner = excluded.owner AND locks.expires > $6 THEN locks.fence ELSE excluded.fence END,
			taken = CASE WHEN locks.owner = excluded.owner AND locks.expires > $6 THEN locks.taken ELSE excluded.taken END
			WHERE locks.owner = excluded.owner OR locks.expires <= $6 RETURNING name, owner, fence, taken, expires`,
			p.environment, name, owner, p.now.calendar, in(p.now.uptime, ttl), p.now.uptime)
		if err != nil {
			return err
		}
		if tx.dialect.spendFences != "" {
			if _, err := tx.exec(tx.dialect.spendFences, 1); err != nil {
				return err
			}
		}
		if len(taken) == 0 {
			return tx.lockTaken(p, name)
		}
		lock = taken[0]
		return nil
	})
	return lock, err
}

func checkLock(name, owner string, ttl time.Duration) error {
	switch {
	case name == "" || len(name) > keyLimit || !text(name):
		return springtide.Errorf(springtide.Invalid, "the name of a lock is text of at most %d bytes", keyLimit).
			WithHint("use a shorter one, such as a hash of it")
	case owner == "" || len(owner) > keyLimit || !text(owner):
		return springtide.Errorf(springtide.Invalid, "the owner of a lock is text of at most %d bytes", keyLimit).
			WithHint("use a name that nobody else has, such as the run's")
	}
	return checkTTL(ttl)
}

func checkTTL(ttl time.Duration) error {
	if ttl < time.Millisecond {
		return springtide.Errorf(springtide.Invalid, "a lock cannot be taken for %s", ttl).
			WithHint("say for how long it is good without being renewed, such as 30s")
	}
	return nil
}

// lockTaken says who has a lock.
func (tx *transaction) lockTaken(p place, name string) error {
	owner, err := one(tx, errCollision, value[string], "SELECT owner FROM locks WHERE environment = $1 AND name = $2", p.environment, name)
	if err != nil {
		return err
	}
	return springtide.Errorf(springtide.Conflict, "the lock %s is held by %s", name, owner).
		WithHint("wait until it is released, or its time has run out")
}

// RenewLock keeps a lock for another ttl.
func (l *Ledger) RenewLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence, ttl time.Duration) (lock jobs.Lock, err error) {
	if err := checkTTL(ttl); err != nil {
		return lock, err
	}
	err = l.write(ctx, func(tx *transaction) error {
		p, err := tx.place(id)
		if err != nil {
			return err
		}
		lost := springtide.Errorf(springtide.Conflict, "the lock %s was lost", name).
			WithHint("stop what it guards, and take it again: somebody else may have had it meanwhile")
		lock, err = one(tx, lost, scanLock(p.now), `UPDATE locks SET expires = $1 WHERE environment = $2 AND name = $3 AND fence = $4 AND expires > $5
			RETURNING name, owner, fence, taken, expires`, in(p.now.uptime, ttl), p.environment, name, int64(fence), p.now.uptime)
		return err
	})
	return lock, err
}

// ReleaseLock gives a lock back.
func (l *Ledger) ReleaseLock(ctx context.Context, id springtide.EnvironmentID, name string, fence springtide.Fence) error {
	return l.write(ctx, func(tx *transaction) error {
		environment, err := tx.environment(id)
		if err != nil {
			return err
		}
		released, err := tx.exec("DELETE FROM locks WHERE environment = $1 AND name = $2 AND fence = $3", environment, name, int64(fence))
		tx.awake = released > 0
		return err
	})
}

// Locks gives the locks that somebody has, in order of name.
func (l *Ledger) Locks(ctx context.Context, id springtide.EnvironmentID) ([]jobs.Lock, error) {
	tx := l.view(ctx)
	p, err := tx.place(id)
	if err != nil {
		return nil, l.problem(ctx, err)
	}
	held, err := all(tx, scanLock(p.now), "SELECT name, owner, fence, taken, expires FROM locks WHERE environment = $1 AND expires > $2", p.environment, p.now.uptime)
	slices.SortFunc(held, func(a, b jobs.Lock) int { return cmp.Compare(a.Name, b.Name) })
	return held, l.problem(ctx, err)
}

func scanLock(now moment) func(row) (jobs.Lock, error) {
	return func(r row) (lock jobs.Lock, err error) {
		var taken, expires int64
		err = r.Scan(&lock.Name, &lock.Owner, &lock.Fence, &taken, &expires)
		lock.Taken, lock.Left = at(taken), elapsed(expires-now.uptime)
		return lock, err
	}
}
