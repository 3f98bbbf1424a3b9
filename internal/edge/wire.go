package edge

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wire is a TCP connection whose system calls cost as little as they can: none
// of them blocks, so the scheduler need not be told of them. One goroutine may
// read while another writes.
type wire struct {
	*net.TCPConn
	raw  syscall.RawConn
	cork cork

	in, before, out   []byte // before goes out before out
	read, written     int
	readErr, writeErr error
	// impatient has Read give errNothing in place of waiting.
	impatient atomic.Bool
	// tryRead and tryWrite are made once.
	tryRead, tryWrite func(descriptor uintptr) bool
}

func newWire(tcp *net.TCPConn) (*wire, error) {
	raw, err := tcp.SyscallConn()
	w := &wire{TCPConn: tcp, raw: raw}
	w.tryRead, w.tryWrite = w.readOnce, w.writeOnce
	return w, err
}

// Read implements net.Conn.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	w.in, w.read, w.readErr = p, 0, nil
	err := w.raw.Read(w.tryRead)
	w.in = nil
	if err == nil {
		err = w.readErr
	}
	if err == nil && w.read == 0 {
		err = io.EOF
	}
	return w.read, err
}

func (w *wire) readOnce(descriptor uintptr) bool {
	n, errno := readNow(descriptor, w.in)
	if errno == syscall.EAGAIN {
		w.readErr = errNothing
		return w.impatient.Load()
	}
	w.read, w.readErr = n, asError(errno)
	return true
}

// Write implements net.Conn.
func (w *wire) Write(p []byte) (int, error) {
	if w.cork.take(p) {
		return len(p), nil
	}
	return w.writeNow(p)
}

func (w *wire) writeNow(p []byte) (int, error) {
	w.out, w.written, w.writeErr = p, 0, nil
	err := w.raw.Write(w.tryWrite)
	w.out = nil
	if err == nil {
		err = w.writeErr
	}
	return w.written, err
}

// writeBoth writes two pieces that lie apart at once, past a cork.
func (w *wire) writeBoth(first, second []byte) (writtenOfSecond int, err error) {
	w.before = first
	writtenOfSecond, err = w.writeNow(second)
	w.before = nil
	return writtenOfSecond, err
}

func (w *wire) writeOnce(descriptor uintptr) bool {
	for len(w.before) > 0 {
		n, errno := writeBothNow(descriptor, w.before, w.out)
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			w.writeErr = asError(errno)
			return true
		}
		w.written = max(0, n-len(w.before))
		w.before = w.before[min(n, len(w.before)):]
	}
	for w.written < len(w.out) {
		n, errno := writeNow(descriptor, w.out[w.written:])
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			w.writeErr = asError(errno)
			return true
		}
		w.written += n
	}
	return true
}

// cork gathers what is written in many small pieces, which TLS does with what is
// long, so that it goes out in a large one.
type cork struct {
	on     atomic.Bool
	mu     sync.Mutex
	buffer []byte
}

func (c *cork) take(p []byte) bool {
	if !c.on.Load() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on.Load() {
		c.buffer = append(c.buffer, p...)
		return true
	}
	return false
}

// gather has what write writes to the socket go out at once, by way of the buffer.
func (w *wire) gather(buffer []byte, write func() error) error {
	w.cork.buffer = buffer[:0]
	w.cork.on.Store(true)
	err := write()
	w.cork.mu.Lock()
	w.cork.on.Store(false)
	gathered := w.cork.buffer
	w.cork.buffer = nil
	w.cork.mu.Unlock()
	if err == nil {
		_, err = w.writeNow(gathered)
	}
	return err
}

// sendSecured sends over TLS, in few large writes what is longer than a record.
func (w *wire) sendSecured(conn net.Conn, p []byte, buffers *buffers) (err error) {
	if len(p) <= tlsRecord {
		_, err = conn.Write(p)
		return err
	}
	for len(p) > 0 && err == nil {
		piece := p[:min(len(p), 3*tlsRecord)]
		p = p[len(piece):]
		buffer := borrow(&buffers.bodies)
		err = w.gather(*buffer, func() error {
			_, err := conn.Write(piece)
			return err
		})
		buffers.bodies.Put(buffer)
	}
	return err
}

// tlsRecord is what a record of TLS holds at most, in bytes.
const tlsRecord = 16 << 10

// readNow reads what is there; EAGAIN if nothing is.
func readNow(descriptor uintptr, to []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_RECVFROM, descriptor, to, 0)
}

// writeNow writes what there is room for; EAGAIN if there is none.
func writeNow(descriptor uintptr, from []byte) (int, syscall.Errno) {
	return transfer(syscall.SYS_SENDTO, descriptor, from, syscall.MSG_NOSIGNAL)
}

// writeBothNow is writeNow for two pieces.
func writeBothNow(descriptor uintptr, first, second []byte) (int, syscall.Errno) {
	pieces := [2]syscall.Iovec{{Base: unsafe.SliceData(first)}, {Base: unsafe.SliceData(second)}}
	pieces[0].SetLen(len(first))
	pieces[1].SetLen(len(second))
	message := syscall.Msghdr{Iov: &pieces[0], Iovlen: 2}
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_SENDMSG, descriptor, uintptr(unsafe.Pointer(&message)), syscall.MSG_NOSIGNAL)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func transfer(call, descriptor uintptr, bytes []byte, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall6(call, descriptor, uintptr(unsafe.Pointer(unsafe.SliceData(bytes))), uintptr(len(bytes)), flags, 0, 0)
		if errno == 0 {
			return int(n), 0
		}
		if errno != syscall.EINTR {
			return 0, errno
		}
	}
}

func asError(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// hungUp says whether the other end has sent its last byte, and whether the
// connection is broken altogether. It takes nothing from what is unread.
func hungUp(raw syscall.RawConn) (ended, broken bool) {
	err := raw.Control(func(descriptor uintptr) {
		polled := []unix.PollFd{{Fd: int32(descriptor), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(polled, 0); err == nil && n > 0 {
			ended, broken = true, polled[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	})
	return ended || err != nil, broken || err != nil
}

// stall finds out whether the other end takes nothing of what the kernel sends
// on its own. All but its switch is the clock's.
type stall struct {
	on    atomic.Bool
	acked uint64
	ticks int
}

// stallTicks is how many ticks a client may take nothing.
const stallTicks = int(writeTimeout / tick)

// look says that nothing was taken for too long. It is called once per tick.
func (s *stall) look(raw syscall.RawConn) bool {
	if !s.on.Load() {
		s.ticks = 0
		return false
	}
	var acked uint64
	waiting := false
	_ = raw.Control(func(descriptor uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(descriptor), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			acked, waiting = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	if s.ticks++; !waiting || acked != s.acked {
		s.ticks = 0
	}
	s.acked = acked
	return s.ticks > stallTicks
}
