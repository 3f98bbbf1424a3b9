package edge

import (
	"bytes"
	"syscall"

	"github.com/springtide/springtide/internal/http2"
)

// attendants is how many connections to one instance are attended at most.
const attendants = 256

// ahead has a request that needs no waiting sent to an instance by the goroutine
// that reads: on a connection that is attended, so that one goroutine less is woken
// for it. What it has done is not done again by pass.
func (l *lane) ahead(g *gate) http2.Progress {
	e, x := l.edge, &l.x
	if x.protection == nil || x.found.gate != nil { // it is not guarded, or the cache has a part in it
		return http2.Waiting
	}
	g.arrive(&x.ticket, x.started)
	x.arrived = true
	if !x.alone() {
		return http2.Waiting
	}
	x.approach(g)
	if x.lease = g.enterNow(&x.ticket); x.lease == nil {
		return http2.Waiting
	}
	to, _ := x.destination(x.lease)
	buffer := borrow(&e.buffers.sends)
	defer e.buffers.sends.Put(buffer)
	request := appendRequest((*buffer)[:0], x, "")
	l.stream.Later()
	for u := e.forwarder.pool.takeAttended(to.address); u != nil; u = e.forwarder.pool.takeAttended(to.address) {
		if x.hold(u) != nil { // it is over already, which serve finds out
			_ = x.hold(nil)
			if !e.forwarder.pool.offer(u) {
				u.wire.Close()
			}
			break
		}
		if to.answerWithin > 0 {
			x.late.set(e.clock.after(to.answerWithin))
		}
		x.ahead = u
		if l.teller.tell(u, l.stream, request) {
			return http2.Underway // and perhaps over: nothing of it may be touched
		}
		x.ahead = nil
		x.late.stop()
		_ = x.hold(nil)
		u.wire.Close()
	}
	return http2.Waiting
}

// alone says that nothing has to be sent behind the request.
func (x *exchange) alone() bool { return x.length == 0 || x.whole != nil }

// teller sends requests on connections that are attended. It is its session's.
type teller struct {
	u       *upstream
	stream  *http2.Stream
	request []byte
	written int
	unfit   bool
	room    [1]byte
	try     func(descriptor uintptr) // tellNow, made once
}

// tell reports whether a request was sent, so that the stream is going to be served.
// If it was not, the connection is of no more use: its instance has ended it, or has
// said something that nobody asked for.
func (t *teller) tell(u *upstream, stream *http2.Stream, request []byte) bool {
	if t.try == nil {
		t.try = t.tellNow
	}
	t.u, t.stream, t.request, t.written, t.unfit = u, stream, request, 0, false
	err := u.wire.raw.Control(t.try)
	t.u, t.stream, t.request = nil, nil, nil
	if t.written > 0 && t.written < len(request) {
		rest, wire := bytes.Clone(request[t.written:]), u.wire
		go func() { _, _ = wire.Write(rest) }() // whoever reads the answer sees what came of it
	}
	return err == nil && !t.unfit
}

func (t *teller) tellNow(descriptor uintptr) {
	if _, errno := transfer(syscall.SYS_RECVFROM, descriptor, t.room[:], syscall.MSG_PEEK); errno != syscall.EAGAIN {
		t.unfit = true
		return
	}
	t.u.next.Store(t.stream)
	if t.u.left.Load() {
		t.unfit = t.u.next.CompareAndSwap(t.stream, nil)
		return
	}
	for t.written < len(t.request) {
		n, errno := writeNow(descriptor, t.request[t.written:])
		if errno != 0 {
			// If the stream is served already, it is found out there.
			t.unfit = t.written == 0 && t.u.next.CompareAndSwap(t.stream, nil)
			t.u.behind.Store(true)
			return
		}
		t.written += n
	}
}

// attend waits on a connection that was kept, and serves whatever stream's request
// was sent on it once the answer begins to come.
func (u *upstream) attend(p *pool) {
	defer u.close()
	await := func(descriptor uintptr) bool { return u.awaitOnce(p, descriptor) }
	for u.kept {
		u.kept, u.offered, u.heard, u.err = false, false, false, nil
		err := u.wire.raw.Read(await)
		if err != nil {
			u.left.Store(true) // who has it may be about to tell, and looks at this after he did
		}
		stream := u.next.Swap(nil)
		if stream == nil {
			return
		}
		if err != nil {
			u.err = err
		}
		u.told = true
		stream.Serve()
	}
}

// awaitOnce offers the connection, from which moment on nothing that comes is missed,
// and after that reads what comes.
func (u *upstream) awaitOnce(p *pool, descriptor uintptr) (over bool) {
	switch {
	case !u.offered:
		u.offered = true
		return !p.offer(u)
	case u.next.Load() == nil:
		return p.withdraw(u) // else somebody has it just now, and looks before he sends
	}
	return u.readNow(descriptor)
}
