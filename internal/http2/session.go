package http2

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/springtide/springtide/internal/message"
)

// The limits in time.
const (
	headTimeout  = 10 * time.Second // for the greeting, and for a head of several frames
	frameTimeout = 30 * time.Second // for a frame
	idleTimeout  = 2 * time.Minute  // without a stream
	warnTimeout  = time.Second      // from the first GOAWAY to the last, if the ping between is not answered
)

// Conn is a client's connection.
type Conn interface {
	io.Reader
	// Write takes all of p. It gives up by itself on a client that takes nothing.
	io.Writer
	// Hangup says to the client that nothing more is sent. Reading ends soon after.
	Hangup()
	// Close ends it at once. Any goroutine may call it.
	Close() error
}

// Options are what a [Session] needs.
type Options struct {
	Buffers Buffers
	Crew    *Crew // has the exchanges served
	Client  Client
	// Now gives the time by a coarse clock.
	Now func() time.Duration
	// Open makes the exchange of a new stream. Used, which may be nil, is one that it
	// made for an earlier request of that [Stream], to be used again. It must not wait.
	Open func(st *Stream, used Exchange) Exchange
}

// Exchange is what is done about a stream's request. Implemented by edge.lane.
type Exchange interface {
	// Begin is called first, by the goroutine that reads the connection, so it must
	// not wait, nor send more than [Stream.Room] allows. Unless it has answered the
	// request, Serve is called in another goroutine. What they do not complete is
	// reset.
	Begin() Progress
	Serve()
	// Gone is told once that the client is, or that the stream was reset; it may be
	// before Serve is called, or while it returns.
	Gone()
	// Look is called once per tick while the exchange lasts. Neither it nor Gone may
	// call the stream, whose lock is held.
	Look(now time.Duration)
}

// Progress is how far Begin of an [Exchange] has come.
type Progress int

const (
	// Waiting has Serve called in a goroutine of its own.
	Waiting Progress = iota
	// Answered says that there is nothing more to do.
	Answered
	// Underway says that somebody calls [Stream.Serve], and may have done so.
	Underway
)

// stage is how far a session has come.
type stage int

const (
	greeting stage = iota
	open
	warned
	leaving
	finished
)

// Session is one connection. Its methods may be called by any goroutine.
type Session struct {
	options Options
	conn    Conn
	serving sync.WaitGroup

	// Of the goroutine that reads:
	input   input
	decoder *hpack.Decoder
	block   block
	begun   []*Stream // those whose exchanges are to begin

	mu       sync.Mutex
	framer   *frames.Framer // reads without the lock
	stage    stage
	since    time.Duration // of the stage; with open also: without a stream
	draining bool
	patience patience
	streams  streams // those that are not closed
	last     uint32  // the newest one's
	closed   closed
	serves   []*Stream // those whose exchanges last
	spare    []*Stream // those that are over, to be used again
	// waits is since when a frame, or a head, has begun to come; 0: none has.
	waits, waitsHead time.Duration
	receive          receiveWindow
	sending
}

// NewSession makes a session. Whoever has it calls Serve.
func NewSession(conn Conn, options Options) *Session {
	s := &Session{
		options: options, conn: conn, patience: newPatience(), since: options.Now(),
		input:   input{conn: conn, buffers: options.Buffers},
		receive: receiveWindow{left: sessionWindow},
	}
	s.window, s.initial, s.frameSize = defaultWindow, defaultWindow, frameLimit
	s.sendRest = s.sendAll
	s.framer = frames.NewFramer(appender{s}, &s.input)
	s.framer.SetReuseFrames()
	s.decoder = hpack.NewDecoder(tableSize, s.takeField)
	s.decoder.SetMaxStringLength(blockLimit)
	s.greet()
	return s
}

// tableSize is how large the client's table of fields may be, in bytes: the default.
const tableSize = 4096

// Serve serves the connection until its end, and returns when all exchanges have.
func (s *Session) Serve() {
	err := s.run()
	if code, ok := errors.AsType[frames.ConnectionError](err); ok {
		s.finish(frames.ErrCode(code))
		s.commitAside()
	}
	s.mu.Lock()
	over := s.stage == finished
	s.mu.Unlock()
	if over { // the client may still be sending
		s.linger()
	}
	s.conn.Close()
	s.abandon()
	s.input.release()
	s.serving.Wait()
}

// lingerReads is how often it is read from a session that is finished: each may cost
// the decryption of a record, however short, which is what a flood is made of.
const lingerReads = 256

// linger reads what is not wanted any more: closed at once, the kernel would take
// back what was sent last.
func (s *Session) linger() {
	buffer := s.options.Buffers.Borrow(smallBuffer)
	defer s.options.Buffers.GiveBack(buffer)
	for range lingerReads {
		if _, err := s.conn.Read(*buffer); err != nil {
			return
		}
	}
}

