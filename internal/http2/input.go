package http2

import (
	"io"

	frames "golang.org/x/net/http2"
)

// frameLimit is how long a frame may be that a client sends, in bytes: the least
// that RFC 9113 allows, and what every client is content with.
const (
	frameLimit  = 16 << 10
	frameHeader = 9
)

// Buffers lends buffers. Implemented by edge.buffers.
type Buffers interface {
	// Borrow gives a buffer of at least so many bytes, which are at most 192 KiB.
	Borrow(size int) *[]byte
	GiveBack(*[]byte)
}

// The sizes of buffers, in bytes.
const (
	smallBuffer = 16 << 10
	largeBuffer = 64 << 10
	hugeBuffer  = 192 << 10 // for what is answered at once
)

// input is what was read and not used yet: (*buffer)[start:end]. While there is
// nothing it has no buffer.
type input struct {
	conn       io.Reader
	buffers    Buffers
	buffer     *[]byte
	start, end int
	first      [1]byte
}

func (i *input) length() int { return i.end - i.start }

// frame says how many bytes the next frame has with its header, as far as one can
// know.
func (i *input) frame() (int, error) {
	if i.length() < frameHeader {
		return frameHeader, nil
	}
	b := (*i.buffer)[i.start:]
	length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	if length > frameLimit {
		return 0, frames.ConnectionError(frames.ErrCodeFrameSize)
	}
	return frameHeader + length, nil
}

// fill reads more, with room for so many bytes in all.
func (i *input) fill(need int) error {
	if i.length() == 0 {
		i.release()
		n, err := i.conn.Read(i.first[:])
		if n == 0 {
			return err
		}
		i.buffer = i.buffers.Borrow(smallBuffer)
		(*i.buffer)[0], i.end = i.first[0], 1
		return nil
	}
	if need > len(*i.buffer) || i.end == len(*i.buffer) {
		i.move(need)
	}
	n, err := i.conn.Read((*i.buffer)[i.end:])
	i.end += n
	if n > 0 {
		return nil
	}
	return err
}

// move makes room: what is unread comes to the front, of a larger buffer if need be.
func (i *input) move(need int) {
	from := i.buffer
	if need > len(*from) {
		i.buffer = i.buffers.Borrow(largeBuffer)
	}
	i.start, i.end = 0, copy(*i.buffer, (*from)[i.start:i.end])
	if from != i.buffer {
		i.buffers.GiveBack(from)
	}
}

// take takes so many bytes, which are there.
func (i *input) take(n int) []byte {
	i.start += n
	return (*i.buffer)[i.start-n : i.start]
}

// Read implements io.Reader for the framer: what it wants is there.
func (i *input) Read(p []byte) (int, error) {
	if i.length() == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return copy(p, i.take(min(len(p), i.length()))), nil
}

func (i *input) release() {
	if i.buffer != nil {
		i.buffers.GiveBack(i.buffer)
		i.buffer, i.start, i.end = nil, 0, 0
	}
}
