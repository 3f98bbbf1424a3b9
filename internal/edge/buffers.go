package edge

import (
	"net"
	"sync"
	"syscall"
)

// The sizes of buffers, in bytes.
const (
	headBuffer = 16 << 10 // for what is read: a head, and with it most bodies
	bodyBuffer = 64 << 10 // for long bodies
	sendBuffer = 32 << 10 // for what goes out in one write
)

// buffers are lent to whoever has something in them: what is idle has none.
type buffers struct {
	heads, bodies, sends sync.Pool // of *[]byte
}

func newBuffers() *buffers {
	of := func(size int) sync.Pool { return sync.Pool{New: func() any { b := make([]byte, size); return &b }} }
	return &buffers{heads: of(headBuffer), bodies: of(bodyBuffer), sends: of(sendBuffer)}
}

func borrow(from *sync.Pool) *[]byte { return from.Get().(*[]byte) }

// giveBack takes back a buffer of heads or of bodies.
func (b *buffers) giveBack(buffer *[]byte) {
	if len(*buffer) == headBuffer {
		b.heads.Put(buffer)
		return
	}
	b.bodies.Put(buffer)
}

// quiet reads from a socket without holding a buffer while nothing comes.
type quiet struct {
	raw    syscall.RawConn
	pool   *sync.Pool
	buffer *[]byte // of the last read that got something
	n      int
	err    error
	try    func(descriptor uintptr) bool // tryOnce, made once
}

func newQuiet(conn *net.TCPConn, pool *sync.Pool) (*quiet, error) {
	raw, err := conn.SyscallConn()
	q := &quiet{raw: raw, pool: pool}
	q.try = q.tryOnce
	return q, err
}

// read waits for something and gives the buffer that has it, and how much it is;
// 0 at the end of the stream. The buffer is the caller's to give back.
func (q *quiet) read() (*[]byte, int, error) {
	q.buffer, q.n, q.err = nil, 0, nil
	if err := q.raw.Read(q.try); err != nil {
		return nil, 0, err
	}
	return q.buffer, q.n, q.err
}

func (q *quiet) tryOnce(descriptor uintptr) bool {
	buffer := borrow(q.pool)
	n, err := readNow(descriptor, *buffer)
	if err != nil || n == 0 {
		q.pool.Put(buffer)
		q.err = err
		return err != syscall.EAGAIN //nolint:errorlint // it comes from the system call itself
	}
	q.buffer, q.n, q.err = buffer, n, nil
	return true
}

// readNow reads what is there; EAGAIN if nothing is.
func readNow(descriptor uintptr, to []byte) (int, error) {
	for {
		n, err := syscall.Read(int(descriptor), to)
		if err != syscall.EINTR { //nolint:errorlint // it comes from the system call itself
			return max(n, 0), err
		}
	}
}
