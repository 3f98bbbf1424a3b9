package storm

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// http2Client asks over HTTP/2 by frames of its own, with windows that are small, and
// that change. It counts what the edge may send.
type http2Client struct {
	*asker
	address string
	tls     *tls.Config
	open    *session
}

func (c *http2Client) close() {
	if c.open != nil {
		c.open.conn.Close()
		c.open = nil
	}
}

func (c *http2Client) round(ctx context.Context, judge judge) {
	if c.open == nil {
		var err error
		if c.open, err = newSession(ctx, c.address, c.tls, c.window()); err != nil {
			judge(nil, err)
			return
		}
	}
	s := c.open
	if c.random.IntN(3) == 0 {
		s.resize(c.window())
	}
	var asking sync.WaitGroup
	for range 1 + c.random.IntN(10) {
		q := c.next()
		q.began = time.Now()
		resets, grain := c.random.IntN(60) == 0, max(int64(1)<<(8+c.random.IntN(9)), min(q.length, 64<<20)/256)
		asking.Go(func() { judge(q, c.ask(s, q, resets, grain)) })
	}
	asking.Wait()
	if err := s.broken(); err != nil || c.random.IntN(60) == 0 {
		c.close()
	}
}

func (c *http2Client) window() int64 {
	sizes := []int64{0, 100, 3000, 16 << 10, 65535, 1 << 20}
	return sizes[c.random.IntN(len(sizes))]
}

func (c *http2Client) ask(s *session, q *question, resets bool, grain int64) error {
	st, err := s.request(q)
	if err != nil {
		return q.excuse(err)
	}
	defer s.forget(st)
	st.grain = grain
	go func() { _ = s.upload(st, q.upload) }() // ends with the stream, or with the session
	header, err := st.head()
	if err != nil {
		return q.excuse(fmt.Errorf("no head: %w", err))
	}
	if resets {
		s.reset(st)
		return errExcused
	}
	status, _ := strconv.Atoi(header.Get(":status"))
	c.remember(q, header)
	return q.check(answer{status, header, func() http.Header { return st.trailer }, st})
}

// session is a connection of HTTP/2.
type session struct {
	conn   net.Conn
	framer *http2.Framer

	writing sync.Mutex // of the framer, and of coder
	block   bytes.Buffer
	coder   *hpack.Encoder

	mu      sync.Mutex
	changed sync.Cond
	err     error
	streams map[uint32]*stream
	next    uint32
	window  int64 // what the edge may still send
	initial int64 // of streams that are begun now
	shrinks []shrink

	theirWindow, theirInitial int64
}

// shrink is by how much the windows of streams before that one are less
// when the edge has heard of it.
type shrink struct {
	by     int64
	before uint32
}

// stream is a request on it, and its answer.
type stream struct {
	*session
	id          uint32
	header      http.Header
	trailer     http.Header
	body        []byte
	read, grain int64 // what was read and is not given back
	ended       bool
	err         error
	window      int64
	theirWindow int64
}

func newSession(ctx context.Context, address string, config *tls.Config, window int64) (*session, error) {
	dialer := tls.Dialer{Config: config}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, framer: http2.NewFramer(conn, conn), streams: make(map[uint32]*stream), next: 1, window: 65535, initial: window, theirWindow: 65535, theirInitial: 65535}
	s.changed.L = &s.mu
	s.coder = hpack.NewEncoder(&s.block)
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, err
	}
	if err := s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(window)}); err != nil {
		return nil, err
	}
	s.shrinks = append(s.shrinks, shrink{})
	go s.listen()
	return s, nil
}

func (s *session) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// resize has the edge's windows of all streams be others.
func (s *session) resize(window int64) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.mu.Lock()
	difference := window - s.initial
	s.initial = window
	if difference > 0 {
		for _, st := range s.streams {
			st.window += difference
		}
		difference = 0
	}
	s.shrinks = append(s.shrinks, shrink{difference, s.next})
	s.mu.Unlock()
	_ = s.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(window)})
}

func (s *session) request(q *question) (*stream, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.block.Reset()
	for _, field := range append([][2]string{{":method", q.method}, {":scheme", "https"}, {":authority", "example.com"}, {":path", q.path}}, q.fields...) {
		_ = s.coder.WriteField(hpack.HeaderField{Name: strings.ToLower(field[0]), Value: field[1]})
	}
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return nil, s.err
	}
	st := &stream{session: s, id: s.next, window: s.initial, theirWindow: s.theirInitial}
	s.next += 2
	s.streams[st.id] = st
	s.mu.Unlock()
	return st, s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: st.id, BlockFragment: s.block.Bytes(), EndHeaders: true, EndStream: q.sending() == nil})
}

// upload sends a request's body, as the edge has room for it.
func (s *session) upload(st *stream, body []byte) error {
	if body == nil {
		return nil
	}
	for {
		s.mu.Lock()
		for s.err == nil && st.err == nil && !st.ended && len(body) > 0 && min(s.theirWindow, st.theirWindow) <= 0 {
			s.changed.Wait()
		}
		n := min(int64(len(body)), s.theirWindow, st.theirWindow, 16<<10)
		if s.err != nil || st.err != nil || st.ended {
			s.mu.Unlock()
			return s.err
		}
		s.theirWindow -= n
		st.theirWindow -= n
		s.mu.Unlock()
		s.writing.Lock()
		err := s.framer.WriteData(st.id, n == int64(len(body)), body[:n])
		s.writing.Unlock()
		if body = body[n:]; err != nil || len(body) == 0 {
			return err
		}
	}
}

