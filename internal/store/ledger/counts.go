package ledger

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/springtide/springtide"
)

// counts are what a queue is told apart by over time. The first four are of
// those for a worker of the app, the others how many ended runs are remembered.
type counts struct {
	arrived, finished, busy, waited             int64
	succeeded, dead, cancelled, skipped, missed int64
}

const countColumns = "queue bigint, shard bigint, arrived bigint, finished bigint, busy bigint, waited bigint, " +
	"succeeded bigint, dead bigint, cancelled bigint, skipped bigint, missed bigint"

// of gives the count of a state in which nothing more happens; nil for others.
func (c *counts) of(state springtide.RunState) *int64 {
	switch state {
	case springtide.RunSucceeded:
		return &c.succeeded
	case springtide.RunDead:
		return &c.dead
	case springtide.RunCancelled:
		return &c.cancelled
	case springtide.RunSkipped:
		return &c.skipped
	case springtide.RunMissed:
		return &c.missed
	}
	return nil
}

// count changes the counts of a queue. They are written once, at the end of the
// transaction.
func (tx *transaction) count(queue int64, change func(*counts)) {
	if tx.counts == nil {
		tx.counts = map[int64]counts{}
	}
	c := tx.counts[queue]
	change(&c)
	tx.counts[queue] = c
}

// countState notes that so many more runs of a queue are in a state.
func (tx *transaction) countState(queue int64, state springtide.RunState, more int64) {
	if !state.Over() {
		return
	}
	tx.exact = true
	tx.count(queue, func(c *counts) { *c.of(state) += more })
}

// countAvailable notes that a run became available.
func (tx *transaction) countAvailable(queue int64, kind springtide.RunKind) {
	tx.awake = true
	if kind == springtide.RunCommand {
		tx.count(queue, func(c *counts) { c.arrived++ })
	}
}

// add adds others.
func (c *counts) add(o counts) {
	c.arrived, c.finished, c.busy, c.waited = c.arrived+o.arrived, c.finished+o.finished, c.busy+o.busy, c.waited+o.waited
	c.succeeded, c.dead, c.cancelled = c.succeeded+o.succeeded, c.dead+o.dead, c.cancelled+o.cancelled
	c.skipped, c.missed = c.skipped+o.skipped, c.missed+o.missed
}

// unsaved are counts that are written at the next occasion, at the latest by the
// next tick: only rates are told from them, which a crash may bend a little.
type unsaved struct {
	mutex sync.Mutex
	all   map[int64]counts
}

func (u *unsaved) add(more map[int64]counts) {
	if len(more) == 0 {
		return
	}
	u.mutex.Lock()
	defer u.mutex.Unlock()
	if u.all == nil {
		u.all = map[int64]counts{}
	}
	for queue, c := range more {
		c.add(u.all[queue])
		u.all[queue] = c
	}
}

func (u *unsaved) take() map[int64]counts {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	taken := u.all
	u.all = nil
	return taken
}

// saveUnsaved writes them.
func (l *Ledger) saveUnsaved(ctx context.Context) error {
	l.unsaved.mutex.Lock()
	none := len(l.unsaved.all) == 0
	l.unsaved.mutex.Unlock()
	if none {
		return nil
	}
	return l.write(ctx, func(tx *transaction) error {
		tx.exact = true
		return nil
	})
}

// of gives those of a queue.
func (u *unsaved) of(queue int64) counts {
	u.mutex.Lock()
	defer u.mutex.Unlock()
	return u.all[queue]
}

// saveCounts writes what was counted, and others. It comes last, so that others
// wait for the rows no longer than for the commit.
func (tx *transaction) saveCounts(others map[int64]counts) error {
	for queue, c := range others {
		tx.count(queue, func(sum *counts) { sum.add(c) })
	}
	shard := rand.Int64N(int64(tx.dialect.shards))
	var rows [][]any
	for queue, c := range tx.counts {
		if c != (counts{}) {
			rows = append(rows, []any{queue, shard, c.arrived, c.finished, c.busy, c.waited, c.succeeded, c.dead, c.cancelled, c.skipped, c.missed})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	// Everybody takes the rows in the same order, so that nobody waits in a circle.
	slices.SortFunc(rows, func(a, b []any) int { return int(a[0].(int64) - b[0].(int64)) })
	query, args := tx.with(`INSERT INTO queue_counts AS q (queue, shard, arrived, finished, busy, waited, succeeded, dead, cancelled, skipped, missed)
		SELECT * FROM %s WHERE true ON CONFLICT (queue, shard) DO UPDATE SET
		arrived = q.arrived + excluded.arrived, finished = q.finished + excluded.finished,
		busy = q.busy + excluded.busy, waited = q.waited + excluded.waited,
		succeeded = q.succeeded + excluded.succeeded, dead = q.dead + excluded.dead,
		cancelled = q.cancelled + excluded.cancelled, skipped = q.skipped + excluded.skipped,
		missed = q.missed + excluded.missed`, countColumns, rows)
	if p, ok := tx.on.(*pipeline); ok {
		p.last = &statement{query, args}
		return nil
	}
	_, err := tx.exec(query, args...)
	return err
}
