package ledger

import (
	"math/rand/v2"
	"slices"

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
	tx.count(queue, func(c *counts) {
		if of := c.of(state); of != nil {
			*of += more
		}
	})
}

// countAvailable notes that a run became available.
func (tx *transaction) countAvailable(queue int64, kind springtide.RunKind) {
	tx.awake = true
	if kind == springtide.RunCommand {
		tx.count(queue, func(c *counts) { c.arrived++ })
	}
}

// saveCounts writes what was counted. It comes last, so that others wait for
// the rows no longer than for the commit.
func (tx *transaction) saveCounts() error {
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
	_, err := tx.exec(query, args...)
	return err
}
