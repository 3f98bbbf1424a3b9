package http2

import frames "golang.org/x/net/http2"

// The windows of flow control, in bytes (RFC 9113, section 5.2).
const (
	defaultWindow = 65_535
	// sessionWindow is how much of requests' bodies may lie with us on one connection,
	// streamWindow how much of one.
	sessionWindow = 1 << 20
	streamWindow  = 512 << 10
	largestWindow = 1<<31 - 1
)

// receiveWindow is how much a client may still send. What was used of it is given
// back when the body was read, a quarter at a time.
type receiveWindow struct {
	left int64
	used int64 // and may be given back
}

func (w *receiveWindow) take(n int64) bool {
	w.left -= n
	return w.left >= 0
}

// giveBack gives n back; the result is how much to tell the client now.
func (w *receiveWindow) giveBack(n, whole int64) uint32 {
	w.used += n
	if w.used < whole/4 {
		return 0
	}
	told := w.used
	w.left, w.used = w.left+told, 0
	return uint32(told)
}

// consumed gives back what was read of a stream, or is not wanted.
func (s *Session) consumed(st *Stream, n int64) {
	if told := s.receive.giveBack(n, sessionWindow); told > 0 {
		_ = s.framer.WriteWindowUpdate(0, told)
	}
	if st == nil || st.ended || st.err != nil {
		return
	}
	if told := st.receive.giveBack(n, streamWindow); told > 0 {
		_ = s.framer.WriteWindowUpdate(st.id, told)
	}
}

// takeData takes a piece of a body.
func (s *Session) takeData(header frames.FrameHeader, payload []byte) error {
	id, whole, ends := header.StreamID, int64(len(payload)), header.Flags.Has(frames.FlagDataEndStream)
	if header.Flags.Has(frames.FlagDataPadded) {
		if len(payload) == 0 || int(payload[0]) >= len(payload) {
			return frames.ConnectionError(frames.ErrCodeProtocol)
		}
		payload = payload[1 : len(payload)-int(payload[0])]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle(id) {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	if !s.receive.take(whole) {
		return frames.ConnectionError(frames.ErrCodeFlowControl)
	}
	st := s.streams.find(id)
	if st == nil || st.ended {
		s.consumed(nil, whole)
		if _, byUs := s.closed.find(id); st == nil && byUs || id > s.last {
			return s.patience.frame()
		}
		return s.reset(id, frames.ErrCodeStreamClosed)
	}
	if !st.receive.take(whole) {
		s.consumed(nil, whole)
		return s.reset(id, frames.ErrCodeFlowControl)
	}
	s.consumed(st, whole-int64(len(payload))) // the padding
	if len(payload) > 0 {
		s.patience.useful()
	} else if !ends {
		if err := s.patience.frame(); err != nil {
			return err
		}
	}
	return st.take(payload, ends)
}

// takeWindow takes the client's leave to send more.
func (s *Session) takeWindow(id uint32, more int64) error {
	if id == 0 {
		if s.window += more; s.window > largestWindow {
			return frames.ConnectionError(frames.ErrCodeFlowControl)
		}
		s.next()
		return nil
	}
	if s.idle(id) {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	st := s.streams.find(id)
	if st == nil {
		return nil
	}
	if st.window += more; st.window > largestWindow {
		return s.reset(id, frames.ErrCodeFlowControl)
	}
	st.writable.Signal()
	return nil
}

// setInitialWindow changes the windows of all streams, which may become negative
// (RFC 9113, section 6.9.2).
func (s *Session) setInitialWindow(to int64) error {
	more := to - s.initial
	s.initial = to
	for _, st := range s.streams {
		if st.window += more; st.window > largestWindow {
			return frames.ConnectionError(frames.ErrCodeFlowControl)
		}
		st.writable.Signal()
	}
	return nil
}