// Drain asks the client to make no more streams. The session ends with those that
// there are (RFC 9113, section 6.8). One that had none yet is let have one: some
// clients give up on a request whose connection is not to be used at all.
func (s *Session) Drain() {
	s.mu.Lock()
	s.draining = true
	if s.last > 0 {
		s.warn()
	}
	s.mu.Unlock()
	s.commitAside()
}

func drainPing() [8]byte { return [8]byte{'d', 'r', 'a', 'i', 'n'} }

// enter is called with the lock, as are all below that say nothing else.
func (s *Session) enter(next stage) { s.stage, s.since = next, s.options.Now() }

// warn begins to drain.
func (s *Session) warn() {
	if s.stage == open {
		s.enter(warned)
		_ = s.framer.WriteGoAway(1<<31-1, frames.ErrCodeNo, nil)
		_ = s.framer.WritePing(false, drainPing())
	}
}

// leave says which stream was the last one.
func (s *Session) leave() {
	if s.stage >= leaving {
		return
	}
	s.enter(leaving)
	_ = s.framer.WriteGoAway(s.last, frames.ErrCodeNo, nil)
	s.settle()
}

// settle notes that a stream is closed, or an exchange over.
func (s *Session) settle() {
	if len(s.streams) > 0 || len(s.serves) > 0 {
		return
	}
	switch s.stage {
	case open:
		s.since = s.options.Now()
	case leaving:
		s.enter(finished)
	}
}

// finish ends the session for what the client did. It takes the lock.
func (s *Session) finish(code frames.ErrCode) {
	s.mu.Lock()
	if s.stage < finished {
		_ = s.framer.WriteGoAway(s.last, code, nil)
		s.enter(finished)
		if code == frames.ErrCodeEnhanceYourCalm {
			s.options.Client.Owes(1, 0, 0)
		}
	}
	s.mu.Unlock()
	s.abandon()
}

// abandon ends all streams. It takes the lock.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		st.fail(errGone)
	}
	for _, st := range s.serves {
		st.fail(errGone)
	}
	s.streams = nil
}

// Look is called once per tick by a clock.
func (s *Session) Look(now time.Duration) {
	s.mu.Lock()
	floods := s.tick()
	for _, st := range s.serves {
		st.exchange.Look(now)
		st.look(now)
	}
	if len(s.serves) == 0 {
		s.spare = nil
	}
	dead := s.stage == greeting && now-s.since > headTimeout ||
		s.waits > 0 && now-s.waits > frameTimeout || s.waitsHead > 0 && now-s.waitsHead > headTimeout
	limit := idleTimeout
	if s.draining {
		limit = headTimeout
	}
	if s.stage == warned && now-s.since > warnTimeout ||
		s.stage == open && len(s.serves) == 0 && len(s.streams) == 0 && now-s.since > limit {
		s.leave()
	}
	s.mu.Unlock()
	if dead {
		s.conn.Close()
		return
	}
	if floods {
		s.finish(frames.ErrCodeEnhanceYourCalm)
	}
	s.commitAside()
}

// streams are in the order of their numbers.
type streams []*Stream

func (all streams) index(id uint32) (int, bool) {
	return slices.BinarySearchFunc(all, id, func(st *Stream, id uint32) int { return cmp.Compare(st.id, id) })
}

// find gives the stream of a number, nil if there is none.
func (all streams) find(id uint32) *Stream {
	if i, found := all.index(id); found {
		return all[i]
	}
	return nil
}

// closed remembers what became of the streams that were closed last: what was
// under way when we reset one is ignored, and what comes after the client closed
// one is an error.
type closed struct {
	ids  [64]uint32
	byUs uint64 // a bit for each
	next int
}

func (c *closed) add(id uint32, byUs bool) {
	c.ids[c.next] = id
	c.byUs &^= 1 << c.next
	if byUs {
		c.byUs |= 1 << c.next
	}
	c.next = (c.next + 1) % len(c.ids)
}

func (c *closed) find(id uint32) (found, byUs bool) {
	for i, other := range c.ids {
		if other == id {
			return true, c.byUs&(1<<i) != 0
		}
	}
	return false, false
}

// greet says what we say first.
func (s *Session) greet() {
	_ = s.framer.WriteSettings(
		frames.Setting{ID: frames.SettingMaxConcurrentStreams, Val: streamLimit},
		frames.Setting{ID: frames.SettingInitialWindowSize, Val: streamWindow},
		frames.Setting{ID: frames.SettingMaxHeaderListSize, Val: message.HeadLimit},
		frames.Setting{ID: frames.SettingNoRFC7540Priorities, Val: 1},
	)
	_ = s.framer.WriteWindowUpdate(0, sessionWindow-defaultWindow)
}