func (s *session) reset(st *stream) {
	s.forget(st)
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
}

// forget gives back what a stream has and nobody reads.
func (s *session) forget(st *stream) {
	s.mu.Lock()
	left := int64(len(st.body)) + st.read
	unfinished := !st.ended && st.err == nil
	if unfinished {
		st.err = errors.New("given up")
	}
	st.body, st.read = nil, 0
	delete(s.streams, st.id)
	s.window += left
	s.changed.Broadcast()
	s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if unfinished {
		_ = s.framer.WriteRSTStream(st.id, http2.ErrCodeCancel)
	}
	if left > 0 {
		_ = s.framer.WriteWindowUpdate(0, uint32(left))
	}
}

// head waits for the head of the answer.
func (st *stream) head() (http.Header, error) {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for st.header == nil && st.err == nil && s.err == nil {
		s.changed.Wait()
	}
	if st.header != nil {
		return st.header, nil
	}
	return nil, errors.Join(st.err, s.err)
}

// Read gives room back, as much as it read, when that is a grain; all of it if there is
// nothing more to come.
func (st *stream) Read(p []byte) (int, error) {
	s := st.session
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(st.body) == 0 && !st.ended && st.err == nil && s.err == nil {
		if more := max(st.read, st.grain-max(st.window, 0)); st.window <= 0 || st.read > 0 {
			s.give(st, st.read, more)
			continue
		}
		s.changed.Wait()
	}
	if n := copy(p, st.body); n > 0 {
		st.body = st.body[n:]
		if st.read += int64(n); st.read >= st.grain {
			s.give(st, st.read, st.read)
		}
		return n, nil
	}
	if st.err == nil && st.ended {
		return 0, io.EOF
	}
	return 0, errors.Join(st.err, s.err)
}

// give gives room back. The lock is held, and given up meanwhile.
func (s *session) give(st *stream, session, of int64) {
	st.read = 0
	s.window += session
	st.window += of
	s.mu.Unlock()
	s.writing.Lock()
	if session > 0 {
		_ = s.framer.WriteWindowUpdate(0, uint32(session))
	}
	if of > 0 {
		_ = s.framer.WriteWindowUpdate(st.id, uint32(of))
	}
	s.writing.Unlock()
	s.mu.Lock()
}

// listen takes the edge's frames until the connection ends.
func (s *session) listen() {
	for {
		_ = s.conn.SetDeadline(time.Now().Add(patience))
		frame, err := s.framer.ReadFrame()
		s.mu.Lock()
		if err == nil {
			err = s.take(frame)
		}
		if err != nil && s.err == nil {
			s.err = err
		}
		s.changed.Broadcast()
		s.mu.Unlock()
		if err != nil {
			s.conn.Close()
			return
		}
		if settings, is := frame.(*http2.SettingsFrame); is && !settings.IsAck() {
			s.writing.Lock()
			_ = s.framer.WriteSettingsAck()
			s.writing.Unlock()
		}
	}
}

func (s *session) take(frame http2.Frame) error {
	st := s.streams[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			if len(s.shrinks) == 0 {
				return mismatch("settings are acknowledged that were not sent")
			}
			for id, st := range s.streams {
				if id < s.shrinks[0].before {
					st.window += s.shrinks[0].by
				}
			}
			s.shrinks = s.shrinks[1:]
		} else if value, ok := f.Value(http2.SettingInitialWindowSize); ok {
			for _, st := range s.streams {
				st.theirWindow += int64(value) - s.theirInitial
			}
			s.theirInitial = int64(value)
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			s.theirWindow += int64(f.Increment)
		} else if st != nil {
			st.theirWindow += int64(f.Increment)
		}
	case *http2.MetaHeadersFrame:
		if st == nil {
			return nil
		}
		header := make(http.Header)
		for _, field := range f.Fields {
			header[http.CanonicalHeaderKey(field.Name)] = append(header[http.CanonicalHeaderKey(field.Name)], field.Value)
		}
		if st.header != nil {
			st.trailer = header
		} else if status := header[":status"]; len(status) != 1 || status[0][0] != '1' {
			st.header = header
		}
		st.ended = st.ended || f.StreamEnded()
	case *http2.DataFrame:
		return s.data(st, f)
	case *http2.RSTStreamFrame:
		if st != nil && !(st.ended && f.ErrCode == http2.ErrCodeNo) {
			st.err = fmt.Errorf("reset with %s", f.ErrCode)
		}
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			return mismatch(fmt.Sprintf("the edge goes away with %s %s", f.ErrCode, f.DebugData()))
		}
	}
	return nil
}

func (s *session) data(st *stream, f *http2.DataFrame) error {
	n := int64(f.Length)
	if s.window -= n; s.window < 0 {
		return mismatch(fmt.Sprintf("%d bytes more than there is room for on the connection", -s.window))
	}
	if st == nil { // nobody reads it
		s.window += n
		s.mu.Unlock()
		s.writing.Lock()
		if n > 0 {
			_ = s.framer.WriteWindowUpdate(0, uint32(n))
		}
		s.writing.Unlock()
		s.mu.Lock()
		return nil
	}
	if st.window -= n; st.window < 0 && n > 0 {
		return mismatch(fmt.Sprintf("%d bytes more than there is room for on stream %d", -st.window, st.id))
	}
	if st.header == nil || st.ended {
		return mismatch("a body without a head, or behind its end")
	}
	st.body = append(st.body, f.Data()...)
	st.ended = f.StreamEnded()
	return nil
}
