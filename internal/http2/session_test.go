package http2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/springtide/springtide/internal/message"
)

// server is one session over a real connection, and its client's end.
type server struct {
	*Session
	client net.Conn
	crew   Crew
	now    atomic.Int64
	others testClient
	gone   atomic.Int32
	ended  chan struct{}
}

func serve(t testing.TB, handle func(*Stream)) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	s := &server{ended: make(chan struct{})}
	if s.client, err = net.Dial("tcp", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Session = NewSession(testConn{accepted.(*net.TCPConn)}, Options{
		Buffers: &testBuffers{}, Crew: &s.crew, Client: &s.others, Now: func() time.Duration { return time.Duration(s.now.Load()) },
		Open: func(st *Stream, _ Exchange) Exchange { return &testExchange{s, st, handle} },
	})
	go func() {
		defer close(s.ended)
		s.Serve()
	}()
	t.Cleanup(func() {
		s.client.Close()
		<-s.ended
		s.crew.Close()
	})
	if err := s.client.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return s
}

// testClient has other sessions, too.
type testClient struct {
	floods, forgiven, streams atomic.Int64
	tooMuch, full             atomic.Bool
}

func (c *testClient) Owes(floods, resets, noise int) bool {
	c.floods.Add(int64(floods))
	c.forgiven.Add(int64(resets + noise))
	return c.tooMuch.Load()
}

func (c *testClient) Streams(change int) bool {
	c.streams.Add(int64(change))
	return c.full.Load()
}

type testConn struct{ *net.TCPConn }

func (c testConn) Hangup() {
	c.CloseWrite()
	c.SetReadDeadline(time.Now().Add(time.Second))
}

type testBuffers struct{}

func (testBuffers) Borrow(size int) *[]byte {
	for _, class := range []int{hugeBuffer, largeBuffer, smallBuffer} {
		if size <= class {
			size = class
		}
	}
	b := make([]byte, size)
	return &b
}

func (testBuffers) GiveBack(b *[]byte) { clear(*b) } // whoever still reads it reads nonsense

type testExchange struct {
	server *server
	stream *Stream
	handle func(*Stream)
}

// Begin answers what is asked of the path /inline, and has itself served for /underway.
func (x *testExchange) Begin() Progress {
	switch x.stream.Head.Target {
	case "/inline":
		x.handle(x.stream)
		return Answered
	case "/underway":
		x.stream.Later()
		go x.stream.Serve()
		return Underway
	}
	return Waiting
}

func (x *testExchange) Serve()           { x.handle(x.stream) }
func (x *testExchange) Gone()            { x.server.gone.Add(1) }
func (*testExchange) Look(time.Duration) {}

func answer(st *Stream, body []byte) {
	st.Begin(AppendField(AppendStatus(nil, 200), "Content-Type", "text/plain"), len(body) == 0)
	if _, err := st.Send(body, true); err == nil {
		st.End(nil)
	}
}

func fine(st *Stream) { answer(st, []byte("fine")) }

// peer speaks to a session by hand.
type peer struct {
	t      testing.TB
	framer *frames.Framer
	block  bytes.Buffer
	coder  *hpack.Encoder
}

func speak(t testing.TB, s *server) *peer {
	t.Helper()
	p := &peer{t: t, framer: frames.NewFramer(s.client, s.client)}
	p.framer.AllowIllegalWrites = true
	p.coder = hpack.NewEncoder(&p.block)
	io.WriteString(s.client, frames.ClientPreface)
	p.framer.WriteSettings()
	return p
}

func (p *peer) head(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return slices.Clone(p.block.Bytes())
}

func (p *peer) ask(id uint32, ends bool, more ...string) {
	fields := append([]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/"}, more...)
	p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: id, EndStream: ends, EndHeaders: true, BlockFragment: p.head(fields...)})
}

