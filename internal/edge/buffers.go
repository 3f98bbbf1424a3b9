package edge

import (
	"sync"
	"syscall"
)

// The sizes of buffers, in bytes.
const (
	headBuffer   = 16 << 10  // for what is read: a head, and with it most bodies
	bodyBuffer   = 64 << 10  // for long bodies
	sendBuffer   = 32 << 10  // for what goes out in one write
	answerBuffer = 192 << 10 // for many short answers, of the streams of one connection
)

// buffers are lent to whoever has something in them: what is idle has none.
type buffers struct {
	heads, bodies, sends, answers sync.Pool // of *[]byte
}

func newBuffers() *buffers {
	of := func(size int) sync.Pool { return sync.Pool{New: func() any { b := make([]byte, size); return &b }} }
	return &buffers{heads: of(headBuffer), bodies: of(bodyBuffer), sends: of(sendBuffer), answers: of(answerBuffer)}
}

func borrow(from *sync.Pool) *[]byte { return from.Get().(*[]byte) }

// giveBack takes back a buffer of heads, of bodies or of answers.
func (b *buffers) giveBack(buffer *[]byte) {
	switch len(*buffer) {
	case headBuffer:
		b.heads.Put(buffer)
	case bodyBuffer:
		b.bodies.Put(buffer)
	default:
		b.answers.Put(buffer)
	}
}

// quiet reads from a socket without holding a buffer while nothing comes.
type quiet struct {
	raw    syscall.RawConn
	pool   *sync.Pool
	buffer *[]byte // of the last read that got something
	n      int
	errno  syscall.Errno
	try    func(descriptor uintptr) bool // tryOnce, made once
}

func newQuiet(from *wire, pool *sync.Pool) *quiet {
	q := &quiet{raw: from.raw, pool: pool}
	q.try = q.tryOnce
	return q
}

// read waits for something and gives the buffer that has it, and how much it is;
// 0 at the end of the stream. The buffer is the caller's to give back.
func (q *quiet) read() (*[]byte, int, error) {
	q.buffer, q.n, q.errno = nil, 0, 0
	if err := q.raw.Read(q.try); err != nil {
		return nil, 0, err
	}
	return q.buffer, q.n, asError(q.errno)
}

func (q *quiet) tryOnce(descriptor uintptr) bool {
	buffer := borrow(q.pool)
	n, errno := readNow(descriptor, *buffer)
	if n == 0 {
		q.pool.Put(buffer)
		q.errno = errno
		return errno != syscall.EAGAIN
	}
	q.buffer, q.n, q.errno = buffer, n, 0
	return true
}
