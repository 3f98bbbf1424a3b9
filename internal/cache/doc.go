// Package cache is a shared HTTP cache (RFC 9111) for the edge. It never speaks to
// anybody: it is asked what to do about a request, is shown the response to what was
// forwarded, and says what to send. The edge does the rest:
//
//	            ┌─ Send ─────▶ Answer: AppendHead or AppendFields, then Body.Next
//	Lookup ─────┼─ Send and Fetch ▶ the same, and the fetch in the background
//	(request)   ├─ Wait ─────▶ until closed or too long, then Lookup(…, 1)
//	            └─ Forward ──▶ Fetch.Request ─▶ the app ─┬─▶ Fetch.Take(response)
//	                               ▲                     └─▶ Fetch.Fail: stale, or 502
//	                               │                            │
//	                               └──────── Again ─────────────┤
//	                                                            ├─ Relay: head, a window of
//	                                                            │  the body; all of it to Store
//	                                                            ├─ Serve: an Answer
//	                                                            └─ Break: give the client up
//
// The files in the order of a request: asked (what the request says), key, lookup,
// vary, freshness, conditional, ranges, answer, body; then fetch, take, storable,
// writer, publish, invalidate; compress and purge beside; cache, disk and format below.
//
// # A stored response
//
//	            Take        Commit                lifetime over
//	(nothing) ───────▶ (Writer) ───────▶ fresh ───────────────▶ stale
//	    ▲                 │ Abort          ▲                      │ validated
//	    │                 ▼                │  304                 ▼
//	    ├──────────── (nothing)            └───────────────── (Fetch)
//	    │                                                         │ another response
//	    └── purged, invalidated, evicted, damaged ◀───────────────┘
//
// Nothing of a response is served as a whole before Commit. What is stale is served
// only where that is allowed: while it is revalidated (RFC 5861), when the app fails or
// cannot be reached, or when the client says so; never against must-revalidate,
// proxy-revalidate or no-cache. What s-maxage implies is qualified by an explicit
// stale-while-revalidate or stale-if-error beside it.
//
// How long a response is fresh that does not say so is guessed from when it last changed,
// but never for requests with cookies, nor from their responses: what an app makes for
// one client without saying so is not given to another.
//
// # One fetch for many
//
// The first who needs a response fetches it, the others wait. They stop waiting when it
// turns out not to be stored, when its body is long (its slices are found as they come),
// or when the edge has them wait no more. A resource whose last response was not stored
// is remembered: nobody waits for its next, and its requests are forwarded with their
// own conditions and ranges.
//
// # Variants
//
// A response without Vary is found by the number of its resource. Others are found by a
// signpost there, which has the names that Vary had and an epoch; names, epoch and the
// request's values give the variant's number. To take the signpost away is to make all
// variants unreachable at once, also those that are not known any more. Cookies that a
// rule names are values like those of fields.
//
// # Long bodies
//
// A body longer than 1 MiB is kept in slices of that length, each by itself in memory or
// on disk. With a strong validator the slices need not all be there: those that a range
// lacks are fetched when they are due, by If-Range, and the body that they belong to is
// given up when the app has another. Without one, all have to be there.
//
// # Purges
//
// A purge is a number and what it is about. Each response knows the last purge before
// it was asked for, and is compared with those that came later when it is next found.
// So a purge takes no time however much it is about, nothing has to be searched, and one
// line in a journal has it outlive a restart. The numbers are the same for all edges: one
// that was away is told what it missed, and what it is told twice makes no difference.
//
// # The disk
//
//	waiting ──▶ owner ──▶ released
//
// One process at a time has the folder, by a lock that its death gives up: while two
// edges overlap, the old one releases it, and the new one takes it over; until then,
// and after that, there is only memory. An owner serves before it has counted what is
// there: files are found by their names.
//
// Each file is written beside its name and then renamed. It is not synced: its checksum
// is checked whenever it is read, so that a file that a power cut left half written is
// a miss, which is all that a sync of each would prevent, and would cost more than the
// response did. What an unsafe request invalidates is unlinked at once, and may come back
// by a power cut (not by a crash of the process) within the seconds that the system takes
// to write its folders; purges do not. When the disk takes no more, nothing is stored for
// a while.
//
// # Codings
//
// What compresses is stored as it came, and in the codings that clients asked for, made
// beside the first such request. Each is a representation of its own, with a tag of its
// own (RFC 9110, section 8.8.3.3): the coding is put before the closing quote, and taken
// off again where a client sends it back.
package cache