// until reads frames up to one that is wanted.
func (p *peer) until(what string, wanted func(frames.Frame) bool) frames.Frame {
	p.t.Helper()
	for {
		frame, err := p.framer.ReadFrame()
		if err != nil {
			p.t.Fatalf("waited in vain for %s: %v", what, err)
		}
		if wanted(frame) {
			return frame
		}
	}
}

func ends(id uint32) func(frames.Frame) bool {
	return func(f frames.Frame) bool {
		h := f.Header()
		return h.StreamID == id && (h.Type == frames.FrameData || h.Type == frames.FrameHeaders) && h.Flags.Has(frames.FlagDataEndStream)
	}
}

func resets(id uint32, code frames.ErrCode) func(frames.Frame) bool {
	return func(f frames.Frame) bool {
		reset, ok := f.(*frames.RSTStreamFrame)
		return ok && reset.StreamID == id && reset.ErrCode == code
	}
}

func leaves(code frames.ErrCode) func(frames.Frame) bool {
	return func(f frames.Frame) bool {
		goaway, ok := f.(*frames.GoAwayFrame)
		return ok && goaway.ErrCode == code
	}
}

// clientOf gives net/http's client over the session.
func clientOf(t *testing.T, s *server) *http.Transport {
	t.Helper()
	var dialled atomic.Bool
	transport := &http.Transport{
		Protocols: new(http.Protocols),
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if dialled.Swap(true) { // requests at the same time dial each, and then share what is there first
				<-t.Context().Done()
				return nil, t.Context().Err()
			}
			return s.client, nil
		},
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

func TestBodiesLargerThanAnyWindowPassBothWaysOnManyStreams(t *testing.T) {
	s := serve(t, func(st *Stream) {
		st.Begin(AppendStatus(nil, 200), false)
		buffer := make([]byte, 20_000)
		for {
			n, err := st.Read(buffer)
			if n > 0 {
				if _, err := st.Send(buffer[:n], false); err != nil {
					return
				}
			}
			if err != nil {
				break
			}
		}
		st.End(AppendField(nil, "X-Sum", st.Trailer().Get("x-sum")))
	})
	client := clientOf(t, s)
	var streams sync.WaitGroup
	for i := range 8 {
		streams.Go(func() {
			sent := bytes.Repeat([]byte{byte(i), 'x', 'y'}, 700_000)
			request, _ := http.NewRequestWithContext(t.Context(), "POST", "http://a.example/", io.NopCloser(bytes.NewReader(sent)))
			request.Trailer = http.Header{"X-Sum": {"7"}}
			response, err := client.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			got, err := io.ReadAll(response.Body)
			if err != nil || !bytes.Equal(got, sent) || response.Trailer.Get("X-Sum") != "7" {
				t.Errorf("got %d bytes, %v, trailer %v", len(got), err, response.Trailer)
			}
		})
	}
	streams.Wait()
}

func TestStreamsTakeTurns(t *testing.T) {
	s := serve(t, func(st *Stream) { answer(st, make([]byte, 4<<20)) })
	p := speak(t, s)
	p.framer.WriteSettings(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 1 << 24})
	p.ask(1, true)
	waiting := func(streams int) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.line) == streams
		}
	}
	eventually(t, "the first stream to want more room", waiting(1))
	p.ask(3, true)
	eventually(t, "the second to wait, too", waiting(2))
	p.framer.WriteWindowUpdate(0, 1<<24)
	sent := map[uint32]int{}
	p.until("the second to end", func(f frames.Frame) bool {
		if f.Header().Type == frames.FrameData {
			sent[f.Header().StreamID] += int(f.Header().Length)
		}
		return sent[3] >= 1<<20
	})
	if sent[1] > 4<<20-1<<18 {
		t.Errorf("of the first stream %d bytes went before 1 MiB of the second", sent[1])
	}
}

