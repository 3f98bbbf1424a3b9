package http2

import (
	"encoding/binary"
	"errors"
	"runtime"

	frames "golang.org/x/net/http2"
)

const (
	// outLimit is how much of answers' bodies waits to be sent, and turnLimit how
	// much of one when others wait, in bytes.
	outLimit = 48 << 10
	// inlineLimit is how much waits before nothing more is answered at once.
	inlineLimit = 160 << 10
	turnLimit   = 2 * frameLimit
)

var errNoRoom = errors.New("there is no room for this answer")

// sending is what a session has to do with sending. The session's lock guards it.
type sending struct {
	window    int64 // what the client takes, of all streams together
	initial   int64 // of each stream at its beginning
	frameSize int
	out       []byte  // to be sent
	lent      *[]byte // what out is in, unless it has become too long for it
	writing   bool    // somebody sends
	spoken    bool    // a header block went
	hungUp    bool
	dead      bool   // the client cannot be written to
	sendRest  func() // is sendAll, made once
	line      []*Stream
	granted   bool // one that was at the head of the line has its turn
}

// appender has the framer write to what is to be sent.
type appender struct{ s *Session }

func (a appender) Write(p []byte) (int, error) {
	a.s.room()
	a.s.out = append(a.s.out, p...)
	return len(p), nil
}

// room sees to it that there is a buffer for what is to be sent.
func (s *Session) room() {
	if s.out == nil {
		s.lent = s.options.Buffers.Borrow(largeBuffer)
		s.out = (*s.lent)[:0]
	}
}

// widen sees to it that n bytes more find room in the buffer, if there is one so large.
func (s *Session) widen(n int) {
	if len(s.out)+n <= cap(s.out) || cap(s.out) >= hugeBuffer {
		return
	}
	wide := s.options.Buffers.Borrow(hugeBuffer)
	s.out = append((*wide)[:0], s.out...)
	s.options.Buffers.GiveBack(s.lent)
	s.lent = wide
}

// appendHeader appends the header of a frame.
func (s *Session) appendHeader(length int, kind frames.FrameType, flags frames.Flags, id uint32) {
	s.room()
	s.out = append(s.out, byte(length>>16), byte(length>>8), byte(length), byte(kind), byte(flags))
	s.out = binary.BigEndian.AppendUint32(s.out, id)
}

// commit sends what is to be sent, and with it what others add meanwhile, unless
// somebody is at it.
func (s *Session) commit() {
	s.mu.Lock()
	s.commitLocked()
	s.mu.Unlock()
}

func (s *Session) commitLocked() {
	if !s.unsent() {
		return
	}
	s.writing = true
	s.mu.Unlock()
	runtime.Gosched() // others have something to say, too
	s.mu.Lock()
	s.send()
	if len(s.out) > 0 && !s.dead {
		s.options.Crew.Go(s.sendRest) // whoever wants its own sent need not send the others'
		return
	}
	s.writing = false
	s.hangup()
}

// commitAside is commit for those who must not wait.
func (s *Session) commitAside() {
	s.mu.Lock()
	if s.unsent() {
		s.writing = true
		s.options.Crew.Go(s.sendRest)
	}
	s.mu.Unlock()
}

// unsent says that there is something to be sent, which nobody does.
func (s *Session) unsent() bool {
	return !s.writing && !s.dead && (len(s.out) > 0 || s.stage == finished && !s.hungUp)
}

// sendAll sends until there is nothing more.
func (s *Session) sendAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.out) > 0 && !s.dead {
		s.send()
	}
	s.writing = false
	s.hangup()
}

// send sends what there is. It gives the lock up meanwhile.
func (s *Session) send() {
	if len(s.out) == 0 {
		return
	}
	out, lent := s.out, s.lent
	s.out, s.lent = nil, nil
	s.next()
	s.mu.Unlock()
	_, err := s.conn.Write(out)
	s.options.Buffers.GiveBack(lent)
	s.mu.Lock()
	if err != nil {
		s.dead = true
		s.conn.Close() // so that whoever reads ends the rest
	}
}

// hangup ends a session that is finished when all was sent.
func (s *Session) hangup() {
	if s.stage == finished && !s.hungUp && !s.dead {
		s.hungUp = true
		s.mu.Unlock()
		s.conn.Hangup()
		s.mu.Lock()
	}
}

// next gives the stream at the head of the line its turn, if there is room.
func (s *Session) next() {
	for !s.granted && len(s.line) > 0 && s.window > 0 && len(s.out) < outLimit {
		st := s.line[0]
		s.line[0] = nil
		if s.line = s.line[1:]; len(s.line) == 0 {
			s.line = nil
		}
		st.queued = false
		if st.err == nil {
			st.turn, s.granted = true, true
			st.writable.Signal()
		}
	}
}

// endTurn lets the next one have its turn.
func (st *Stream) endTurn() {
	if st.turn {
		st.turn, st.session.granted = false, false
		st.session.next()
	}
}

