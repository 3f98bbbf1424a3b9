package edge

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/http2"
	"github.com/springtide/springtide/internal/message"
)

// The measures of connections to instances.
const (
	connectTimeout = time.Second
	// idleInstanceConnection is shorter than what servers are known to keep an
	// idle connection for (gunicorn 2 s, Node and uvicorn 5 s), so that none is
	// closed by its server just when a request that must not be repeated is sent.
	idleInstanceConnection = 1500 * time.Millisecond
	// idleInstanceConnections is how many are kept for one instance.
	idleInstanceConnections = 1024
	// instanceStalls is how long an instance may leave a request unread.
	instanceStalls = time.Minute
)

// errStale is a kept connection that its instance has ended, or on which it has
// said something unasked. Nothing was sent on it.
var errStale = errors.New("the instance ended the connection before the request")

// upstream is one connection to an instance.
type upstream struct {
	wire    *wire
	address string
	buffers *buffers
	// used says that it has served a request already.
	used bool
	// idleUntil is when it is too old to be used again, by the clock.
	idleUntil int64

	head   message.ResponseHead
	buffer *[]byte // nil while idle
	// What was read and not used yet is (*buffer)[start:end].
	start, end int
	// heard says that a byte of the answer came.
	heard bool

	quiet *quiet // of await; nil before the first

	// Of attend: it has a goroutine, is kept by it, and was offered by it to who sends.
	attended, kept, offered bool
	// next is the stream whose request was sent. told says so to who serves it.
	next atomic.Pointer[http2.Stream]
	told bool
	// left says that who attended it waits no more: a stream that is next after that
	// would be served by nobody.
	left atomic.Bool
	// behind says that a request was told in part and the rest is being written, which
	// may last longer than the exchange: nothing else is to be sent.
	behind atomic.Bool

	// Of ask:
	request []byte
	wait    bool
	written int
	sent    bool
	stale   bool
	err     error
	try     func(descriptor uintptr) bool // askOnce, made once
}

// ask sends a request, or the beginning of one, and may wait for the first bytes
// of the answer. A connection that cannot be used any more is found out before
// anything is sent, at no cost: one has to look for an answer once before one can
// wait for it.
func (u *upstream) ask(request []byte, wait bool) error {
	u.start, u.end, u.heard = 0, 0, false
	u.request, u.wait, u.written, u.sent, u.stale, u.err = request, wait, 0, false, false, nil
	err := u.wire.raw.Read(u.try)
	u.request = nil
	if u.buffer == nil {
		u.buffer = borrow(&u.buffers.heads)
	}
	switch {
	case u.stale, err != nil && !u.sent:
		return errors.Join(errStale, err, u.err)
	case err != nil:
		return err
	case u.err != nil:
		return u.err
	case u.written < len(request):
		_, err = u.wire.Write(request[u.written:])
		return err
	}
	return nil
}

func (u *upstream) askOnce(descriptor uintptr) bool {
	if u.sent {
		return u.readNow(descriptor)
	}
	var unasked [1]byte
	if _, errno := readNow(descriptor, unasked[:]); errno != syscall.EAGAIN {
		u.stale, u.err = true, asError(errno)
		return true
	}
	u.sent = true
	for u.written < len(u.request) {
		n, errno := writeNow(descriptor, u.request[u.written:])
		if errno == syscall.EAGAIN {
			return true // ask writes the rest
		}
		if errno != 0 {
			u.err, u.stale = asError(errno), u.written == 0
			return true
		}
		u.written += n
	}
	return !u.wait
}

// readNow reads the first bytes of an answer if they are there, and only then takes a
// buffer for them: it is one that was in use just before.
func (u *upstream) readNow(descriptor uintptr) bool {
	buffer := borrow(&u.buffers.heads)
	n, errno := readNow(descriptor, *buffer)
	if errno == syscall.EAGAIN {
		u.buffers.giveBack(buffer)
		return false
	}
	u.buffer, u.start, u.end, u.heard = buffer, 0, n, n > 0
	if u.err = asError(errno); n == 0 && errno == 0 {
		u.err = io.EOF
	}
	return true
}

// unread gives what was read and not used yet.
func (u *upstream) unread() []byte { return (*u.buffer)[u.start:u.end] }

// more reads more behind what is unread. The strings of a head that was read are
// valid up to here.
func (u *upstream) more() error {
	if u.start == u.end {
		u.start, u.end = 0, 0
	}
	if u.end == len(*u.buffer) {
		u.widen()
	}
	n, err := u.wire.Read((*u.buffer)[u.end:])
	u.end += n
	if n > 0 {
		u.heard = true
		return nil
	}
	return err
}

