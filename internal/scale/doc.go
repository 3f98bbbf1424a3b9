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
// ([History]). [Scaler] asks it and carries out the answer. What
// minutes needed ([Past]) and what was learnt ([Lesson]) is kept over a restart;
// demand is watched anew, and until then nothing is taken away. A decision can be
// made again from its [Evidence].
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
//     readiness; the noise of the arrivals, 1 if they are independent. No service
//     time is learnt while instances start, and 2 s longer: for 3 s, and then for as
//     long as 80% of the machine's processors are in use (or for 10 s, where that
//     is not measured). Requests are slow then, and more starts would make them slower.
//  2. The rate is the mean of the last 6 s, or that of the last 2 s less 1.5
//     standard deviations, or of the last second, half or quarter of one less 3, if
//     those are more.
//  3. A rise goes on for a cold start: where a straight line through the last four
//     times 1, 2, 4 or 8 s climbs by more than noise does, the rate that is expected
//     by then counts (see rise.go): in a straight line, or at its pace where a cold
//     start is longer than 8 s. Not where it is a step, and no further than to the highest rate of
//     the last minutes before it has passed that.
//  4. Busy slots are rate x service time. Requests that will be held when an order
//     of now is ready, with what was ordered before counted as it comes, and no
//     more than arrive while one is held or than edges hold, need as many more as work them off in 2 s: held x service time / 2 s.
//     A rise counts for that only once more are held than are served in a twelfth
//     of a second.
//  5. Head-room is two standard deviations of the busy slots over the time of a
//     request and an eighth of a second, in which nobody notices that it waited; or
//     as many slots again where that is more, up to one instance. Noise is what it
//     is for: while half of it is left it orders nothing by itself.
//  6. The need is the sum of 4 and 5, of which what works off those who are held
//     and head-room are the same slots, so that the more of both counts; divided by
//     the slots of an instance, rounded up. What is being served now keeps its slots in any case. More are ordered at once,
//     and at once again with any request that is held.
//  7. What was announced ([Floor]) is there in time: ordered as long before as 99
//     of 100 starts take, and half a minute. While about half of it or less is
//     needed it is halved, three minutes after it began (or five cold starts, if
//     those are more) and every three minutes.
//  8. The median need of the same minute of the last five hours, seven days or four
//     weeks is kept ready ([Forecast]), at most 95% full, up to twice what
//     there is and two more, where that is a quarter and more than one more than there
//     is; of each while such forecasts were wrong by less than 35% of late.
//  9. Fewer are needed once the need was lower for a whole window (ten cold
//     starts, but 90 to 180 s; so much longer for each time within an hour that
//     demand made it grow within 90 s after it had shrunk, or within 10 minutes and
//     too late for some, up to five and a half minutes): the highest 30 s mean in it
//     must leave the remaining instances at most 95% full. Where it was too late for
//     some, the means are over a half of that, a third, a quarter, 5 s at least, so that
//     a pulse of seconds is not averaged away; what was being served is a mean of a
//     minute, since a queue that is served at once is no demand that lasts. Then a tenth goes every 5
//     s, one at least; nothing within 90 s of a scale-out, and no instance that has
//     not been ready for two minutes. Of more than half as many again as were needed
//     in the window, and one, half goes, 20 s after a scale-out and whatever its age: it was
//     ordered for requests that were held.
//  10. The last one stops, where none is allowed, once nothing has been under way
//     for Idle, and for ten cold starts. The first held request starts one.
//
// Spare instances ([springtide.Scale]) are added to any need.
//
// # Other targets
//
// What an instance is to have may be said in other units too; the highest need
// counts, and the sentence says whose it is. Slots go on to limit what an instance
// is given. Rules 3 and 6 to 10 hold for each of them.
//
//   - Requests a second: the rate of the last minute, or of now less two standard
//     deviations, or the expected one, divided by what one instance is to have. No
//     head-room: who says a rate has thought of it.
//   - Latency (p95): how many requests at a time an instance may have so that 95 of
//     100 stay below the target is learnt of its [Curve], from seconds in which
//     nothing was held and nothing changed. They are its slots in rules 2 to 6, with
//     the service time that goes with them. So the queue that makes requests slow is
//     never there: instances are ordered for the rate that would make it. Where the
//     latency at no load exceeds the target no number of instances holds it: then a
//     quarter more than that is kept, and the sentence says so.
//   - Processors: the cores in use over what one instance is to use, times the rate
//     that is expected over the one they are used for; 10% more are tolerated.
//
// Before a first answer the service time is not known. Then the requests that
// are there, held and being served, are the slots that are needed.
//
// StableFor replaces the window of rule 9; under 90 s all other times of rules 9
// and 10 shrink with it, which is for tests and demonstrations.
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
//  6. More are ordered at once; fewer by rules 9 and 10 above, where the highest
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
//	8 to 13: 391 req/s, 517 expected in 4.1 s (a cold start), x 200 ms = 103.4 busy slots,
//	3 held, 80 in 4.1 s x 200 ms / 2 s = 8 more or, if that is more, 22 slots of head-room, 10 slots each
package scale
