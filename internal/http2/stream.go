package http2

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	frames "golang.org/x/net/http2"

	"github.com/springtide/springtide/internal/message"
)

// The limits in time of bodies.
const (
	// A request's body has to bring so many bytes in so much of the time that it is
	// waited for, as long as it has no answer.
	bodyTimeout  = 30 * time.Second
	bodyProgress = 1 << 10
	// takeTimeout is how long a client may leave no room for an answer, or for less
	// than takeProgress bytes of it.
	takeTimeout  = time.Minute
	takeProgress = 1 << 10
)

var errGone = errors.New("the client is gone, or has reset the stream")

// Stream is one request, and the way its answer goes.
type Stream struct {
	// Head is the request's.
	Head message.StreamHead
	// Fault is why the request cannot be served; nil if it can. There may be no more
	// of Head than came before that.
	Fault *message.Error

	session  *Session
	id       uint32
	exchange Exchange
	used     Exchange // of the request before
	task     func()   // is Serve, made once

	// The session's lock guards the rest.
	err      error // why it is closed
	readable sync.Cond
	writable sync.Cond

	// Of the request's body:
	receive  receiveWindow
	ended    bool // all of it came
	length   int64
	pieces   []piece
	trailer  message.Fields
	readErr  error
	reading  bool // somebody waits for more
	waiting  time.Duration
	patience time.Duration
	progress int

	// Of the answer:
	window  int64
	begun   bool // its head went
	done    bool // all of it did
	blocked bool // somebody waits for room
	slow    bool // since, and only so much was taken
	since   time.Duration
	taken   int
	queued  bool // it is in the line
	turn    bool
	inline  bool // it is being answered by the goroutine that reads
	// reserved is what of the session's window only it may use, as long as it is inline.
	reserved int64
	at       int // its place among those that are served
}

// piece is some of a body: (*buffer)[start:end].
type piece struct {
	buffer     *[]byte
	start, end int
}

// usualFields is how many fields most requests have at most.
const usualFields = 16

// newStream gives a stream, if possible one that has served an earlier request.
func (s *Session) newStream(id uint32) *Stream {
	last := len(s.spare) - 1
	if last < 0 {
		st := &Stream{session: s}
		st.task = st.Serve
		st.Head.Fields = make(message.Fields, 0, usualFields)
		st.renew(id)
		return st
	}
	st := s.spare[last]
	s.spare = s.spare[:last]
	st.renew(id)
	return st
}

// renew makes it ready for a request.
func (st *Stream) renew(id uint32) {
	s, fields := st.session, st.Head.Fields[:0]
	*st = Stream{
		session: s, id: id, used: st.used, task: st.task,
		window: s.initial, receive: receiveWindow{left: streamWindow}, patience: bodyTimeout,
	}
	st.readable.L, st.writable.L = &s.mu, &s.mu
	st.Head.Fields = fields
}

// spareLimit is how many streams are kept to be used again, and spareFields how
// many fields they may have room for.
const (
	spareLimit  = 64
	spareFields = 4 * usualFields
)

// setAside keeps a stream that is over for another request. In the line it would
// be found again.
func (st *Stream) setAside() {
	s := st.session
	if st.queued || len(s.spare) == spareLimit || cap(st.Head.Fields) > spareFields {
		return
	}
	clear(st.Head.Fields)
	st.used, st.exchange = st.exchange, nil
	s.spare = append(s.spare, st)
}