// Reserve says how many bytes of an answer's body Send takes from [Exchange].Begin,
// where it does not wait. No other stream can use them up meanwhile.
func (st *Stream) Reserve() int64 {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.line) > 0 || s.granted {
		return 0
	}
	st.reserved = max(0, min(st.window, s.window, int64(inlineLimit-len(s.out))))
	s.window -= st.reserved
	return st.reserved
}

// giveBack lets others have what was reserved and is not used.
func (st *Stream) giveBack() {
	if st.reserved > 0 {
		st.session.window += st.reserved
		st.reserved = 0
		st.session.next()
	}
}

// Inform sends an informational head at once.
func (st *Stream) Inform(block []byte) error {
	if err := st.Begin(block, false); err != nil {
		return err
	}
	return st.Flush()
}

// Begin takes the head of the answer, made by [AppendStatus] and [AppendField].
// Whole says that there is nothing behind it. It goes out with what follows, or
// by Flush.
func (st *Stream) Begin(block []byte, whole bool) error {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.err != nil {
		return st.err
	}
	st.begun = true
	st.appendBlock(block, whole)
	return nil
}

// appendBlock appends a head or a trailer, in as many frames as it takes.
func (st *Stream) appendBlock(block []byte, ends bool) {
	s := st.session
	kind, flags, resize := frames.FrameHeaders, frames.Flags(0), 0
	if ends {
		flags = frames.FlagHeadersEndStream
	}
	if !s.spoken {
		resize = 1
	}
	for {
		n := min(len(block), s.frameSize-resize)
		if n == len(block) {
			flags |= frames.FlagHeadersEndHeaders
		}
		s.appendHeader(n+resize, kind, flags, st.id)
		if resize > 0 {
			s.out = append(s.out, 0x20) // the client need keep no table of fields
			s.spoken, resize = true, 0
		}
		s.out = append(s.out, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			break
		}
		kind, flags = frames.FrameContinuation, 0
	}
	if ends {
		st.done = true
		st.closeBoth()
	}
}

// Send takes some of the answer's body; last says that there is nothing behind
// it. It waits while the client has no room, or others have their turn.
func (st *Stream) Send(p []byte, last bool) (sent int, err error) {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	defer st.endTurn()
	defer func() { st.slow = st.slow && sent < len(p) }()
	for first := true; first || sent < len(p); first = false {
		n := 0
		for len(p) > 0 {
			if st.err != nil {
				return sent, st.err
			}
			if n = st.allowed(len(p) - sent); n > 0 {
				break
			}
			if err := st.awaitRoom(); err != nil {
				return sent, err
			}
		}
		if st.err != nil || st.done {
			return sent, st.err
		}
		ends := last && sent+n == len(p)
		if n > 0 || ends {
			st.appendData(p[sent:sent+n], ends)
		}
		sent += n
	}
	return sent, nil
}

// allowed says how much may go out now, 0 if nothing may.
func (st *Stream) allowed(want int) int {
	s := st.session
	if st.inline {
		return int(min(int64(want), st.reserved, int64(s.frameSize)))
	}
	if (len(s.line) > 0 || s.granted) && !st.turn {
		return 0
	}
	return int(max(0, min(int64(want), st.window, s.window, int64(outLimit-len(s.out)), int64(s.frameSize))))
}

func (st *Stream) appendData(p []byte, ends bool) {
	s, flags := st.session, frames.Flags(0)
	if ends {
		flags = frames.FlagDataEndStream
	}
	s.room()
	s.widen(len(p) + frameHeader)
	s.appendHeader(len(p), frames.FrameData, flags, st.id)
	s.out = append(s.out, p...)
	st.window -= int64(len(p))
	if st.inline {
		st.reserved -= int64(len(p))
	} else {
		s.window -= int64(len(p))
	}
	s.patience.useful()
	if st.taken += len(p); st.taken >= takeProgress {
		st.slow = false
	}
	if ends {
		st.done = true
		st.closeBoth()
	}
	if len(s.line) > 0 && st.turn && len(s.out) >= turnLimit {
		st.endTurn()
	}
}

// awaitRoom waits until it may be worth another look.
func (st *Stream) awaitRoom() error {
	s := st.session
	if st.inline {
		return errNoRoom
	}
	st.endTurn()
	if st.window > 0 {
		s.line, st.queued = append(s.line, st), true
		s.next()
	}
	if !st.slow {
		st.slow, st.since, st.taken = true, s.options.Now(), 0
	}
	st.blocked = true
	s.commitLocked()
	for st.err == nil && !st.turn && (st.queued || st.window <= 0) {
		st.writable.Wait()
	}
	st.blocked = false
	return st.err
}

// Flush sends what was taken.
func (st *Stream) Flush() error {
	if !st.inline {
		st.session.commit()
	}
	return nil
}

// End completes the answer, with the header block of a trailer if there is one.
func (st *Stream) End(trailer []byte) error {
	s := st.session
	s.mu.Lock()
	switch {
	case st.err != nil || st.done:
	case len(trailer) > 0:
		st.appendBlock(trailer, true)
	default:
		st.appendData(nil, true)
	}
	err := st.err
	s.mu.Unlock()
	return errors.Join(err, st.Flush())
}
