// Package edge is the data plane: it takes the public connections and passes
// each request to an instance. It decides nothing: the control plane gives it a
// routing table ([springtide.Table]) and gets back what was seen of the demand
// ([springtide.EdgeReport]). Without the control plane it serves on.
//
// A request's way through the files:
//
//	listener → reception → connection ─┐                               ┌ body
//	              │  (tls)    HTTP/1   ├→ exchange → router → gate → forward → upstream
//	              └→ session → lane ───┤     │  (files, sticky)│       ├ headers
//	                      HTTP/2       │     └ answer          │       ├ relay
//	   quic_socket → http3 → stream ───┘                       │       └ upgrade → tunnel → parking
//	                      HTTP/3    (latency, ejection) balancer ─┤
//	   access_log ← (what became of it)          meter → feed ─┘
//
// and the answer's way back: upstream → relay → reply (HTTP/1) lane (HTTP/2)
// or stream (HTTP/3).
//
// Where a route has rules of the cache, cached stands between router and gate: what
// is stored goes out at once, over HTTP/2 from the goroutine that reads. Else taking
// stands before the client and has the cache see the answer first; what is fetched
// for nobody, to be fresh or for a missing piece, is an errand.
//
// A client's connection that speaks HTTP/1 is one goroutine:
//
//	        ┌────────────── complete, persistent ──────────────┐
//	        ↓                                                  │
//	idle ──→ head ──→ serving (held, sent, awaited) ──→ answering ──→ finishing ──→ closed
//	 2 min    10 s        │  ↑ body, in a second goroutine     │         2 s
//	                      └──┴── the client is gone, or the answer broke off ──→ aborted
//
// What speaks HTTP/2 is a session, whose frames and streams internal/http2 has (its
// doc.go draws their states). Each stream is a lane: the same exchange. A request that
// need not wait is sent ahead by the goroutine that reads, on a connection to the
// instance that has a goroutine of its own (attendant), which serves the lane when the
// answer comes; else one of a crew that all sessions share does. An attended connection:
//
//	offered ──→ taken ──→ told ── answer ──→ serving ──→ offered
//	   └── 1.5 s, or the instance says something ──→ closed
//
// When the edge drains each session
// says GOAWAY twice, and ends with its last stream.
//
// HTTP/3 comes by UDP. quic-go has QUIC and the frames, and a goroutine for each
// request. While edges share the UDP port, the
// youngest reads it; connection IDs begin with the number of their edge (quic_id),
// and what is another's is passed on to it (quic_link). The answers go straight to
// the client. A QUIC connection is ended by the clock: see quicVisitor in http3.
//
// Who a client is, is its address, or what a proxy says that is believed: by the
// PROXY protocol, where a connection begins (caps, proxy_protocol), or by the
// fields of a request (forwarded). Who floods again and again gets no new connection
// for seconds (floods). Each exchange passes its route's protection
// once, before anything can answer it; what the edge refuses then or later it
// refuses in the same words to everybody (error_page), and the reason is in the
// access log. The fields that answers are to have are put on as the head is sent,
// also on what is stored.
//
// While it is idle it has no buffer: the first bytes of the next request are read
// into one that is borrowed once they are there. All limits are kept by one clock
// that looks around every 250 ms, so that a request arms no timer and no deadline.
// A client that sends nothing more (it ended its direction, or is gone: one cannot
// tell) is served for 2 s more, and then taken for gone, also while its request
// is held and has a body. Pipelined requests are answered one after the other.
//
// A connection to an instance is kept for 1.5 s. Before anything is sent on it, it
// is looked at: one that was ended, or on which something was said that nobody
// asked for, is not used. What is sent and then not answered with a single byte is
// sent again, once, if the method is idempotent, the body was not touched, and the
// budget allows it (retry_budget). So is what was answered with 502 or 503, or not
// within the time of a try, if another instance is well.
//
// An instance as the edge sees it:
//
//	ready ──→ retiring ──→ closing ──→ (gone)
//	  └────────┴────→ lost ──────────────────↑
//
// A ready one is given requests, unless it is ejected since it fails (see conduct).
// A retiring one is given no more; what is open
// goes on. So it does on one that is said to be lost, as long as the edge can reach
// it (lost); if not, what can be repeated is, and all else breaks off.
// What is open on one that is closing or gone is ended: a WebSocket by
// a close frame with code 1001 between two frames, an event stream by the end
// of its body, anything else by breaking off, so that nobody takes half an
// answer for a whole one. When an instance that is retiring or closing ends a
// stream by itself, the edge is as polite to the client. When one that is ready
// does, it crashed: an event stream breaks off, and a WebSocket is closed with
// code 1014 (bad gateway) if the instance got to the end of a frame.
package edge
