// Package http2 is the server's side of HTTP/2 (RFC 9113): connections, their
// streams, flow control, and limits to what a client may have it do. It reads
// frames with the framer of golang.org/x/net and heads with its HPACK decoder.
// What becomes of a request is the owner's business: each stream's is an
// [Exchange].
//
//	session ── read ──→ head ───→ stream ──→ Exchange
//	   │         │       body ──────↑           │
//	   │       flood    (flow)                  │
//	   └───────────── write ←── block ←─────────┘
//
// A session:
//
//	greeting ──→ open ── Drain ──→ warned ──→ leaving ──→ finished ──→ closed
//	  10 s         │    GOAWAY       ↑  GOAWAY   ↑  no stream   2 s
//	               │   2^31-1, PING  │  last     │  is left
//	               │                 └ PING is answered, or 1 s passed
//	               ├── idle for 2 min ───────────┘
//	               └── the client breaks a rule or a limit ──→ finished
//
// A session that is finished sends what is to be sent, and reads a moment longer,
// so that the client gets it. One whose connection fails is closed at once.
//
// A stream, as its client and the exchange see it:
//
//	       ┌──→ half closed (remote): all of the request came ──┐
//	open ──┤                                                    ├──→ closed
//	       └──→ half closed (local): all of the answer went ────┘
//	         the rest of the request is not wanted: RST_STREAM(NO_ERROR)
//
// and from anywhere, by RST_STREAM of either side, to closed. An exchange may
// outlive its stream by a moment.
//
// One goroutine reads. It calls Begin of each exchange when it has nothing more
// to read at once, so what needs no waiting is answered there and then; the rest
// is served in another goroutine: one of the crew's, or whichever Begin has found.
// Streams are used again, with their exchanges. No goroutine writes: whoever has
// something to say adds it to what is to be sent, and sends it with all that has
// gathered unless somebody does already. What is long waits for its turn.
//
// Header blocks refer to the static table only, so that they depend on nothing
// that went before and can be prepared.
package http2