func TestARequestThatIsNoneIsResetAndOneThatCannotBeServedIsAnswered(t *testing.T) {
	var fault atomic.Pointer[message.Error]
	s := serve(t, func(st *Stream) {
		fault.Store(st.Fault)
		fine(st)
	})
	p := speak(t, s)
	id := uint32(1)
	for _, more := range [][]string{
		{"X-Upper", "1"},
		{"connection", "close"},
		{"transfer-encoding", "chunked"},
		{"te", "gzip"},
		{":path", "/again"},
		{"host", "b.example"},
		{"content-length", "5"},
		{"x", " blank"},
		{"x", "a\nb"},
	} {
		p.ask(id, true, more...)
		p.until("a reset", resets(id, frames.ErrCodeProtocol))
		id += 2
	}
	for status, more := range map[int][]string{
		417: {"expect", "something"}, 431: {"x", string(bytes.Repeat([]byte("x"), 66<<10))},
	} {
		block := p.head(append([]string{":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/"}, more...)...)
		p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: len(block) <= frameLimit, BlockFragment: block[:min(len(block), frameLimit)]})
		for len(block) > frameLimit {
			block = block[frameLimit:]
			p.framer.WriteContinuation(id, len(block) <= frameLimit, block[:min(len(block), frameLimit)])
		}
		p.until("an answer", ends(id))
		if got := fault.Load(); got == nil || got.Status != status {
			t.Errorf("%v is refused with %v, want %d", more[0], got, status)
		}
		id += 2
	}
	p.ask(id, true, "cookie", "a=b", "cookie", "c=d")
	p.until("an answer", ends(id))
}

func TestAnAnswerMayBeCompleteBeforeTheRequestIs(t *testing.T) {
	s := serve(t, fine)
	p := speak(t, s)
	p.ask(1, false)
	p.until("the answer", ends(1))
	p.until("word that the rest is not wanted", resets(1, frames.ErrCodeNo))
	p.framer.WriteData(1, true, make([]byte, 1000)) // was under way
	p.ask(3, true)
	p.until("the next answer", ends(3))
}

func TestWhatIsAnsweredByTheGoroutineThatReadsNeverHoldsItUp(t *testing.T) {
	var room atomic.Int64
	s := serve(t, func(st *Stream) {
		room.Store(st.Reserve())
		answer(st, make([]byte, 40<<10))
	})
	p := speak(t, s)
	ask := func(id uint32) {
		block := p.head(":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/inline")
		p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block})
	}
	ask(1)
	p.until("the answer", ends(1))
	if room.Load() < 40<<10 {
		t.Errorf("there was room for %d bytes at first", room.Load())
	}
	ask(3) // the client has given no more room
	p.until("the reset", resets(3, frames.ErrCodeInternal))
	if room.Load() != defaultWindow-40<<10 {
		t.Errorf("then there was room for %d bytes", room.Load())
	}
}

func TestTheRoomOfAnAnswerAtOnceIsTakenByNobodyElse(t *testing.T) {
	reserved := make(chan struct{})
	s := serve(t, func(st *Stream) {
		body := make([]byte, 40<<10)
		if st.Head.Target != "/inline" {
			<-reserved
			answer(st, body)
			return
		}
		st.Reserve()
		close(reserved)
		eventually(t, "the other stream to try", func() bool {
			st.session.mu.Lock()
			defer st.session.mu.Unlock()
			return len(st.session.line) > 0 || len(st.session.out) > 40<<10
		})
		answer(st, body)
	})
	p := speak(t, s)
	p.ask(1, true)
	block := p.head(":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/inline")
	p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true, BlockFragment: block})
	p.until("the answer at once", ends(3))
	p.framer.WriteWindowUpdate(0, defaultWindow)
	p.until("the other answer", ends(1))
}

func TestWhatIsUnderwayIsServedByWhoeverHasIt(t *testing.T) {
	s := serve(t, fine)
	p := speak(t, s)
	for id := range uint32(100) {
		block := p.head(":method", "GET", ":scheme", "https", ":authority", "a.example", ":path", "/underway")
		p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: 2*id + 1, EndStream: true, EndHeaders: true, BlockFragment: block})
	}
	left := 100
	p.until("all answers", func(f frames.Frame) bool {
		if ends(f.Header().StreamID)(f) {
			left--
		}
		return left == 0
	})
}

