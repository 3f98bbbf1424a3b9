// Package edge is the data plane: it takes the public connections and passes
// each request to an instance. It decides nothing: the control plane gives it a
// routing table ([springtide.Table]) and gets back what was seen of the demand
// ([springtide.EdgeReport]). Without the control plane it serves on.
//
// A request's way through the files:
//
//	listener → tls → exchange → router → gate (hold) → balancer → forward → access_log
//	                    │                   │                        ├ body, headers
//	                    └ answer            └ meter → feed           └ upgrade → frames
//
// An instance as the edge sees it:
//
//	ready ──→ retiring ──→ closing ──→ (gone)
//
// A ready one is given requests. A retiring one is given no more; what is open
// goes on. What is open on one that is closing or gone is ended: a WebSocket by
// a close frame with code 1001 between two frames, an event stream by the end
// of its body, anything else by breaking off, so that nobody takes half an
// answer for a whole one. When an instance that is retiring or closing ends a
// stream by itself, the edge is as polite to the client. When one that is ready
// does, it crashed: an event stream breaks off, and a WebSocket is closed with
// code 1014 (bad gateway) if the instance got to the end of a frame.
//
// A request with a body is not noticed to be given up by its client while it is
// held: net/http looks for the end of a connection only after the body.
package edge
