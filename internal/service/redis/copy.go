package redis

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// endMark is how long the mark is that ends data of a length that is not known
// beforehand.
const endMark = 40

// copyData asks for all data as a replica does, and writes it.
func (c *connection) copyData(to io.Writer) error {
	// eof: it need not be written to the server's disk first. rdb-only: what changes
	// afterwards is not wanted.
	for _, words := range [][]string{{"REPLCONF", "capa", "eof"}, {"REPLCONF", "rdb-only", "1"}} {
		if _, err := c.do(words...); err != nil {
			return err
		}
	}
	if err := c.send("SYNC"); err != nil {
		return err
	}
	return readData(c.reader, to)
}

// readData reads data as a replica is sent it: empty lines as long as it is not
// ready, "$" and its length, or "$EOF:" and the mark that it ends with.
func readData(from *bufio.Reader, to io.Writer) error {
	line := ""
	for line == "" {
		var err error
		if line, err = readLine(from); err != nil {
			return err
		}
	}
	length, ok := strings.CutPrefix(line, "$")
	if !ok {
		return fmt.Errorf("redis does not send its data: %.200q", line)
	}
	if mark, ok := strings.CutPrefix(length, "EOF:"); ok && len(mark) == endMark {
		return readMarked(from, to, []byte(mark))
	}
	size, err := strconv.ParseInt(length, 10, 64)
	if err != nil || size < 0 {
		return fmt.Errorf("redis sends its data with a length of %.200q", length)
	}
	_, err = io.CopyN(to, from, size)
	return err
}

// readMarked copies up to the mark, after which nothing is sent.
func readMarked(from io.Reader, to io.Writer, mark []byte) error {
	buffer, held := make([]byte, 64<<10), 0
	for {
		n, err := from.Read(buffer[held:])
		held += n
		if bytes.HasSuffix(buffer[:held], mark) {
			_, err := to.Write(buffer[:held-endMark])
			return err
		}
		// What may be a part of the mark is held back.
		if ready := held - endMark; ready > 0 {
			if _, err := to.Write(buffer[:ready]); err != nil {
				return err
			}
			held = copy(buffer, buffer[ready:held])
		}
		if err == io.EOF {
			return fmt.Errorf("redis ended before its data did: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
}
