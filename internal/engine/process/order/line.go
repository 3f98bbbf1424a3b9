package order

import (
	"bytes"
	"strconv"
)

// Stream says where a line of a log came from.
type Stream byte

// The streams.
const (
	Stdout Stream = 'o'
	Stderr Stream = 'e'
	Tide   Stream = 't' // what the platform says itself
)

// LongestLine is where a longer line is cut, in bytes.
const LongestLine = 64 << 10

// AppendLine appends one line of a log: nanoseconds since 1970, the stream and
// the text.
func AppendLine(b []byte, nanoseconds int64, stream Stream, text []byte) []byte {
	b = strconv.AppendInt(b, nanoseconds, 10)
	b = append(b, ' ', byte(stream), ' ')
	b = append(b, text...)
	return append(b, '\n')
}

// ParseLine reads what AppendLine wrote, without the line feed. It reports
// whether the line is one: a full disk may have left a part.
func ParseLine(line []byte) (nanoseconds int64, stream Stream, text []byte, ok bool) {
	first, rest, found := bytes.Cut(line, []byte(" "))
	if !found || len(rest) < 2 || rest[1] != ' ' {
		return 0, 0, nil, false
	}
	nanoseconds, err := strconv.ParseInt(string(first), 10, 64)
	stream = Stream(rest[0])
	if err != nil || nanoseconds < 0 || stream != Stdout && stream != Stderr && stream != Tide {
		return 0, 0, nil, false
	}
	return nanoseconds, stream, rest[2:], true
}
