package http2

import (
	"bytes"
	"io"
	"testing"
	"time"

	frames "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestFloodsEndTheirConnection(t *testing.T) {
	for name, wave := range map[string]func(p *peer, id uint32){
		"rapid reset": func(p *peer, id uint32) {
			p.ask(id, true)
			p.framer.WriteRSTStream(id, frames.ErrCodeCancel)
		},
		"resets that the client has us send": func(p *peer, id uint32) {
			p.ask(id, true)
			p.framer.WriteRawFrame(frames.FrameWindowUpdate, 0, id, make([]byte, 4))
		},
		"malformed requests":        func(p *peer, id uint32) { p.ask(id, true, "connection", "close") },
		"pings":                     func(p *peer, _ uint32) { p.framer.WritePing(false, [8]byte{}) },
		"settings":                  func(p *peer, _ uint32) { p.framer.WriteSettings() },
		"priorities":                func(p *peer, id uint32) { p.framer.WritePriority(id, frames.PriorityParam{Weight: 1}) },
		"window updates":            func(p *peer, _ uint32) { p.framer.WriteWindowUpdate(0, 1) },
		"frames that are not known": func(p *peer, _ uint32) { p.framer.WriteRawFrame(99, 0, 0, nil) },
		"empty data": func(p *peer, id uint32) {
			if id == 1 {
				p.ask(1, false, "expect-nothing", "1")
			}
			p.framer.WriteData(1, false, nil)
		},
		"continuations": func(p *peer, id uint32) {
			if id == 1 {
				p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: 1, BlockFragment: p.head(":method", "GET")})
			}
			p.framer.WriteContinuation(1, false, nil)
		},
		"a head without end": func(p *peer, id uint32) {
			piece := p.head("x", string(bytes.Repeat([]byte("x"), 8<<10)))
			if id == 1 {
				p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: 1, BlockFragment: piece})
			} else {
				p.framer.WriteContinuation(1, false, piece)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			s := serve(t, func(*Stream) { <-over })
			defer close(over)
			p := speak(t, s)
			go func() {
				for id := uint32(1); id < 40_000; id += 2 {
					wave(p, id)
				}
			}()
			p.until("the client to be told to calm down", leaves(frames.ErrCodeEnhanceYourCalm))
			if n := s.others.floods.Load(); n != 1 {
				t.Errorf("%d floods are on record", n)
			}
		})
	}
}

func TestWhatClientsDoInEarnestIsNoFlood(t *testing.T) {
	s := serve(t, fine)
	p := speak(t, s)
	for id := uint32(1); id < 3000; id += 2 { // more noise than is let pass at once
		p.ask(id, true)
		p.framer.WritePing(false, [8]byte{})
		p.framer.WriteWindowUpdate(0, 4)
		p.until("the answer", ends(id))
	}
	for i := range uint32(100) { // a page is left before it is there
		p.ask(6001+2*i, true)
		p.framer.WriteRSTStream(6001+2*i, frames.ErrCodeCancel)
	}
	p.ask(7001, true)
	p.until("the last answer", ends(7001))
}

func TestAClientWhoFloodsByManySessionsLosesThoseThatDoIt(t *testing.T) {
	s := serve(t, fine)
	p := speak(t, s)
	p.ask(1, true)
	p.until("the answer", ends(1))
	s.others.tooMuch.Store(true)
	s.Look(0)
	for mark, pings := range []int{noisePerTick / 2, noisePerTick} {
		for range pings {
			p.framer.WritePing(true, [8]byte{})
		}
		p.framer.WritePing(false, [8]byte{byte(mark)})
		p.until("all of it to be taken", func(f frames.Frame) bool {
			ping, ok := f.(*frames.PingFrame)
			return ok && ping.IsAck() && ping.Data[0] == byte(mark)
		})
		s.Look(0)
	}
	p.until("the client to be told to calm down", leaves(frames.ErrCodeEnhanceYourCalm))
	if floods, forgiven := s.others.floods.Load(), s.others.forgiven.Load(); floods != 1 || forgiven < noisePerTick*3/2 || forgiven > noisePerTick*2 {
		t.Errorf("%d floods, and %d frames that time made good", floods, forgiven)
	}
}

