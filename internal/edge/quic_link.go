package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/socket"
)

// Each edge has a Unix socket for each of its UDP sockets: run/quic-ADDRESS-NUMBER.sock.
// One that starts connects to those of all edges that are there. As long as such
// a link is open the elder edge leaves the reading to the younger one and gets by
// the link what is its own:
//
//	younger                       elder
//	   │── connects ───────────────→│ rests
//	   │←── a byte ─────────────────│
//	   │ reads                      │
//	   │── packets of the elder's ─→│ handles them, answers by the UDP socket
//	   ╳── ends, or dies ──────────→│ reads, unless there is another younger one
const (
	quicLinkPrefix = "quic-"
	// restTimeout is how long an elder edge may take to rest.
	restTimeout = time.Second
	// linkBuffer is how much may be on its way on a link, in bytes.
	linkBuffer = 1 << 20
)

// A packet on a link begins with its length, without these two bytes, and those
// of the address and of the control messages.
const (
	linkHead   = 2 + 1 + 1
	linkLength = 64 << 10
)

// quicLinks are the links of one UDP socket.
type quicLinks struct {
	socket    *quicSocket
	path      string
	listening *net.UnixListener
	work      sync.WaitGroup
	mu        sync.Mutex
	open      map[*net.UnixConn]struct{}
	closed    bool
}

// elder is an edge that was there before.
type elder struct {
	raw    syscall.RawConn
	buffer []byte
	unsent []byte // the rest of a packet; the ones after it are lost until it is sent
}

// linkQUIC makes a UDP socket known to the edges that are there, and returns when
// they leave its reading to this one.
func linkQUIC(s *quicSocket, folder string) (*quicLinks, error) {
	name := quicLinkPrefix + s.LocalAddr().String() + "-"
	l := &quicLinks{socket: s, path: filepath.Join(folder, fmt.Sprintf("%s%08x.sock", name, uint32(s.number))), open: map[*net.UnixConn]struct{}{}}
	var err error
	if l.listening, err = socket.Listen(l.path); err != nil {
		return nil, err
	}
	l.work.Go(l.accept)
	entries, err := os.ReadDir(folder)
	if err != nil {
		l.close()
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), restTimeout)
	defer cancel()
	var resting []<-chan struct{}
	for _, entry := range entries {
		text, ok := strings.CutPrefix(strings.TrimSuffix(entry.Name(), ".sock"), name)
		number, err := strconv.ParseUint(text, 16, 32)
		if !ok || err != nil || edgeNumber(number) == s.number {
			continue
		}
		if rests := l.connect(ctx, edgeNumber(number), filepath.Join(folder, entry.Name())); rests != nil {
			resting = append(resting, rests)
		}
	}
	for _, rests := range resting { // now that there is a link to each of them
		select {
		case <-rests:
		case <-ctx.Done(): // one that hangs reads nothing either, and rests once it goes on
		}
	}
	return l, nil
}

// connect links to an edge that is there, if it is still alive. It does not wait for
// it: what it gives is closed when that edge rests.
func (l *quicLinks) connect(ctx context.Context, number edgeNumber, path string) <-chan struct{} {
	conn, err := socket.Dial(ctx, path)
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path)
		}
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil || !l.keep(conn) {
		conn.Close()
		return nil
	}
	_ = conn.SetWriteBuffer(linkBuffer)
	l.socket.mu.Lock()
	l.socket.elders[number] = &elder{raw: raw}
	l.socket.mu.Unlock()
	rests := make(chan struct{})
	l.work.Go(func() {
		defer l.drop(conn)
		if _, err := io.ReadFull(conn, make([]byte, 1)); err == nil {
			close(rests)
			_, _ = conn.Read(make([]byte, 1)) // until it ends
		}
		l.socket.mu.Lock()
		defer l.socket.mu.Unlock()
		delete(l.socket.elders, number)
	})
	return rests
}

// accept takes the links of younger edges.
func (l *quicLinks) accept() {
	for {
		conn, err := l.listening.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(acceptPause) // there are too many open files
			continue
		}
		if !l.keep(conn) {
			conn.Close()
			return
		}
		l.work.Go(func() {
			defer l.drop(conn)
			l.socket.rest(+1)
			defer l.socket.rest(-1)
			if _, err := conn.Write([]byte{0}); err == nil {
				l.receive(conn)
			}
		})
	}
}

// receive takes what a younger edge passes on, until that ends.
func (l *quicLinks) receive(conn io.Reader) {
	var length [2]byte
	for {
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		if p, ok := parseDatagram(packet); ok {
			l.socket.give(p)
		}
	}
}

func (l *quicLinks) keep(conn *net.UnixConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.open[conn] = struct{}{}
	}
	return !l.closed
}

func (l *quicLinks) drop(conn *net.UnixConn) {
	conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, conn)
}

// close ends all links: elder edges read again.
func (l *quicLinks) close() {
	l.listening.Close()
	os.Remove(l.path)
	l.mu.Lock()
	l.closed = true
	for conn := range l.open {
		conn.Close()
	}
	l.mu.Unlock()
	l.work.Wait()
}

// pass sends a packet to its edge. It never waits: a packet that finds no room is
// lost. The caller has the socket's lock.
func (e *elder) pass(p datagram) {
	if len(e.unsent) > 0 {
		e.unsent = e.unsent[e.write(e.unsent):]
	}
	if len(e.unsent) == 0 {
		e.buffer = appendDatagram(e.buffer[:0], p)
		e.unsent = e.buffer[e.write(e.buffer):]
		if len(e.unsent) == len(e.buffer) {
			e.unsent = nil
		}
	}
}

// write gives how many bytes there was room for.
func (e *elder) write(p []byte) (n int) {
	_ = e.raw.Write(func(descriptor uintptr) bool {
		var errno syscall.Errno
		if n, errno = writeNow(descriptor, p); errno != 0 {
			n = 0
		}
		return true
	})
	return n
}

// appendDatagram appends a packet as it is on a link. One that is too long is left
// out: UDP knows none.
func appendDatagram(to []byte, p datagram) []byte {
	address, err := p.from.AddrPort().MarshalBinary()
	length := linkHead - 2 + len(address) + len(p.out) + len(p.data)
	if err != nil || length >= linkLength || len(address) > 255 || len(p.out) > 255 {
		return to
	}
	to = binary.BigEndian.AppendUint16(to, uint16(length))
	to = append(to, byte(len(address)), byte(len(p.out)))
	return append(append(append(to, address...), p.out...), p.data...)
}

// parseDatagram reads what appendDatagram wrote, without the length.
func parseDatagram(from []byte) (p datagram, ok bool) {
	if len(from) < linkHead-2 {
		return p, false
	}
	address, out, rest := int(from[0]), int(from[1]), from[2:]
	var sender netip.AddrPort
	if len(rest) < address+out || sender.UnmarshalBinary(rest[:address]) != nil {
		return p, false
	}
	return datagram{net.UDPAddrFromAddrPort(sender), rest[address : address+out], rest[address+out:]}, true
}
