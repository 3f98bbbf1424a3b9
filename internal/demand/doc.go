// Package demand remembers what was asked of each process, minute by minute for 90
// days, and what its instances used.
//
//	edge ── EdgeReport ──┐              ┌──▶ store: an hour a row
//	engine ── Snapshot ──┼─▶ Recorder ──┤
//	engine ── Usage ─────┤     ▲   │    └──▶ store: histograms of use
//	scaler ── Needed ────┘     │   └── Expected, Needs ──▶ scaler
//	                           └── History, Observed ──▶ API
//
// What was asked and is not yet in the store is at most ten seconds old, what was
// used a minute. A minute that was cut
// short by the end of the control plane is taken up again by the next one: sums go
// on from what is stored, and peaks stay.
//
// An hour is packed into columns of differences and compressed: a process that is
// busy all day takes about 17 kB a day (see the test), one that is idle 1.5 kB.
package demand