func TestAClientWithAsManyStreamsAsItMayHaveIsRefusedMore(t *testing.T) {
	s := serve(t, fine)
	p := speak(t, s)
	s.others.full.Store(true)
	p.ask(1, true)
	p.until("the stream to be refused", resets(1, frames.ErrCodeRefusedStream))
	s.others.full.Store(false)
	p.ask(3, true)
	p.until("the next one to be answered", ends(3))
	s.client.Close()
	<-s.ended
	if n := s.others.streams.Load(); n != 0 {
		t.Errorf("%d streams are under way after the end", n)
	}
}

func TestMoreStreamsThanAllowedAreRefused(t *testing.T) {
	over := make(chan struct{})
	s := serve(t, func(st *Stream) {
		<-over
		fine(st)
	})
	p := speak(t, s)
	for i := range uint32(streamLimit + 1) {
		p.ask(1+2*i, true)
	}
	p.until("the last one to be refused", resets(1+2*streamLimit, frames.ErrCodeRefusedStream))
	close(over)
	p.until("one of the others to be answered", ends(2*streamLimit-1))
}

// shorthand is frames in a form of which nearly all changes are frames too: type, flags,
// stream and length are a byte each. Longhand is the other way round.
func shorthand(frames []byte) (short []byte) {
	for len(frames) > 0 {
		length := int(frames[2])
		short = append(short, frames[3], frames[4], frames[8], frames[2])
		short = append(short, frames[frameHeader:frameHeader+length]...)
		frames = frames[frameHeader+length:]
	}
	return short
}

func longhand(short []byte) (frames []byte) {
	for len(short) >= 4 {
		length := min(int(short[3]), len(short)-4)
		frames = append(frames, 0, 0, byte(length), short[0]%11, short[1], 0, 0, 0, short[2])
		frames = append(frames, short[4:4+length]...)
		short = short[4+length:]
	}
	return frames
}

// FuzzFrames has a session read anything at all: it ends, and so does every
// exchange.
func FuzzFrames(f *testing.F) {
	var seed bytes.Buffer
	p := &peer{t: f, framer: frames.NewFramer(&seed, nil)}
	p.coder = hpack.NewEncoder(&p.block)
	p.framer.WriteSettings(frames.Setting{ID: frames.SettingInitialWindowSize, Val: 3})
	p.ask(1, false, "content-length", "5", "cookie", "a")
	p.framer.WriteData(1, false, []byte("he"))
	p.framer.WriteDataPadded(1, false, []byte("llo"), make([]byte, 3))
	p.framer.WriteHeaders(frames.HeadersFrameParam{StreamID: 1, EndStream: true, EndHeaders: true, BlockFragment: p.head("x-trailer", "1")})
	p.ask(3, true)
	p.framer.WriteWindowUpdate(3, 100)
	p.framer.WriteRSTStream(3, frames.ErrCodeCancel)
	p.framer.WritePing(false, [8]byte{1})
	p.framer.WriteGoAway(1, frames.ErrCodeNo, nil)
	f.Add(seed.Bytes(), false)
	f.Add(shorthand(seed.Bytes()), true)
	f.Fuzz(func(t *testing.T, data []byte, short bool) {
		if short {
			data = longhand(data)
		}
		s := serve(t, func(st *Stream) {
			_, _ = io.Copy(io.Discard, st)
			fine(st)
		})
		go io.Copy(io.Discard, s.client)
		io.WriteString(s.client, frames.ClientPreface)
		s.client.Write(data)
		s.client.Close()
		select {
		case <-s.ended:
		case <-time.After(time.Minute):
			t.Fatal("the session does not end")
		}
	})
}