// await is more, without a buffer while nothing comes.
func (u *upstream) await() error {
	pool := &u.buffers.heads
	if u.end == len(*u.buffer) { // it comes fast
		pool = &u.buffers.bodies
	}
	u.giveBack()
	if u.quiet == nil {
		u.quiet = newQuiet(u.wire, pool)
	}
	u.quiet.pool = pool
	buffer, n, err := u.quiet.read()
	if n == 0 {
		u.buffer = borrow(pool)
		return cmp.Or(err, io.EOF)
	}
	u.buffer, u.end, u.heard = buffer, n, true
	return nil
}

// widen goes on in a larger buffer.
func (u *upstream) widen() {
	wider := borrow(&u.buffers.bodies)
	n := copy(*wider, u.unread())
	u.giveBack()
	u.buffer, u.start, u.end = wider, 0, n
}

func (u *upstream) giveBack() {
	if u.buffer != nil {
		u.buffers.giveBack(u.buffer)
	}
	u.buffer, u.start, u.end = nil, 0, 0
}

// readHead reads the head of an answer to a request of that method.
func (u *upstream) readHead(method string) error {
	looked := 0
	for {
		end, err := message.HeadEnd(u.unread(), looked)
		if err != nil {
			return err
		}
		if end > 0 {
			err = u.head.Parse(u.unread()[:end], method)
			u.start += end
			return err
		}
		looked = u.end - u.start
		if err := u.more(); err != nil {
			return err
		}
	}
}

func (u *upstream) close() {
	u.wire.Close()
	u.giveBack()
}

// pool keeps connections to instances that wait for their next request.
type pool struct {
	clock   *clock
	buffers *buffers
	dialer  net.Dialer

	mu             sync.Mutex
	idle, attended shelf
}

// shelf has connections by address, the one that was used last at the end.
type shelf map[string][]*upstream

func newPool(clock *clock, buffers *buffers) *pool {
	return &pool{clock: clock, buffers: buffers, dialer: net.Dialer{Timeout: connectTimeout}, idle: shelf{}, attended: shelf{}}
}

// take gives a connection that was kept, nil if there is none.
func (p *pool) take(address string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idle.take(address, p.clock.elapsed.Load())
}

// takeAttended gives one that somebody waits on.
func (p *pool) takeAttended(address string) *upstream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attended.take(address, p.clock.elapsed.Load())
}

func (s shelf) take(address string, now int64) *upstream {
	kept := s[address]
	if len(kept) == 0 {
		return nil
	}
	u := kept[len(kept)-1]
	if u.idleUntil <= now {
		return nil // and so are the others: look closes them
	}
	kept[len(kept)-1] = nil
	s[address] = kept[:len(kept)-1]
	return u
}

func (s shelf) put(u *upstream, limit int) bool {
	kept := s[u.address]
	if len(kept) >= limit {
		return false
	}
	s[u.address] = append(kept, u)
	return true
}

// dial makes a new connection.
func (p *pool) dial(ctx context.Context, address string) (*upstream, error) {
	conn, err := p.dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	w, err := newWire(conn.(*net.TCPConn))
	if err != nil {
		conn.Close()
		return nil, err
	}
	u := &upstream{wire: w, address: address, buffers: p.buffers}
	u.try = u.askOnce
	return u, nil
}

// keep takes a connection whose exchange is complete. It is attended from then on if
// others like that exchange may come.
func (p *pool) keep(u *upstream, attend bool) {
	if u.behind.Load() {
		u.close()
		return
	}
	u.giveBack()
	u.used = true
	// The clock may be a tick late both now and when the time is up.
	u.idleUntil = p.clock.after(idleInstanceConnection - tick)
	if u.attended {
		u.kept = true
		return
	}
	if attend {
		u.attended, u.kept = true, true
		go u.attend(p)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.idle.put(u, idleInstanceConnections) {
		u.wire.Close()
	}
}

// offer lets those have a connection who send on what is attended.
func (p *pool) offer(u *upstream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.attended.put(u, attendants)
}

// withdraw takes a connection back, unless somebody has it.
func (p *pool) withdraw(u *upstream) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.attended[u.address]
	i := slices.Index(kept, u)
	if i >= 0 {
		p.attended[u.address] = slices.Delete(kept, i, i+1)
	}
	return i >= 0
}

// look closes what has waited for too long.
func (p *pool) look(now int64) {
	p.mu.Lock()
	old := p.attended.old(now, p.idle.old(now, nil))
	p.mu.Unlock()
	closeAll(old)
}

// old takes out what has waited for too long.
func (s shelf) old(now int64, taken []*upstream) []*upstream {
	for address, kept := range s {
		old := 0
		for old < len(kept) && kept[old].idleUntil <= now {
			old++
		}
		taken = append(taken, kept[:old]...)
		if rest := slices.Delete(kept, 0, old); len(rest) > 0 {
			s[address] = rest
		} else {
			delete(s, address)
		}
	}
	return taken
}

// closeAll is called without the pool's lock, which who attends one of them may be
// waiting for.
func closeAll(all []*upstream) {
	for _, u := range all {
		u.wire.Close()
	}
}

func (p *pool) close() { p.look(math.MaxInt64) }
