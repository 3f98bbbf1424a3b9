// Package jobs is the platform's work: runs in queues, schedules that make runs,
// and locks. The [Ledger] is the book of it, and keeps the promise: each slot is
// recorded once, one result of a run is accepted, and a restart of a run has the
// same ID and a higher fence. The [Service] makes the ledger quick and pleasant:
// it lets time pass, wakes who waits, and carries out what is the platform's own.
//
//	apps, people ── Enqueue ──▶ Service ──▶ Ledger (SQLite or PostgreSQL)
//	                             ▲ │ ▲                 │
//	runners ── Lease, Heartbeat ─┘ │ └──── Wakeups ────┘
//	           Complete            ▼
//	                     its own runner ──▶ Executors: calls, mails
//
// # Who moves a run
//
//	             Enqueue, or Tick for a slot
//	               │              │
//	               ▼              ▼
//	          scheduled        waiting (for an earlier run of its schedule)
//	               │ Tick         │ Tick, or Finish of the earlier
//	               ▼              ▼
//	Retry ───▶ available ◀────────┘ ◀──────────────────┐
//	               │ Claim: a new attempt and fence    │
//	               ▼                                   │
//	            claimed ── Finish returned, Tick lost ─┤ no failure counted
//	               │ Start                             │
//	               ▼                                   │
//	            running ── Finish returned ────────────┘
//	               ├───── Finish succeeded ─────────▶ succeeded
//	               ├───── Finish failed, Tick lost ─▶ scheduled: its back-off
//	               └───── the same, the last time ──▶ dead
//
// Cancel ends at once what no runner has, and asks the runner otherwise.
//
// Claim, Start, Heartbeat and Finish name run and fence, the [Hold]: what an
// earlier attempt says is refused. A runner that has not been answered for
// [SilentFor] ends its runs, before the ledger gives them to another at [LeaseFor].
//
// # How an enqueued run finds its runner
//
// A runner's Lease that finds nothing waits in the lobby of its environment. What
// this server learns of, an enqueued run, wakes as many as are needed. What the
// ledger merely hints at wakes one scout for each environment; who finds as much
// as it asked for sends two more. Hints may be lost, so each second a scout looks
// anyway: a thousand idle runners of an environment cost a claim each second. Who
// comes where another of his kind waits already does not claim either.
package jobs
