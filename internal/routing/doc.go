// Package routing is the control plane's side of the edges: it makes the
// routing table out of what is wanted and what runs, gives it to every edge,
// and gathers what the edges report.
//
//	wanted routes (deploy) ─┐
//	                        ├─▶ Publisher ── table ──▶ edge, edge, …
//	instances (engine) ─────┘       ◀── acknowledgement, demand, load ──
//
// An edge connects to the feed, says which table it has in force, and is sent
// every newer one: the first of a connection whole, then, if the edge says that it
// takes that, only the routes that changed. Both directions are lines of JSON:
// [springtide.TableChange] and [springtide.EdgeReport].
//
// An edge is live while it is connected, and for [Options.LostAfter] after its
// connection broke: it may only have lost the connection and still serve by an
// old table. After a start of the control plane no edge is known yet, so for
// the same time nothing counts as let go.
package routing