// begin has the exchange begin, by the goroutine that reads.
func (st *Stream) begin() {
	s := st.session
	s.mu.Lock()
	if st.err != nil || s.stage == finished {
		st.drop()
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	exchange := s.options.Open(st, st.used)
	s.mu.Lock()
	st.exchange = exchange
	st.at, s.serves = len(s.serves), append(s.serves, st)
	s.options.Client.Streams(1)
	s.mu.Unlock()
	st.inline = true
	s.serving.Add(1)
	switch exchange.Begin() {
	case Answered:
		st.conclude() // and pause sends what there is
		s.serving.Done()
	case Waiting:
		st.Later()
		s.options.Crew.Go(st.task)
	}
}

// Later says, from Begin, that somebody is going to call Serve.
func (st *Stream) Later() {
	st.session.mu.Lock()
	st.inline = false
	st.giveBack()
	st.session.mu.Unlock()
}

// Serve has the exchange serve. It is for who has Begin say [Underway].
func (st *Stream) Serve() {
	s := st.session
	defer s.serving.Done()
	defer s.commit()
	defer st.conclude()
	st.exchange.Serve()
}

// conclude ends the stream when its exchange is over. It may be another request's
// then.
func (st *Stream) conclude() {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	st.giveBack()
	s.options.Client.Streams(-1)
	end := len(s.serves) - 1
	s.serves[st.at], s.serves[end].at = s.serves[end], st.at
	s.serves[end] = nil
	s.serves = s.serves[:end]
	if st.err == nil && !(st.done && st.ended) {
		code := frames.ErrCodeInternal // half an answer must not be taken for a whole one
		if st.done {
			code = frames.ErrCodeNo
		}
		_ = s.framer.WriteRSTStream(st.id, code)
		s.close(st, true)
	} else if st.err == nil {
		s.patience.answered()
	}
	st.err = errGone
	st.drop()
	s.settle()
	st.setAside()
}

// close forgets a stream that is closed.
func (s *Session) close(st *Stream, byUs bool) {
	if i, found := s.streams.index(st.id); found && s.streams[i] == st {
		s.streams = slices.Delete(s.streams, i, i+1)
		s.closed.add(st.id, byUs)
	}
}

// closeBoth closes a stream that both sides have ended.
func (st *Stream) closeBoth() {
	if st.done && st.ended {
		st.session.close(st, false)
	}
}

// drop throws away what was not read.
func (st *Stream) drop() {
	for _, p := range st.pieces {
		st.session.consumed(nil, int64(p.end-p.start))
		st.session.options.Buffers.GiveBack(p.buffer)
	}
	st.pieces = nil
}

// fail has everybody who waits return, and tells the exchange.
func (st *Stream) fail(why error) {
	if st.err != nil {
		return
	}
	st.err = why
	st.readable.Signal()
	st.writable.Signal()
	if st.exchange != nil {
		st.exchange.Gone()
	}
}

// look gives up on a client that is too slow.
func (st *Stream) look(now time.Duration) {
	if st.reading && !st.begun && now-st.waiting > st.patience {
		st.readErr = os.ErrDeadlineExceeded
		st.readable.Signal()
	}
	if st.blocked && st.slow && now-st.since > takeTimeout && st.err == nil {
		_ = st.session.framer.WriteRSTStream(st.id, frames.ErrCodeCancel)
		st.session.close(st, true)
		st.fail(os.ErrDeadlineExceeded)
	}
}

// take takes a piece of the body. An error ends the connection.
func (st *Stream) take(data []byte, ends bool) error {
	s := st.session
	st.length += int64(len(data))
	if declared := st.Head.Declared; declared >= 0 && st.length > declared {
		return s.reset(st.id, frames.ErrCodeProtocol)
	}
	for len(data) > 0 {
		if n := len(st.pieces); n == 0 || st.pieces[n-1].end == len(*st.pieces[n-1].buffer) {
			st.pieces = append(st.pieces, piece{buffer: s.options.Buffers.Borrow(smallBuffer)})
		}
		last := &st.pieces[len(st.pieces)-1]
		n := copy((*last.buffer)[last.end:], data)
		last.end += n
		data = data[n:]
	}
	if ends {
		return st.end()
	}
	st.readable.Signal()
	return nil
}

// end notes that all of the request came.
func (st *Stream) end() error {
	if declared := st.Head.Declared; declared >= 0 && st.length != declared {
		return st.session.reset(st.id, frames.ErrCodeProtocol)
	}
	st.ended = true
	st.readable.Signal()
	st.closeBoth()
	return nil
}

// Whole gives the body if all of it came with the head, and is short; it is valid
// while the exchange lasts.
func (st *Stream) Whole() ([]byte, bool) {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	if !st.ended || len(st.trailer) > 0 || len(st.pieces) > 1 {
		return nil, false
	}
	if len(st.pieces) == 0 {
		return nil, true
	}
	p := st.pieces[0]
	return (*p.buffer)[p.start:p.end], true
}

// Read reads the request's body. It gives os.ErrDeadlineExceeded when that takes
// too long.
func (st *Stream) Read(p []byte) (int, error) {
	s := st.session
	s.mu.Lock()
	for len(st.pieces) == 0 {
		err := st.err
		if err == nil {
			err = st.readErr
		}
		if err == nil && st.ended {
			err = io.EOF
		}
		if err != nil {
			s.mu.Unlock()
			return 0, err
		}
		st.reading, st.waiting = true, s.options.Now()
		st.readable.Wait()
		st.reading = false
		st.patience -= s.options.Now() - st.waiting
	}
	read := 0
	for read < len(p) && len(st.pieces) > 0 {
		first := &st.pieces[0]
		n := copy(p[read:], (*first.buffer)[first.start:first.end])
		read += n
		if first.start += n; first.start == first.end {
			s.options.Buffers.GiveBack(first.buffer)
			st.pieces[0] = piece{}
			if st.pieces = st.pieces[1:]; len(st.pieces) == 0 {
				st.pieces = nil
			}
		}
	}
	if st.progress += read; st.progress >= bodyProgress {
		st.patience, st.progress = bodyTimeout, 0
	}
	s.consumed(st, int64(read))
	s.mu.Unlock()
	s.commit()
	return read, nil
}

// Trailer gives the fields behind the body, once Read gave io.EOF.
func (st *Stream) Trailer() message.Fields { return st.trailer }

// StopReading has a Read that waits return.
func (st *Stream) StopReading() {
	st.session.mu.Lock()
	defer st.session.mu.Unlock()
	st.readErr = os.ErrDeadlineExceeded
	st.readable.Signal()
}
