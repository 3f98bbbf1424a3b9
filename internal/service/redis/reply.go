package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// What a reply may be at most. Ours are far smaller.
const (
	longestReply = 64 << 20 // bytes of one text
	widestReply  = 1 << 16  // members of one list
	deepestReply = 8
)

// replyError is a reply that says that the command failed.
type replyError string

func (e replyError) Error() string { return string(e) }

// readReply reads one reply: a string, an int64, a list of such, an error, or nil.
func readReply(r *bufio.Reader, depth int) (any, error) {
	line, err := readLine(r)
	if err != nil {
		return nil, err
	}
	if line == "" || depth > deepestReply {
		return nil, errors.New("not a reply of redis")
	}
	switch rest := line[1:]; line[0] {
	case '+':
		return rest, nil
	case '-':
		return replyError(rest), nil
	case ':':
		return strconv.ParseInt(rest, 10, 64)
	case '$':
		return readText(r, rest)
	case '*':
		return readList(r, rest, depth)
	}
	return nil, fmt.Errorf("a reply of redis begins with %q", line[0])
}

// readLine reads up to the end of a line, which is no longer than the reader's
// buffer.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

func readText(r *bufio.Reader, length string) (any, error) {
	size, err := strconv.Atoi(length)
	if err != nil || size > longestReply {
		return nil, fmt.Errorf("a reply of redis is %q bytes long", length)
	}
	if size < 0 {
		return nil, nil
	}
	var text strings.Builder
	if _, err := io.CopyN(&text, r, int64(size)); err != nil {
		return nil, err
	}
	_, err = r.Discard(len("\r\n"))
	return text.String(), err
}

func readList(r *bufio.Reader, length string, depth int) (any, error) {
	size, err := strconv.Atoi(length)
	if err != nil || size > widestReply {
		return nil, fmt.Errorf("a reply of redis has %q members", length)
	}
	if size < 0 {
		return nil, nil
	}
	list := []any{}
	for range size {
		member, err := readReply(r, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, member)
	}
	return list, nil
}
