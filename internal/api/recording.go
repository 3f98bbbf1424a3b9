package api

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// recording keeps what was shown in a shell, as asciicast v2: a header and then
// one event a line. What was typed is kept only as far as it was shown, so
// passwords are not. All methods may be called at the same time.
type recording struct {
	mu      sync.Mutex
	file    *os.File
	started time.Time
	partial []byte // the beginning of a rune whose end was not shown yet
	err     error  // the first
}

// newRecording begins a file named by time and what it is of.
func newRecording(folder string, o opening, who caller) (*recording, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	now := time.Now()
	pattern := fmt.Sprintf("%s-%s-*.cast", now.UTC().Format("20060102T150405Z"), filepath.Base(o.name))
	file, err := os.CreateTemp(folder, pattern) // mode 0600
	if err != nil {
		return nil, err
	}
	by := who.token
	if who.owner {
		by = "owner"
	}
	r := &recording{file: file, started: now}
	r.write(map[string]any{
		"version": 2, "width": o.Columns, "height": o.Rows, "timestamp": now.Unix(),
		"command": strings.Join(o.Command, " "), "title": fmt.Sprintf("%s %s by %s", o.in, o.name, by),
		"env": map[string]string{"TERM": o.Terminal},
	})
	return r, r.err
}

// Shown records output.
func (r *recording) Shown(output []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := append(r.partial, output...)
	whole := wholeRunes(text)
	r.partial = append([]byte(nil), text[whole:]...)
	r.event("o", string(text[:whole]))
}

// Resized records a new size of the terminal.
func (r *recording) Resized(size TerminalSize) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.event("r", fmt.Sprintf("%dx%d", size.Columns, size.Rows))
}

// Close ends the recording and gives the first error it met.
func (r *recording) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.file.Close(); r.err == nil {
		r.err = err
	}
	return r.err
}

func (r *recording) event(kind, data string) {
	if data != "" {
		r.write([]any{time.Since(r.started).Seconds(), kind, data})
	}
}

func (r *recording) write(line any) {
	text, err := json.Marshal(line)
	if err == nil {
		_, err = r.file.Write(append(text, '\n'))
	}
	if r.err == nil {
		r.err = err
	}
}

// wholeRunes gives how much of text can be recorded now: all but the beginning
// of a rune at its end.
func wholeRunes(text []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(text); back++ {
		start := len(text) - back
		if utf8.RuneStart(text[start]) {
			if utf8.FullRune(text[start:]) {
				return len(text)
			}
			return start
		}
	}
	return len(text)
}
