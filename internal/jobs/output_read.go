package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

const (
	// outputPoll is how often a file is looked at for more.
	outputPoll = 200 * time.Millisecond
	// runEvery is how often it is asked whether the attempt is over.
	runEvery = time.Second
)

// Output gives what the newest attempt of a run wrote, after a line for each
// earlier one. With follow it goes on until that attempt is over, and waits for
// the first if there was none yet; ctx ends that.
func (s *Service) Output(ctx context.Context, id springtide.EnvironmentID, run springtide.RunID, follow bool) (io.ReadCloser, error) {
	now, err := s.ledger.Run(ctx, id, run)
	if err != nil {
		return nil, err
	}
	folder := s.outputs.of(id)
	changed, end := s.watches.add(run)
	r := &outputReader{ctx: ctx, service: s, folder: folder, run: now, follow: follow, changed: changed, end: end}
	for _, file := range folder.files() {
		if file.run == run && file.attempt < now.Attempt {
			fmt.Fprintf(&r.ready, "[attempt %d wrote %d bytes, until %s]\n", file.attempt, file.Size(), file.ModTime().UTC().Format(time.RFC3339))
		}
	}
	return r, nil
}

// outputReader reads the output of an attempt while it grows.
type outputReader struct {
	ctx     context.Context
	service *Service
	folder  *outputFolder
	run     springtide.Run
	follow  bool
	changed <-chan struct{}
	end     func()

	ready bytes.Buffer // what is to be read next
	file  *os.File
	gap   bool      // the last byte was missing
	asked time.Time // when it was asked last whether the attempt is over, and
	ended bool      // the answer
	any   bool      // the file had something
	done  bool
}

// Close implements io.Closer.
func (r *outputReader) Close() error {
	r.end()
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}

// Read implements io.Reader.
func (r *outputReader) Read(p []byte) (int, error) {
	for r.ready.Len() == 0 {
		over := !r.follow || r.over()
		more, err := r.fill()
		switch {
		case err != nil:
			return 0, err
		case more:
		case r.done:
			return 0, io.EOF
		case over:
			r.done = true
			if !r.any { // another server has the file, or it was removed
				r.ready.WriteString(r.run.Output)
			}
		default:
			if err := r.wait(); err != nil {
				return 0, err
			}
		}
	}
	return r.ready.Read(p)
}

// over reports whether the attempt is over: asked before the file is read to its
// end, so that nothing is missed.
func (r *outputReader) over() bool {
	if !r.ended && time.Since(r.asked) >= runEvery {
		r.asked = time.Now()
		r.ended = r.ask()
	}
	return r.ended
}

func (r *outputReader) ask() bool {
	now, err := r.service.ledger.Run(r.ctx, r.run.Environment, r.run.ID)
	switch {
	case springtide.KindOf(err) == springtide.NotFound:
		return true
	case err != nil:
		return false // the ledger may come back
	case r.run.Attempt == 0:
		r.run = now
	case now.Attempt != r.run.Attempt:
		r.run.Output = ""
		return true
	}
	r.run = now
	return now.State.Over() || now.Attempt > 0 && now.State != springtide.RunClaimed && now.State != springtide.RunRunning
}

// fill reads more of the file, if there is more.
func (r *outputReader) fill() (bool, error) {
	if r.run.Attempt == 0 {
		return false, nil
	}
	if r.file == nil {
		file, err := os.Open(filepath.Join(r.folder.path, outputName(r.run.ID, r.run.Attempt)))
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		r.file = file
	}
	chunk := make([]byte, outputChunk)
	count, err := r.file.Read(chunk)
	if count == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return false, err
	}
	r.any = true
	for part := range strings.SplitAfterSeq(string(chunk[:count]), "\x00") {
		text, missing := strings.CutSuffix(part, "\x00")
		if text != "" {
			r.gap = false
		}
		r.ready.WriteString(text)
		if missing && !r.gap {
			r.gap = true
			r.ready.WriteString(gapLine)
		}
	}
	return true, nil
}

// wait waits until there may be more.
func (r *outputReader) wait() error {
	timer := time.NewTimer(outputPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.changed:
		r.asked = time.Time{}
	case <-r.ctx.Done():
		return r.ctx.Err()
	case <-r.service.ending:
		return io.EOF
	}
	return nil
}
