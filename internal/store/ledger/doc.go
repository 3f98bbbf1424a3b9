// Package ledger keeps the ledger of jobs in SQLite or PostgreSQL. What a
// ledger promises is said at jobs.Ledger; this is how it is kept.
//
// A run moves only by an UPDATE that names what it moves from. An attempt is
// named by its fence, and whoever writes for it names the fence and a state in
// which the attempt has the run; so the second of two writers changes nothing,
// sees that, and says so. The fence that was settled last, and its verdict,
// stay with the run: who repeats an outcome is given the same answer.
//
//	claim        available → claimed, attempt+1, a new fence, a lease
//	start        claimed → running
//	finish       claimed, running → succeeded, dead, cancelled, scheduled (a back-off), available
//	tick         claimed, running → the same, if the lease has run out
//	             scheduled, waiting → available; scheduled, waiting, available → missed
//
// Slots are recorded by whoever has the row of their schedule locked; that row
// remembers the last one, and a unique index holds even if it did not.
//
// There is one body of SQL. What SQLite and PostgreSQL say differently is in
// the type dialect; how a transaction is made, in sqlite.go and postgres.go.
// Times are microseconds: of the calendar since 1970, or of uptime.
package ledger
