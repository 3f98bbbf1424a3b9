// Package service runs the servers that keep an app's state: it makes, starts,
// adopts, watches, replicates and promotes them, whatever their kind. What
// depends on the kind is a [Driver]'s.
//
// A server is in the hands of one goroutine (cluster.run), one for each service:
//
//	         Create, Follow        launch            Ready              Settle
//	recorded ─────────────▶ made ──────────▶ running ──────▶ ready ─────────────▶ settled
//	                         ▲                  │ ends         │ ends, hangs        │
//	                         └──── back-off ────┴──────────────┴────────────────────┘
//
// A replica is started when its primary serves, or has had its chance. A
// synchronous one that the primary waits for, provenly, is a standby; only a
// standby is promoted by itself:
//
//	 alone ◀──────── away for Alone ────────┐
//	   │ follows, Settle with Standby,      │
//	   ▼ Acknowledge                        │
//	standby ────────────────────────────────┘
//	   │ the primary is away for Patience
//	   ▼
//	promoting   on disk: no other server of the service is started any more
//	   │        the old primary's end is seen, then Promote
//	   ▼
//	primary     started again where the old one was found; that one's data is
//	            replaced by a new replica in a new folder
//
// A pooler, where one is wanted, stands before the primary and outlasts whatever
// becomes of it: queries wait in it while the primary is changed, and are let
// through once the primary is settled (stepPooler).
//
// What is on disk, in APP/ENVIRONMENT/NAME/ below the services' folder:
//
//	service.json   the record: what is wanted, the port, the sealed passwords, the
//	               servers and their processes
//	pooler/        its configuration, run, log
//	1/, 2/, …      a server each: data, run, log; a number is never used again
//
// and in APP/ENVIRONMENT/swap.json the decision to swap two services' data, until
// both records are written.
//
// The manager may be killed between any two instructions. A server's process does
// not begin before the record names it; it outlives the manager, and the next one
// adopts it. Whatever is asked for can be asked for again. What only an operation
// knows of is recorded as scratch, and is deleted if the operation did not come to
// its end. Copies, restored data and upgrades are all made as a service of their
// own beside the one that is meant, and then swapped with it: what it was is kept
// beside it in turn, and swapped back by the same means.
package service