func TestHalfAnAnswerIsReset(t *testing.T) {
	s := serve(t, func(st *Stream) {
		st.Begin(AppendStatus(nil, 200), false)
		st.Send([]byte("half"), false)
	})
	p := speak(t, s)
	p.ask(1, true)
	p.until("the reset", resets(1, frames.ErrCodeInternal))
}

func TestASessionIsDrainedInTwoSteps(t *testing.T) {
	goOn := make(chan struct{})
	s := serve(t, func(st *Stream) {
		<-goOn
		fine(st)
	})
	p := speak(t, s)
	p.ask(1, true)
	p.framer.WritePing(false, [8]byte{1})
	p.until("the ping's answer", func(f frames.Frame) bool { return f.Header().Type == frames.FramePing })
	s.Drain()
	first := p.until("the warning", leaves(frames.ErrCodeNo)).(*frames.GoAwayFrame)
	if first.LastStreamID != 1<<31-1 {
		t.Errorf("the last stream is said to be %d at once", first.LastStreamID)
	}
	ping := p.until("the ping", func(f frames.Frame) bool { return f.Header().Type == frames.FramePing }).(*frames.PingFrame)
	p.ask(3, true) // it was under way, and is served
	p.framer.WritePing(true, ping.Data)
	second := p.until("the last word", leaves(frames.ErrCodeNo)).(*frames.GoAwayFrame)
	if second.LastStreamID != 3 {
		t.Errorf("the last stream is said to be %d", second.LastStreamID)
	}
	p.ask(5, true) // it is not, and the client knows
	close(goOn)
	answered := map[uint32]bool{}
	for {
		frame, err := p.framer.ReadFrame()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []uint32{1, 3, 5} {
			answered[id] = answered[id] || ends(id)(frame)
		}
	}
	if !answered[1] || !answered[3] || answered[5] {
		t.Errorf("answered: %v", answered)
	}
	s.client.Close()
	<-s.ended
}

func TestTheSlowAreGivenUpAtTheirLimitsAndNotBefore(t *testing.T) {
	read := make(chan error, 1)
	s := serve(t, func(st *Stream) {
		if st.Head.Length != 0 {
			_, err := st.Read(make([]byte, 100))
			read <- err
			return
		}
		answer(st, make([]byte, 100_000)) // the window is 65,535
	})
	p := speak(t, s)
	look := func(now time.Duration) {
		s.now.Store(int64(now))
		s.Look(now)
	}
	p.ask(1, true)
	received := 0
	p.until("the window to be full", func(f frames.Frame) bool {
		if f.Header().Type == frames.FrameData {
			received += int(f.Header().Length)
		}
		return received == defaultWindow
	})
	waits := func(of func(*Stream) bool) func() bool {
		return func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.ContainsFunc(s.serves, of)
		}
	}
	eventually(t, "the answer to wait", waits(func(st *Stream) bool { return st.blocked }))
	look(takeTimeout)
	if s.gone.Load() != 0 {
		t.Fatal("the stream was given up before its time")
	}
	look(takeTimeout + time.Second)
	p.until("the stream to be reset", resets(1, frames.ErrCodeCancel))
	p.ask(3, false)
	eventually(t, "the body to be waited for", waits(func(st *Stream) bool { return st.reading }))
	look(takeTimeout + time.Second + bodyTimeout)
	select {
	case err := <-read:
		t.Fatalf("the body was given up before its time: %v", err)
	default:
	}
	look(takeTimeout + 2*time.Second + bodyTimeout)
	if err := <-read; err == nil || errors.Is(err, errGone) {
		t.Errorf("the body ended with %v", err)
	}
	p.until("the end of that stream", resets(3, frames.ErrCodeInternal))
	look(takeTimeout + 2*time.Second + bodyTimeout + idleTimeout)
	look(takeTimeout + 4*time.Second + bodyTimeout + idleTimeout)
	p.until("the end", leaves(frames.ErrCodeNo))
}

func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
