package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// The bounds of the access log.
const (
	accessLogFlush  = time.Second // how long a line may wait
	accessLogBuffer = 1 << 20     // bytes that wait at most; what exceeds them is dropped
	accessLogBatch  = 64 << 10    // bytes that are written without waiting
	accessLogSize   = 64 << 20    // bytes of a file before it is rotated
	accessLogKeep   = 3           // rotated files
)

// accessLog writes a line for every exchange; a nil one writes none. Nobody waits
// for its disk: what cannot be written is dropped and counted.
type accessLog struct {
	path   string
	size   int64
	logger *slog.Logger

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	dropped int64
	some    chan struct{} // there is something to write
	plenty  chan struct{} // there is much to write

	lines   sync.Pool // of *[]byte
	file    *os.File  // of run only
	failing bool
}

// droppedLine stands for lines that could not be written.
type droppedLine struct {
	Time    time.Time `json:"time"`
	Dropped int64     `json:"dropped"`
}

func newAccessLog(dataFolder string, logger *slog.Logger) *accessLog {
	return &accessLog{
		path: filepath.Join(dataFolder, "edge", "access.log"), size: accessLogSize, logger: logger,
		some: make(chan struct{}, 1), plenty: make(chan struct{}, 1),
		lines: sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }},
	}
}

// write adds the line of an exchange. The query is left out: it may hold secrets.
func (a *accessLog) write(x *exchange, now time.Time) {
	if a == nil {
		return
	}
	buffer := borrow(&a.lines)
	line := appendLine((*buffer)[:0], x, now)
	a.add(line)
	*buffer = line
	a.lines.Put(buffer)
}

func (a *accessLog) add(line []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waiting)+len(line) >= accessLogBuffer {
		a.dropped++
		return
	}
	a.waiting = append(append(a.waiting, line...), '\n')
	notify(a.some)
	if len(a.waiting) >= accessLogBatch {
		notify(a.plenty)
	}
}

// run writes the lines until ctx ends, then those that are left.
func (a *accessLog) run(ctx context.Context) {
	defer func() {
		a.flush()
		if a.file != nil {
			a.file.Close()
		}
	}()
	for {
		select {
		case <-a.some:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(accessLogFlush):
		case <-a.plenty:
		case <-ctx.Done():
			return
		}
		a.flush()
	}
}

// flush writes what waits.
func (a *accessLog) flush() {
	a.mu.Lock()
	lines, dropped := a.waiting, a.dropped
	a.waiting, a.spare, a.dropped = a.spare[:0], nil, 0
	a.mu.Unlock()
	if dropped > 0 {
		if line, err := json.Marshal(droppedLine{time.Now().UTC(), dropped}); err == nil {
			lines = append(append(lines, line...), '\n')
		}
	}
	err := a.append(lines)
	if err != nil && !a.failing {
		a.logger.Error("the access log cannot be written; its lines are dropped and counted", "path", a.path, "error", err)
	}
	a.failing = err != nil
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		for _, b := range lines {
			if b == '\n' {
				dropped++
			}
		}
		a.dropped += dropped
	}
	if cap(lines) <= 2*accessLogBatch {
		a.spare = lines[:0] // an idle edge is small
	}
}

// append writes whole lines to the file that has the log's name, whichever edge
// made it, and rotates it when it is full.
func (a *accessLog) append(lines []byte) error {
	if len(lines) == 0 {
		return nil
	}
	info, err := a.open()
	if err != nil {
		return err
	}
	if info.Size() > 0 && info.Size()+int64(len(lines)) > a.size {
		if err := a.rotate(); err != nil {
			return fmt.Errorf("rotate: %w", err)
		}
		if info, err = a.open(); err != nil {
			return err
		}
	}
	n, err := a.file.Write(lines)
	if err != nil && n > 0 {
		// Half a line would spoil the next one. Another edge's lines behind it
		// are as good as lost: the disk refuses.
		_ = a.file.Truncate(info.Size())
	}
	return err
}

// open makes sure that file is the one that has the log's name.
func (a *accessLog) open() (os.FileInfo, error) {
	if a.file != nil {
		named, err := os.Stat(a.path)
		mine, mineErr := a.file.Stat()
		if err == nil && mineErr == nil && os.SameFile(named, mine) {
			return mine, nil
		}
		a.file.Close()
		a.file = nil
	}
	file, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	a.file = file
	return file.Stat()
}

// rotate moves the files on by one number; of two edges only one does.
func (a *accessLog) rotate() error {
	if err := syscall.Flock(int(a.file.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	defer func(file *os.File) { _ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }(a.file)
	named, err := os.Stat(a.path)
	mine, mineErr := a.file.Stat()
	if err != nil || mineErr != nil || !os.SameFile(named, mine) {
		return nil // the other edge did
	}
	for i := accessLogKeep - 1; i > 0; i-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", a.path, i), fmt.Sprintf("%s.%d", a.path, i+1)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.Rename(a.path, a.path+".1")
}
