package http2

import (
	"encoding/binary"
	"errors"
	"io"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/springtide/springtide/internal/message"
)

// run reads until the connection's end, or the client's first mistake that ends it.
func (s *Session) run() error {
	if err := s.await(true); err != nil {
		return err
	}
	if string(s.input.take(len(frames.ClientPreface))) != frames.ClientPreface {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	for {
		if err := s.await(false); err != nil {
			return err
		}
		header, err := s.framer.ReadFrameHeader()
		if err != nil {
			return s.mistake(err)
		}
		if err := s.takeFrame(header); err != nil {
			return err
		}
	}
}

// await reads until all of the next frame is there, or of the preface.
func (s *Session) await(preface bool) error {
	for waited := false; ; waited = true {
		need, err := len(frames.ClientPreface), error(nil)
		if !preface {
			need, err = s.input.frame()
		}
		if err != nil || s.input.length() >= need {
			if waited {
				s.mu.Lock()
				s.waits = 0
				s.mu.Unlock()
			}
			return err
		}
		if over := s.pause(); over {
			return io.EOF
		}
		if err := s.input.fill(need); err != nil {
			return err
		}
	}
}

// pause does what is to be done before the next read, which may wait. It reports
// whether there is no need for that.
func (s *Session) pause() bool {
	for i, st := range s.begun {
		s.begun[i] = nil
		st.begin()
	}
	s.begun = s.begun[:0]
	s.mu.Lock()
	if s.input.length() > 0 && s.waits == 0 {
		s.waits = s.options.Now() | 1
	}
	over := s.stage == finished
	s.mu.Unlock()
	s.commitAside()
	return over
}

// mistake says what an error of the framer's means.
func (s *Session) mistake(err error) error {
	if _, ok := errors.AsType[frames.ConnectionError](err); ok {
		return err
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, frames.ErrFrameTooLarge) {
		return frames.ConnectionError(frames.ErrCodeFrameSize)
	}
	return frames.ConnectionError(frames.ErrCodeProtocol)
}

// takeFrame takes a frame, all of which is there. An error ends the connection.
func (s *Session) takeFrame(header frames.FrameHeader) error {
	s.mu.Lock()
	first := s.stage == greeting
	if first {
		s.enter(open)
	}
	s.mu.Unlock()
	if first && (header.Type != frames.FrameSettings || header.Flags.Has(frames.FlagSettingsAck)) {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	switch header.Type {
	case frames.FrameData:
		return s.takeData(header, s.input.take(int(header.Length)))
	case frames.FrameHeaders:
		return s.takeHead(header, s.input.take(int(header.Length)))
	}
	frame, err := s.framer.ReadFrameForHeader(header)
	if wrong, ok := errors.AsType[frames.StreamError](err); ok {
		return s.refuse(wrong.StreamID, wrong.Code)
	}
	if err != nil {
		return s.mistake(err)
	}
	if f, ok := frame.(*frames.ContinuationFrame); ok {
		return s.takeMore(f)
	}
	return s.takeControl(frame)
}

// takeControl takes a frame that is about the connection, or about flow control.
func (s *Session) takeControl(frame frames.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.patience.frame(); err != nil {
		return err
	}
	switch f := frame.(type) {
	case *frames.SettingsFrame:
		return s.takeSettings(f)
	case *frames.PingFrame:
		switch {
		case !f.IsAck():
			return s.framer.WritePing(true, f.Data)
		case f.Data == drainPing() && s.stage == warned:
			s.leave()
		}
	case *frames.WindowUpdateFrame:
		return s.takeWindow(f.StreamID, int64(f.Increment))
	case *frames.RSTStreamFrame:
		return s.takeReset(f.StreamID)
	case *frames.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return s.reset(f.StreamID, frames.ErrCodeProtocol)
		}
	case *frames.PushPromiseFrame:
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	return nil // GOAWAY: the client may have open what is open
}

func (s *Session) takeSettings(f *frames.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if f.NumSettings() > noisePerTick {
		return calm(-1)
	}
	if err := f.ForeachSetting(func(setting frames.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case frames.SettingInitialWindowSize:
			return s.setInitialWindow(int64(setting.Val))
		case frames.SettingMaxFrameSize:
			s.frameSize = min(int(setting.Val), frameLimit)
		}
		return nil
	}); err != nil {
		return s.mistake(err)
	}
	return s.framer.WriteSettingsAck()
}

func (s *Session) takeReset(id uint32) error {
	if s.idle(id) {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	if st := s.streams.find(id); st != nil {
		s.close(st, false)
		st.fail(errGone)
	}
	return s.patience.reset()
}

// idle says that there was no such stream yet, so that nothing can come for it.
// Once we are leaving, the newest ones are ignored.
func (s *Session) idle(id uint32) bool {
	return id%2 == 0 || id > s.last && s.stage < leaving
}

// refuse is reset with the lock taken.
func (s *Session) refuse(id uint32, code frames.ErrCode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reset(id, code)
}

// reset resets a stream for what the client did.
func (s *Session) reset(id uint32, code frames.ErrCode) error {
	if st := s.streams.find(id); st != nil {
		s.close(st, true)
		st.fail(errGone)
	} else {
		s.closed.add(id, true)
	}
	_ = s.framer.WriteRSTStream(id, code)
	return s.patience.reset()
}

// block is a head or a trailer as it comes.
type block struct {
	id     uint32
	ended  bool // with it the message ends
	frames int
	bytes  int // as they came
	size   int // of the fields, as RFC 9113, section 10.5.1, counts them
	// What becomes of it: a stream's head, or another one's trailer, or neither,
	// since that stream is refused with a code or ignored.
	head    *Stream
	trailer *Stream
	fields  message.Fields // of a trailer
	code    frames.ErrCode
	fault   error
}

// takeHead takes the beginning of a head or a trailer (RFC 9113, section 6.2).
func (s *Session) takeHead(header frames.FrameHeader, payload []byte) error {
	fragment, dependsOn, err := fragmentOf(header, payload)
	if err != nil {
		return err
	}
	last := header.Flags.Has(frames.FlagHeadersEndHeaders)
	s.block = block{id: header.StreamID, ended: header.Flags.Has(frames.FlagHeadersEndStream)}
	s.mu.Lock()
	err = s.place(&s.block)
	if dependsOn == header.StreamID {
		s.block.refuse(frames.ErrCodeProtocol)
	}
	if !last {
		s.waitsHead = s.options.Now() | 1
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.takeFragment(fragment, last)
}

// fragmentOf gives what a HEADERS frame has of a header block, and the stream that
// it depends on; 0: it says nothing of that.
func fragmentOf(header frames.FrameHeader, payload []byte) (fragment []byte, dependsOn uint32, err error) {
	padding := 0
	if header.Flags.Has(frames.FlagHeadersPadded) {
		if len(payload) == 0 {
			return nil, 0, frames.ConnectionError(frames.ErrCodeFrameSize)
		}
		padding, payload = int(payload[0]), payload[1:]
	}
	if header.Flags.Has(frames.FlagHeadersPriority) {
		if len(payload) < 5 {
			return nil, 0, frames.ConnectionError(frames.ErrCodeFrameSize)
		}
		dependsOn, payload = binary.BigEndian.Uint32(payload)&(1<<31-1), payload[5:]
	}
	if padding > len(payload) {
		return nil, 0, frames.ConnectionError(frames.ErrCodeProtocol)
	}
	return payload[:len(payload)-padding], dependsOn, nil
}

func (b *block) refuse(code frames.ErrCode) { b.head, b.trailer, b.code = nil, nil, code }

// place finds out what a head is for.
func (s *Session) place(b *block) error {
	if b.id%2 == 0 {
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	if st := s.streams.find(b.id); st != nil {
		switch b.trailer = st; {
		case st.ended:
			b.refuse(frames.ErrCodeStreamClosed)
		case !b.ended:
			b.refuse(frames.ErrCodeProtocol)
		}
		return nil
	}
	if b.id <= s.last {
		switch found, byUs := s.closed.find(b.id); {
		case byUs:
			return s.patience.frame()
		case found:
			return frames.ConnectionError(frames.ErrCodeStreamClosed)
		}
		return frames.ConnectionError(frames.ErrCodeProtocol)
	}
	if s.stage >= leaving {
		return nil // the client knows that it is not served
	}
	s.last = b.id
	if len(s.streams) >= streamLimit || len(s.serves) >= servedLimit || s.options.Client.Streams(0) {
		b.refuse(frames.ErrCodeRefusedStream)
		return nil
	}
	s.patience.useful()
	b.head = s.newStream(b.id)
	return nil
}

func (s *Session) takeMore(f *frames.ContinuationFrame) error {
	if s.block.frames++; s.block.frames > continuations {
		return calm(-1)
	}
	return s.takeFragment(f.HeaderBlockFragment(), f.HeadersEnded())
}

func (s *Session) takeFragment(fragment []byte, last bool) error {
	b := &s.block
	if b.bytes += len(fragment); b.bytes > blockLimit {
		return calm(-1)
	}
	if _, err := s.decoder.Write(fragment); err != nil {
		return frames.ConnectionError(frames.ErrCodeCompression)
	}
	if !last {
		return nil
	}
	if s.decoder.Close() != nil {
		return frames.ConnectionError(frames.ErrCodeCompression)
	}
	s.decoder.SetEmitEnabled(true)
	defer func() { s.block = block{} }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waitsHead = 0
	switch {
	case b.head != nil:
		return s.concludeHead(b)
	case b.trailer != nil && s.streams.find(b.id) != b.trailer:
		return nil // it is closed by now
	case b.trailer != nil && b.fault != nil:
		return s.reset(b.id, frames.ErrCodeProtocol)
	case b.trailer != nil:
		b.trailer.trailer = b.fields
		return b.trailer.end()
	case b.code != frames.ErrCodeNo:
		return s.reset(b.id, b.code)
	}
	return nil
}

// takeField takes a field out of a block.
func (s *Session) takeField(field hpack.HeaderField) {
	b := &s.block
	if b.size += int(field.Size()); b.size > message.HeadLimit {
		b.fault = &message.Error{Status: 431, Reason: "the head is too long"}
		s.decoder.SetEmitEnabled(false)
	}
	switch {
	case b.fault != nil:
	case b.head != nil:
		b.fault = b.head.Head.Add(field.Name, field.Value)
	case b.trailer != nil:
		b.fault = b.fields.AddTrailer(field.Name, field.Value)
	}
}

// concludeHead opens the stream of a request.
func (s *Session) concludeHead(b *block) error {
	st := b.head
	if b.fault == nil {
		b.fault = st.Head.Conclude(b.ended)
	}
	if refused, ok := errors.AsType[*message.Error](b.fault); ok {
		if refused.Status == 0 {
			return s.reset(b.id, frames.ErrCodeProtocol)
		}
		st.Fault = refused
	}
	s.streams = append(s.streams, st) // it is the newest
	st.ended = b.ended
	if s.draining {
		s.warn()
	}
	s.begun = append(s.begun, st)
	return nil
}
