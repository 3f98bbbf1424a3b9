package message

import "strconv"

// The limits of the chunked coding.
const (
	chunkLineLimit = 4 << 10  // bytes of a chunk's extensions
	trailerLimit   = 16 << 10 // bytes of a trailer
)

// Chunks takes a body out of the chunked coding (RFC 9112, section 7.1). Its
// zero value is at the start.
type Chunks struct {
	// Done says that the body and its trailer are complete.
	Done bool
	// Trailer are the fields behind the body, once it is done.
	Trailer Fields

	state   chunkState
	digits  int
	left    int64 // of the chunk's data
	length  int   // of the line of extensions
	trailer []byte
}

// chunkState is what the next byte belongs to.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkBlank
	chunkExtension
	chunkSizeEnd
	chunkData
	chunkDataEnd
	chunkDataEndLF
	chunkTrailer
)

// Next looks at data, which goes on where the earlier call ended. It gives the
// next piece of the body, if there is one, and how many bytes of data it took for
// that. A call that uses all of data and gives no piece wants more of it.
func (c *Chunks) Next(data []byte) (piece []byte, used int, err error) {
	for used < len(data) && !c.Done {
		switch c.state {
		case chunkData:
			n := int(min(c.left, int64(len(data)-used)))
			piece = data[used : used+n]
			c.left -= int64(n)
			if c.left == 0 {
				c.state = chunkDataEnd
			}
			return piece, used + n, nil
		case chunkTrailer:
			n, err := c.readTrailer(data[used:])
			used += n
			if err != nil {
				return nil, used, err
			}
		default:
			if err := c.step(data[used]); err != nil {
				return nil, used, err
			}
			used++
		}
	}
	return nil, used, nil
}

// step takes one byte of what is around the data.
func (c *Chunks) step(b byte) error {
	switch c.state {
	case chunkSize:
		return c.stepSize(b)
	case chunkBlank, chunkExtension:
		c.length++
		switch {
		case c.length > chunkLineLimit:
			return bad("a chunk's extensions are too long")
		case b == ';':
			c.state = chunkExtension
		case isBlank(b):
		case c.state == chunkBlank:
			return bad("a chunk has no proper size")
		case b == '\r':
			c.state = chunkSizeEnd
		case b < ' ' || b == 0x7f:
			return bad("a chunk's extension has a control character")
		}
	case chunkSizeEnd:
		if b != '\n' {
			return bad("a chunk's size does not end with CR LF")
		}
		c.state, c.digits, c.length = chunkData, 0, 0
		if c.left == 0 {
			c.state = chunkTrailer
		}
	case chunkDataEnd:
		if b != '\r' {
			return bad("a chunk is longer than its size")
		}
		c.state = chunkDataEndLF
	case chunkDataEndLF:
		if b != '\n' {
			return bad("a chunk does not end with CR LF")
		}
		c.state = chunkSize
	}
	return nil
}

func (c *Chunks) stepSize(b byte) error {
	digit := hexadecimal(b)
	switch {
	case digit >= 0:
		if c.digits++; c.digits > 15 {
			return bad("a chunk's size is too large")
		}
		c.left = c.left<<4 | int64(digit)
	case c.digits == 0:
		return bad("a chunk has no size")
	case b == '\r':
		c.state = chunkSizeEnd
	case b == ';':
		c.state = chunkExtension
	case isBlank(b):
		c.state = chunkBlank
	default:
		return bad("a chunk has no proper size")
	}
	return nil
}

// readTrailer gathers the trailer until its empty line. It gives how many bytes
// it took.
func (c *Chunks) readTrailer(data []byte) (int, error) {
	for i, b := range data {
		c.trailer = append(c.trailer, b)
		n := len(c.trailer)
		if b == '\n' && (n < 2 || c.trailer[n-2] != '\r') {
			return i, bad("a line of the trailer does not end with CR LF")
		}
		if n > trailerLimit {
			return i, tooLarge("the trailer is too long")
		}
		if b == '\n' && (n == 2 || c.trailer[n-3] == '\n') {
			c.Done = true
			var err error
			c.Trailer, err = readFields(c.trailer, nil, nil)
			return i + 1, err
		}
	}
	return len(data), nil
}

// AppendChunk appends a piece of a body in the chunked coding.
func AppendChunk(to, piece []byte) []byte {
	if len(piece) == 0 {
		return to // it would be the last one
	}
	to = strconv.AppendInt(to, int64(len(piece)), 16)
	to = append(append(append(to, "\r\n"...), piece...), "\r\n"...)
	return to
}

// AppendLastChunk appends the end of the coding, with the trailer.
func AppendLastChunk(to []byte, trailer Fields) []byte {
	to = append(to, "0\r\n"...)
	for i := range trailer {
		to = AppendField(to, trailer[i].Name, trailer[i].Value)
	}
	return append(to, "\r\n"...)
}

// AppendField appends a field line.
func AppendField(to []byte, name, value string) []byte {
	to = append(append(to, name...), ": "...)
	return append(append(to, value...), "\r\n"...)
}
