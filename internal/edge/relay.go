package edge

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// The measures of passing bodies on.
const (
	// headWithBody is up to what length a body is waited for so that it goes out
	// together with its head.
	headWithBody = 24 << 10
	// spliceFrom is how much of a body has to be left for it to be worth moving
	// in the kernel.
	spliceFrom = 32 << 10
	// countEvery is after how many bytes those of a long body are counted.
	countEvery = 1 << 20
)

// longAnswer is after how long an answer is one of those that may last for hours, as
// event streams do: while nothing comes, no buffers are kept for it.
const longAnswer = time.Second

// rester is a client that can do without buffers for a while. Implemented by connection.
type rester interface {
	rest()
}

// splicer is a client that the kernel can move bytes to. Implemented by connection.
type splicer interface {
	// splice moves so many bytes from an instance's connection; false if the
	// kernel cannot.
	splice(from *net.TCPConn, bytes int64) (int64, bool, error)
}

// pass passes the answer's body on as it comes, and gives its trailer.
func (f *forwarder) pass(x *exchange, u *upstream, count func()) (message.Fields, error) {
	switch u.head.Length {
	case 0:
		return nil, nil
	case message.Chunked:
		return f.passChunks(x, u, count)
	case message.UntilClose:
		return nil, f.passUntilClose(x, u, count)
	}
	return nil, f.passLength(x, u, count)
}

// say writes a piece of the body.
func (x *exchange) say(piece []byte) error {
	n, err := x.client.Write(piece)
	x.bytes += int64(n)
	if err != nil {
		return errors.Join(errClientGone, err)
	}
	return nil
}

// keeper is a client that sends what stays as it is from where it is. Implemented by
// connection.
type keeper interface {
	// writeKept is Write, and may send at once.
	writeKept(p []byte) (int, error)
}

// sayKept writes a piece of the body that stays as it is.
func (x *exchange) sayKept(piece []byte) error {
	client, ok := x.client.(keeper)
	if !ok {
		return x.say(piece)
	}
	n, err := client.writeKept(piece)
	x.bytes += int64(n)
	if err != nil {
		return errors.Join(errClientGone, err)
	}
	return nil
}

func (f *forwarder) passLength(x *exchange, u *upstream, count func()) error {
	left, small := u.head.Length, u.head.Length <= headWithBody
	for {
		piece := u.unread()
		piece = piece[:min(int64(len(piece)), left)]
		if err := x.say(piece); err != nil {
			return err
		}
		u.start += len(piece)
		left -= int64(len(piece))
		count()
		if left == 0 {
			return nil // end flushes
		}
		if !small {
			if err := x.client.flush(); err != nil {
				return err
			}
		}
		if left >= spliceFrom {
			if client, ok := x.client.(splicer); ok {
				moved, able, err := client.splice(u.wire.TCPConn, left)
				x.bytes += moved
				if left -= moved; left == 0 || err != nil {
					return err
				}
				if able {
					return io.ErrUnexpectedEOF
				}
			}
			if len(*u.buffer) == headBuffer {
				u.widen()
			}
		}
		if err := u.more(); err != nil {
			return unexpected(err)
		}
	}
}

func (f *forwarder) passChunks(x *exchange, u *upstream, count func()) (message.Fields, error) {
	var chunks message.Chunks
	quiet := isEventStream(u.head.Fields)
	for {
		for u.start < u.end && !chunks.Done {
			piece, used, err := chunks.Next(u.unread())
			if err != nil {
				return nil, err
			}
			if err := x.say(piece); err != nil {
				return nil, err
			}
			u.start += used
		}
		count()
		if chunks.Done {
			return chunks.Trailer, nil
		}
		if err := f.nextPiece(x, u, quiet); err != nil {
			return nil, unexpected(err)
		}
	}
}

func (f *forwarder) passUntilClose(x *exchange, u *upstream, count func()) error {
	quiet := isEventStream(u.head.Fields)
	for {
		if err := x.say(u.unread()); err != nil {
			return err
		}
		u.start = u.end
		count()
		if err := f.nextPiece(x, u, quiet); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// nextPiece sends what there is, since nobody knows when more comes, and reads
// more, which may take long if it is quiet.
func (f *forwarder) nextPiece(x *exchange, u *upstream, quiet bool) error {
	if err := x.client.flush(); err != nil {
		return errors.Join(errClientGone, err)
	}
	if u.start == u.end && (quiet || time.Since(x.started) > longAnswer) {
		if client, ok := x.client.(rester); ok {
			client.rest()
			return u.await()
		}
	}
	if x.bytes > bodyBuffer && len(*u.buffer) == headBuffer {
		u.widen()
	}
	return u.more()
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
