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

// tick is called once per tick.
func (p *patience) tick() {
	p.noise = min(p.noise+noisePerTick, noiseLimit)
	p.resets = min(p.resets+resetPerTick, resetLimit)
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
