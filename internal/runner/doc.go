// Package runner leases runs from a platform and carries them out: each is a
// command below an init of its own.
//
//	            lease             prepare            start               over
//	platform ──────────▶ claimed ────────▶ prepared ───────▶ running ──────────▶ told
//	                                          │                 │                  │
//	                          another has it, │                 │ the lease is     │ accepted, or
//	                     or nobody can be told│                 │ lost             │ another has it
//	                                          ▼                 ▼                  ▼
//	                                       discarded         killed            forgotten
//
// A run is prepared before the platform is told that it starts: its init waits
// for the order, so that what is told begins at once, and what is refused never
// does.
//
// A lease is good until so long after the sending of the request that renewed it
// last, by CLOCK_BOOTTIME, which goes on while the machine sleeps. The init is
// told until when, at every renewal, and kills all of the run when that has come
// or the runner is dead: whether the runner is killed, stopped or asleep, nothing
// of a run is left when the platform gives it to another. Should the init be
// killed, its children fall to the runner, which kills them.
package runner
