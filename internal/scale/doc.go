// Package scale decides how many instances each group has, from what the edges
// see of its requests, and for workers from how long the runs of their queues
// wait.
//
//	ledger ── Work ─────────┐
//	edge ── EdgeReport ──▶ Meter ── Observation, History ──▶ Decide ──▶ Verdict
//	engine ── Snapshot ──▶   ▲                                 ▲          │
//	                         └───────────── Scaler ────────────┘          ▼
//	                                          ▲                      SetReplicas
//	                                       Targets                 RecordDecision
//
// [Meter] folds reports into seconds. [Decide] is a pure function of the time,
// what is wanted ([Spec]), what is seen ([Observation]) and what was seen before
// ([History]). [Scaler] asks it and carries out the answer. Nothing is kept over
// a restart: what is learnt is learnt again, and until then nothing is taken
// away.
//
// # The law
//
// An instance serves at most so many requests at a time (its slots: Concurrency);
// what exceeds all slots is held at the edge. So the question is how many slots
// are needed, and Little's law answers it: requests per second times the seconds
// that each takes.
//
//  1. Learnt of each release, and inherited by the next: the mean service time,
//     without waiting; the cold start, the 90th percentile from an order to
//     readiness; the noise of the arrivals, 1 if they are independent.
//  2. The rate is the mean of the last 6 s, or that of the last second if it is
//     more than 4.5 standard deviations above.
//  3. Busy slots are rate x service time. Held requests need as many more as work
//     them off in 2 s: held x service time / 2 s.
//  4. Head-room is two standard deviations of the busy slots, or as many again
//     where that is more, up to one instance.
//  5. The need is the sum, divided by the slots of an instance, rounded up. What
//     is being served now keeps its slots in any case. More are ordered at once,
//     and at once again with any request that is held.
//  6. Fewer are needed once the need was lower for a whole window (ten cold
//     starts, but 90 to 180 s): the highest 30 s mean in it must leave the
//     remaining instances at most 95% full. Then a tenth goes every 5 s, one at
//     least; nothing within 90 s of a scale-out, and no instance that has not
//     been ready for two minutes.
//  7. The last one stops, where none is allowed, once nothing has been under way
//     for Idle, and for ten cold starts. The first held request starts one.
//
// Before a first answer the service time is not known. Then the requests that
// are there, held and being served, are the slots that are needed.
//
// StableFor replaces the window of rule 6; under 90 s all other times of rules 6
// and 7 shrink with it, which is for tests and demonstrations.
//
// The number that is decided on is the total that is wanted, so what was ordered
// and is on its way is never ordered again.
//
// # The law of workers
//
// A group that takes runs from queues is decided on by [DecideWork]; an instance
// has so many runs at a time (its slots: Concurrency, one at least), and none
// should wait for longer than the target (Wait).
//
//  1. Learnt of each queue: the rate, the mean of the last minute, or that of
//     both halves of the last 6 s if it is more than 4.5 standard deviations
//     above; and the mean time of a run, the last ones counting most, 1 s until
//     one has ended.
//  2. To keep up takes rate x time / 80% slots, but no more than there are runs:
//     those that are there, and those that arrive within the target.
//  3. To take what waits in time takes (waiting + under way) x time / time left
//     slots, where the time left is the target less the age of the oldest, but
//     no less than a cold start: what is ordered now helps no sooner. Where a run
//     takes longer than that, each needs a slot of its own.
//  4. What is under way keeps its slots; a queue that lets only so many run at a
//     time needs no more.
//  5. The need is the larger of the sums of 2 and of 3 over the queues, divided by
//     the slots of an instance, rounded up; one if anything waits.
//  6. More are ordered at once; fewer by rules 6 and 7 above, where the highest
//     need within the window counts. At zero a run that waits starts one; the
//     last stops once nothing waited or was under way for Idle.
//
// Of a ledger that was silent for ten seconds nothing is known: then nothing
// changes.
//
// # The states of a group
//
//		at zero ── a request is held ──▶ following ◀──────── needs more ───────┐
//		   ▲                              │     ▲                              │
//		   │                     needs less     └── helped ── stuck ◀──────────┤
//		   │                              ▼                                    │
//		   │                           waiting ────────────────────────────────┤
//		   │                              │ the window is over                 │
//		   │                              ▼                                    │
//		   └─ nothing for Idle ─ at the floor ◀─ shrinking ────────────────────┘
//
//	  - following: it has what it needs, or that was ordered just now.
//	  - waiting: it needs less, but not for long enough; or the demand has not been
//	    watched for long enough, as after a restart of the control plane; or no edge
//	    reports, so that nothing is known.
//	  - shrinking: it is on its way down, a step at a time.
//	  - stuck: it needs more and may not have it (the maximum), cannot have it (the
//	    machine is full), or would not gain by it (none becomes ready).
//	  - at the floor (the minimum, or the last instance) and at zero: without demand
//	    nothing is decided, and no timer runs but that of the last instance's end.
//
// Every verdict has a [Reason] and a sentence. The numbers in a sentence are
// rounded before they are used, so they recompute to what was decided:
//
//	8 to 10: 391 req/s x 200 ms = 78.2 busy slots, 3 held x 200 ms / 2 s = 0.3 more,
//	17.7 slots of head-room, 10 slots each
package scale
