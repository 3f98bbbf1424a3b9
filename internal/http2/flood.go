package http2

import frames "golang.org/x/net/http2"

// The limits to what a client may have a session do.
const (
	// streamLimit is how many streams may be open, servedLimit how many exchanges,
	// those of streams that were reset a moment ago among them.
	streamLimit = 250
	servedLimit = 2 * streamLimit
	// blockLimit and continuations are how long a header block may be, in bytes
	// as they come and in frames.
	blockLimit    = 128 << 10
	continuations = 32
	// noiseLimit is how many frames may come that ask for nothing: settings, pings,
	// priorities, window updates, empty and unknown ones. Requests and data, in
	// either direction, make good for some, and so does time.
	noiseLimit   = 2000
	noisePerTick = 50
	noisePerData = 4
	// resetLimit is how many streams may be reset, by the client, or by us for what
	// the client did. Requests that were answered make good for it, and time.
	resetLimit   = 200
	resetPerTick = 25
)

// patience is what is left of the limits. It is used up by floods only.
type patience struct{ noise, resets int }

func newPatience() patience { return patience{noiseLimit, resetLimit} }

// Client is who a session serves, by this and other sessions. Its methods must not wait.
// Implemented by edge.guest.
type Client interface {
	// Owes is told that a session was ended for a flood, and of resets and frames that
	// time alone has made good. It reports whether that is too much.
	Owes(floods, resets, noise int) bool
	// Streams counts streams that are served, and reports whether there may be no more.
	Streams(change int) (full bool)
}

// tick is called once per tick. It gives what it made good.
func (p *patience) tick() (noise, resets int) {
	noise, resets = min(noisePerTick, noiseLimit-p.noise), min(resetPerTick, resetLimit-p.resets)
	p.noise += noise
	p.resets += resets
	return noise, resets
}

// tick gives some patience back. It reports whether the client floods by many sessions,
// of which this one does all that it may.
func (s *Session) tick() (floods bool) {
	noise, resets := s.patience.tick()
	return noise+resets > 0 && s.options.Client.Owes(0, resets, noise) && (noise == noisePerTick || resets == resetPerTick)
}

// useful notes that something was done that a client wants done.
func (p *patience) useful() { p.noise = min(p.noise+noisePerData, noiseLimit) }

func (p *patience) answered() { p.resets = min(p.resets+1, resetLimit) }

// frame takes a frame that asks for nothing.
func (p *patience) frame() error {
	p.noise--
	return calm(p.noise)
}

func (p *patience) reset() error {
	p.resets--
	return calm(p.resets)
}

func calm(left int) error {
	if left < 0 {
		return frames.ConnectionError(frames.ErrCodeEnhanceYourCalm)
	}
	return nil
}
