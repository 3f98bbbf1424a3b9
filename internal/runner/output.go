package runner

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/redact"
)

const (
	// unsentLimit is how much output of a run may wait for the platform, and
	// echoLimit how much of all runs for the runner's own output, in bytes. What
	// comes on top is dropped and counted: commands never wait.
	unsentLimit = 1 << 20
	echoLimit   = 256 << 10
)

// hidden makes what takes values out of the output: some, and those of a folder's
// files; empty: there is none.
func hidden(folder string, values ...[]byte) (*redact.Redactor, error) {
	if folder == "" {
		return redact.New(values...), nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") || entry.Name() == authorityVariable { // how a cluster keeps files; and what is no secret
			continue
		}
		value, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	return redact.New(values...), nil
}

// readLines gives what is read, line by line with the line feeds, as valid
// UTF-8, until the end. A longer line than order.LongestLine comes in pieces.
func readLines(stream io.Reader, each func(line []byte)) {
	buffer := make([]byte, 8<<10)
	var line []byte
	for {
		n, err := stream.Read(buffer)
		line = append(line, buffer[:n]...)
		for {
			end := bytes.IndexByte(line, '\n') + 1
			if end == 0 || end > order.LongestLine {
				if len(line) <= order.LongestLine {
					break
				}
				end = cutBefore(line, order.LongestLine)
			}
			each(bytes.ToValidUTF8(line[:end], []byte("\uFFFD")))
			line = line[end:]
		}
		if err != nil {
			if len(line) > 0 {
				each(bytes.ToValidUTF8(line, []byte("\uFFFD")))
			}
			return
		}
		if len(line) == 0 {
			line = nil // A long line must not cost its memory for ever.
		}
	}
}

// cutBefore gives the end of the last whole character before the limit.
func cutBefore(text []byte, limit int) int {
	for end := limit; end > limit-utf8.UTFMax; end-- {
		if utf8.RuneStart(text[end]) {
			return end
		}
	}
	return limit
}

// output is what a run has said.
type output struct {
	mu   sync.Mutex
	tail []byte
	// unsent waits for the platform; dropped counts the lines that are missing
	// behind it.
	unsent  []byte
	dropped int
	deaf    bool // the platform takes no more
	added   chan struct{}
}

func newOutput() *output { return &output{added: make(chan struct{}, 1)} }

// add takes a line in.
func (o *output) add(line []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tail = append(o.tail, line...); len(o.tail) > 2*springtide.OutputTail {
		o.tail = append([]byte{}, o.end()...)
	}
	if o.deaf {
		return
	}
	if len(o.unsent)+len(line) > unsentLimit {
		o.dropped++
	} else {
		o.unsent = append(append(o.unsent, o.loss()...), line...)
	}
	select {
	case o.added <- struct{}{}:
	default:
	}
}

// loss tells of what was dropped, once; the mutex is held.
func (o *output) loss() []byte {
	if o.dropped == 0 {
		return nil
	}
	line := fmt.Appendf(nil, "tide: %d lines of output were lost: the platform was too slow\n", o.dropped)
	o.dropped = 0
	return line
}

// end is the part that is kept; the mutex is held.
func (o *output) end() []byte {
	text := o.tail[max(len(o.tail)-springtide.OutputTail, 0):]
	for len(text) > 0 && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}

// last is what is kept of the output.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.end())
}

// pending gives what is to be sent next.
func (o *output) pending() []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.unsent) == 0 {
		o.unsent = append(o.unsent, o.loss()...)
	}
	return slices.Clip(o.unsent)
}

// sent forgets that much of what was to be sent.
func (o *output) sent(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unsent = o.unsent[n:]; len(o.unsent) == 0 {
		o.unsent = nil
	}
}

// deafen drops what the platform does not want.
func (o *output) deafen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unsent, o.dropped, o.deaf = nil, 0, true
}

// echo writes lines of all runs to the runner's own output.
type echo struct {
	to    io.Writer
	ended chan struct{}

	mu      sync.Mutex
	wake    sync.Cond
	pending []byte
	dropped int
	closed  bool
}

func newEcho(to io.Writer) *echo {
	e := &echo{to: to, ended: make(chan struct{})}
	e.wake.L = &e.mu
	go e.write()
	return e
}

func (e *echo) add(run springtide.RunID, line []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	text := fmt.Sprintf("[%s] %s\n", run, strings.TrimSuffix(string(line), "\n"))
	if len(e.pending)+len(text) > echoLimit {
		e.dropped++
		return
	}
	e.pending = append(e.pending, text...)
	e.wake.Signal()
}

func (e *echo) write() {
	defer close(e.ended)
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		for len(e.pending) == 0 && !e.closed {
			e.wake.Wait()
		}
		if len(e.pending) == 0 {
			return
		}
		text := e.pending
		if e.dropped > 0 {
			text = fmt.Appendf(text, "tide: %d lines were lost\n", e.dropped)
		}
		e.pending, e.dropped = nil, 0
		e.mu.Unlock()
		_, _ = e.to.Write(text) // whoever does not read it loses it
		e.mu.Lock()
	}
}

// close waits until everything is written, or too long.
func (e *echo) close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Signal()
	e.mu.Unlock()
	select {
	case <-e.ended:
	case <-time.After(flushLimit):
	}
}
