package edge

import (
	"errors"
	"io"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// The measures of requests' bodies.
const (
	// continueAfter is how long a client that waits for 100 is left waiting for
	// the instance to say so.
	continueAfter = time.Second
	// lastPiece is how long an instance that has answered may take to read the
	// rest of a request.
	lastPiece = 100 * time.Millisecond
	// chunkLead and chunkTail are what goes around a piece as a chunk, in bytes.
	chunkLead, chunkTail = 6, 2
)

// upload sends the body of a request to the instance while the answer is awaited
// and read, in a goroutine of its own: an instance may answer at any time.
type upload struct {
	x *exchange
	u *upstream
	// wait is closed, and agreed set, when the body may be asked for; nil: at once.
	wait    chan struct{}
	agreed  bool
	stopped atomic.Bool
	done    chan struct{}
	whole   bool // all of it was sent; of use when done
}

// upload begins to send the body, unless it went out with the head. What becomes
// of it is heard of by stopUpload.
func (f *forwarder) upload(x *exchange, answerWithin time.Duration, u *upstream) *upload {
	if x.length == 0 || x.whole != nil {
		return nil
	}
	up := &upload{x: x, u: u, done: make(chan struct{})}
	if x.expects {
		up.wait = make(chan struct{})
	}
	x.touched.Store(true)
	go func() {
		defer close(up.done)
		if !up.await() {
			return
		}
		buffer := borrow(&f.buffers.sends)
		defer f.buffers.sends.Put(buffer)
		up.run(*buffer, f.clock)
		if up.whole && answerWithin > 0 {
			x.expectBy(f.clock.after(answerWithin))
		}
	}()
	return up
}

// expectBy gives the answer up at that time, unless it has begun by then.
func (x *exchange) expectBy(at int64) {
	x.speaking.Lock()
	defer x.speaking.Unlock()
	if !x.begun.Load() {
		x.late.set(at)
	}
}

// await waits until the instance wants the body, or has said nothing for a while.
func (up *upload) await() bool {
	if up.wait == nil {
		return true
	}
	select {
	case <-up.wait:
	case <-time.After(continueAfter):
		up.x.goOn()
	}
	return !up.stopped.Load()
}

// goOn tells the client to send the body, unless it has its answer.
func (x *exchange) goOn() {
	x.speaking.Lock()
	defer x.speaking.Unlock()
	if x.expects && !x.begun.Load() {
		x.expects = false
		_ = x.client.inform(100, nil, nil) // a client that is gone is noticed when it is read from
	}
}

// agree says that the instance wants the body.
func (up *upload) agree() {
	if up != nil && up.wait != nil && !up.agreed {
		up.x.goOn()
		up.agreed = true
		close(up.wait)
	}
}

// run sends the body until its end or until either side fails.
func (up *upload) run(buffer []byte, clock *clock) {
	x, sent := up.x, int64(0)
	for {
		n, err := x.client.Read(buffer[chunkLead : len(buffer)-chunkTail])
		sent += int64(n)
		complete := errors.Is(err, io.EOF) || x.length >= 0 && sent == x.length
		if complete {
			x.received.Store(true) // before the instance can know, and answer
		}
		if x.maxBody > 0 && sent > x.maxBody {
			x.end(tooLarge(x.maxBody))
			return
		}
		if !complete && err != nil {
			if !up.stopped.Load() {
				x.end(clientFault(err))
			}
			return
		}
		piece := buffer[chunkLead : chunkLead+n]
		if x.length == message.Chunked {
			piece = framed(buffer, n)
			if complete {
				piece = message.AppendLastChunk(piece, passable(x.client.trailer()))
			}
		}
		x.late.set(clock.after(instanceStalls))
		_, err = up.u.wire.Write(piece)
		x.late.set(0)
		if err != nil {
			return // whoever reads the answer sees what came of it
		}
		if complete {
			up.whole = true
			return
		}
	}
}

// framed makes a chunk of the piece that begins after chunkLead bytes.
func framed(buffer []byte, n int) []byte {
	if n == 0 {
		return buffer[:0]
	}
	var digits [chunkLead]byte
	head := append(strconv.AppendInt(digits[:0], int64(n), 16), "\r\n"...)
	start := chunkLead - len(head)
	copy(buffer[start:], head)
	return append(buffer[start:chunkLead+n], "\r\n"...)
}

// clientFault says what it means that a body could not be read.
func clientFault(err error) error {
	if refused, ok := errors.AsType[*message.Error](err); ok {
		return refused
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSlowBody
	}
	return errClientGone
}

// stopUpload ends the sending of a body whose exchange is over. It reports
// whether all of it was sent.
func (x *exchange) stopUpload(up *upload) bool {
	if up == nil {
		return true
	}
	up.stopped.Store(true)
	if up.wait != nil && !up.agreed {
		close(up.wait)
	}
	if x.received.Load() {
		select {
		case <-up.done:
			return up.whole
		case <-time.After(lastPiece):
		}
	}
	_ = up.u.wire.SetDeadline(longAgo)
	x.client.stopReading()
	<-up.done
	return up.whole
}
