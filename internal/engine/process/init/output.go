package main

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/redact"
)

// pendingLimit is how much output may wait for the disk, in bytes; what comes
// on top of it is dropped and counted, so that the command never blocks.
const pendingLimit = 256 << 10

// output writes the lines of a command to two files that take turns.
type output struct {
	folder int
	name   string
	limit  int64
	hide   *redact.Redactor

	readers sync.WaitGroup
	done    chan struct{}

	mu      sync.Mutex
	wake    sync.Cond
	pending []byte
	dropped int
	closed  bool

	// These belong to the writer.
	file   int
	size   int64
	torn   bool // the file ends within a line
	reason string
}

func newOutput(folder int, name string, limit int64, hide *redact.Redactor) *output {
	o := &output{folder: folder, name: name, limit: limit, hide: hide, file: -1, done: make(chan struct{})}
	o.wake.L = &o.mu
	go o.write()
	return o
}

// collect reads a stream to its end, line by line.
func (o *output) collect(stream *os.File, kind order.Stream) {
	o.readers.Go(func() {
		defer stream.Close()
		source := o.hide.Reader(stream)
		buffer := make([]byte, 8<<10)
		var line []byte
		for {
			n, err := source.Read(buffer)
			line = o.split(append(line, buffer[:n]...), kind)
			if err != nil {
				if len(line) > 0 {
					o.add(line, kind)
				}
				return
			}
			if len(line) == 0 && cap(line) > 16<<10 {
				line = nil // A long line must not cost its memory for ever.
			}
		}
	})
}

// split adds the whole lines and returns what is left.
func (o *output) split(data []byte, kind order.Stream) []byte {
	rest := data
	for {
		end := bytes.IndexByte(rest, '\n')
		switch {
		case end >= 0 && end <= order.LongestLine:
			o.add(rest[:end], kind)
			rest = rest[end+1:]
		case len(rest) > order.LongestLine:
			o.add(rest[:order.LongestLine], kind)
			rest = rest[order.LongestLine:]
		default:
			return append(data[:0], rest...)
		}
	}
}

func (o *output) add(line []byte, kind order.Stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.pending)+len(line) > pendingLimit {
		o.dropped++
		return
	}
	o.pending = order.AppendLine(o.pending, time.Now().UnixNano(), kind, line)
	o.wake.Signal()
}

// write takes what is pending to the disk until the output is closed.
func (o *output) write() {
	defer close(o.done)
	o.mu.Lock()
	defer o.mu.Unlock()
	var batch []byte
	for {
		for len(o.pending) == 0 && !o.closed {
			o.wake.Wait()
		}
		if len(o.pending) == 0 && o.dropped == 0 {
			return
		}
		batch, o.pending = o.pending, batch[:0]
		dropped := o.dropped
		o.dropped = 0
		last := o.closed
		o.mu.Unlock()
		lost := o.store(batch, dropped)
		if cap(batch) > 64<<10 {
			batch = nil
		}
		o.mu.Lock()
		o.dropped += lost
		if last && len(o.pending) == 0 {
			return
		}
	}
}

// store writes whole lines, preceded by how many were lost before them. It
// returns how many lines, those included, did not get there.
func (o *output) store(batch []byte, dropped int) (lost int) {
	if dropped > 0 {
		text := strconv.Itoa(dropped) + " lines of output were lost"
		if o.reason != "" {
			text += ": " + o.reason
		}
		notice := order.AppendLine(nil, time.Now().UnixNano(), order.Tide, []byte(text))
		if written, err := o.append(notice); err != nil || written < len(notice) {
			return dropped + bytes.Count(batch, []byte("\n"))
		}
	}
	written, err := o.append(batch)
	if err != nil {
		o.reason = err.Error()
	} else {
		o.reason = ""
	}
	return bytes.Count(batch[written:], []byte("\n"))
}

// append writes to the file in force, after it has been opened or begun anew as
// needed.
func (o *output) append(data []byte) (written int, err error) {
	if len(data) == 0 {
		return 0, nil
	}
	if o.file >= 0 && o.size > 0 && o.size+int64(len(data)) > o.limit {
		syscall.Close(o.file)
		o.file = -1
		if err := syscall.Renameat(o.folder, o.name, o.folder, o.name+".1"); err != nil && err != syscall.ENOENT {
			return 0, err
		}
	}
	if o.file < 0 {
		if err := o.open(); err != nil {
			return 0, err
		}
	}
	if o.torn {
		if _, err := syscall.Write(o.file, []byte("\n")); err != nil {
			return 0, err
		}
		o.torn = false
	}
	for written < len(data) {
		n, err := syscall.Write(o.file, data[written:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			o.torn = written > 0 && data[written-1] != '\n'
			return written, err
		}
		written += n
		o.size += int64(n)
	}
	return written, nil
}

func (o *output) open() error {
	fd, err := syscall.Openat(o.folder, o.name, syscall.O_RDWR|syscall.O_APPEND|syscall.O_CREAT|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); err != nil {
		syscall.Close(fd)
		return err
	}
	o.file, o.size, o.torn = fd, stat.Size, false
	// An init that was killed may have left half a line.
	var last [1]byte
	if stat.Size > 0 {
		n, err := syscall.Pread(fd, last[:], stat.Size-1)
		o.torn = err == nil && n == 1 && last[0] != '\n'
	}
	return nil
}

// finish waits until the streams have ended and everything is written, or the
// limit has passed: a disk that hangs must not keep the instance from ending.
func (o *output) finish(limit time.Duration) {
	go func() {
		o.readers.Wait()
		o.mu.Lock()
		o.closed = true
		o.wake.Signal()
		o.mu.Unlock()
	}()
	select {
	case <-o.done:
	case <-time.After(limit):
	}
}
