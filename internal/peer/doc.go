// Package peer is how edges that run elsewhere reach the control plane: over TLS,
// where each end proves that it has the same token, which is all that is told to
// both of them.
//
//	token ──HKDF──▶ key of the control planes ──▶ what an edge expects, and nothing else
//	          └───▶ key of the edges          ──▶ what a control plane expects
//
// No certificate has to be made, brought to anybody or renewed, and what passes
// connections on needs to know nothing. The token must not be guessable: whoever
// sees a connection begin could try guesses without asking anybody.
//
// Both ends say every second that they are there. A connection on which nothing is
// heard for [Silence] is over: the other end has no power, is cut off or is frozen,
// none of which TCP would tell for minutes.
package peer
