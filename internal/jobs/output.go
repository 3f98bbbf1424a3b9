package jobs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// The whole output of attempts is kept in files, FOLDER/APP/ENVIRONMENT/RUN.ATTEMPT.
// The place of a byte in its file is its offset: so an append can be repeated,
// and a restart of the server forgets nothing. What could not be kept is a gap in
// the file, which takes no space and reads as zero bytes.
const (
	// attemptOutput is how many bytes of an attempt's output are kept.
	attemptOutput = 16 << 20
	// environmentOutput is how many bytes of an environment's output are kept, in
	// all: if there is more, the oldest files go until a tenth is free.
	environmentOutput = 1 << 30
	// outputChunk is how many bytes are written at a time.
	outputChunk = 64 << 10
	// outputSweep is how often the output of forgotten runs is looked for.
	outputSweep = time.Hour

	cutLine = "\n[the output is cut here: 16 MiB of an attempt's are kept]\n"
	gapLine = "\n[some output is missing here: it could not be kept]\n"
)

// OffsetError refuses output that does not go on where what is there ends. It is
// a Conflict. Who has not kept what is missing sends his once more: then a gap is
// left.
type OffsetError struct {
	// Next is the offset to go on from, in bytes.
	Next int64
}

// Error implements error.
func (e *OffsetError) Error() string {
	return fmt.Sprintf("the output goes on at byte %d", e.Next)
}

// Unwrap gives the error its kind.
func (e *OffsetError) Unwrap() error { return springtide.Errorf(springtide.Conflict, "%s", e.Error()) }

// outputs keeps the output of attempts.
type outputs struct {
	folder string
	logger *slog.Logger

	mu           sync.Mutex
	environments map[springtide.EnvironmentID]*outputFolder
}

// outputFolder is where an environment's output is.
type outputFolder struct {
	path   string
	logger *slog.Logger

	mu sync.Mutex
	// used is how many bytes the files have; negative: not known.
	used int64
	// asked are the files whose writer was sent back to an earlier offset.
	asked map[string]bool
	// failing says that output is being lost, and that the log says so.
	failing bool
}

// AppendOutput adds to the output of an attempt, from offset on; what of it is
// there already is skipped. It gives the offset to go on from, with an error as
// well. Output beyond 16 MiB is accepted and dropped, as is what the disk does not
// take. It is a Conflict if another attempt has the run, and an [OffsetError] if
// the offset is beyond the end.
func (s *Service) AppendOutput(ctx context.Context, who Identity, hold Hold, offset int64, body io.Reader) (next int64, err error) {
	a, known, err := s.attemptOf(ctx, who.Environment, hold)
	if err == nil && !known {
		err = springtide.Errorf(springtide.Conflict, "run %s is not with this attempt any more", hold.Run)
	}
	if err != nil {
		return offset, err
	}
	folder := s.outputs.of(who.Environment)
	chunk := make([]byte, outputChunk)
	for {
		count, err := io.ReadFull(body, chunk)
		if count > 0 {
			var failure error
			if offset, failure = folder.add(outputName(hold.Run, a.number), offset, chunk[:count]); failure != nil {
				return offset, failure
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return offset, nil
		}
		if err != nil {
			return offset, err
		}
	}
}

func outputName(run springtide.RunID, attempt int) string {
	return filepath.Base(string(run)) + "." + strconv.Itoa(attempt)
}

func (o *outputs) of(id springtide.EnvironmentID) *outputFolder {
	o.mu.Lock()
	defer o.mu.Unlock()
	folder := o.environments[id]
	if folder == nil {
		folder = &outputFolder{
			path:   filepath.Join(o.folder, filepath.Base(string(id.App)), filepath.Base(string(id.Name))),
			logger: o.logger.With("environment", id.String()), used: -1, asked: map[string]bool{},
		}
		o.environments[id] = folder
	}
	return folder
}

// forget deletes all output of an environment.
func (o *outputs) forget(id springtide.EnvironmentID) error {
	folder := o.of(id)
	o.mu.Lock()
	delete(o.environments, id)
	o.mu.Unlock()
	return os.RemoveAll(folder.path)
}

// add writes a chunk to where it belongs, and gives the offset behind it.
func (f *outputFolder) add(name string, offset int64, chunk []byte) (next int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next = offset + int64(len(chunk))
	file, size, err := f.open(name)
	if err != nil {
		f.failed(err)
		return next, nil
	}
	defer file.Close()
	if size >= attemptOutput {
		return next, nil
	}
	if offset > size && !f.asked[name] {
		f.asked[name] = true
		return size, &OffsetError{Next: size}
	}
	delete(f.asked, name)
	if next <= size {
		return next, nil
	}
	if skip := size - offset; skip > 0 {
		chunk, offset = chunk[skip:], size
	}
	// A zero byte stands for what is missing.
	chunk = bytes.ReplaceAll(chunk, []byte{0}, []byte{' '})
	if room := attemptOutput - offset; int64(len(chunk)) >= room {
		chunk = append(chunk[:max(0, room)], cutLine...)
	}
	if _, err := file.WriteAt(chunk, offset); err != nil {
		f.failed(err)
		_ = file.Truncate(min(next, attemptOutput)) // a gap; if not even that, the writer will be asked
		return next, nil
	}
	f.failing = false
	f.used += offset + int64(len(chunk)) - size
	if f.used > environmentOutput {
		f.makeRoom()
	}
	return next, nil
}

func (f *outputFolder) open(name string) (file *os.File, size int64, err error) {
	if f.used < 0 {
		if err := os.MkdirAll(f.path, 0o700); err != nil {
			return nil, 0, err
		}
		f.makeRoom()
	}
	file, err = os.OpenFile(filepath.Join(f.path, name), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, 0, err
	}
	return file, info.Size(), nil
}

// failed says in the log, once, that output is lost.
func (f *outputFolder) failed(err error) {
	if !f.failing {
		f.logger.Warn("the output of runs cannot be kept: it is dropped", "error", err)
	}
	f.failing = true
}

// outputFile is a file of output, of an attempt of a run.
type outputFile struct {
	fs.FileInfo
	run     springtide.RunID
	attempt int
}

// files gives the files of output, the oldest first.
func (f *outputFolder) files() []outputFile {
	entries, _ := os.ReadDir(f.path) // if there is none, there are no files
	var files []outputFile
	for _, entry := range entries {
		info, err := entry.Info()
		dot := strings.LastIndexByte(entry.Name(), '.')
		if err != nil || dot < 0 { // gone since
			continue
		}
		attempt, err := strconv.Atoi(entry.Name()[dot+1:])
		if err == nil {
			files = append(files, outputFile{FileInfo: info, run: springtide.RunID(entry.Name()[:dot]), attempt: attempt})
		}
	}
	slices.SortFunc(files, func(a, b outputFile) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	return files
}

// makeRoom counts what is used, and removes the oldest files if that is too much.
func (f *outputFolder) makeRoom() {
	files := f.files()
	f.used = 0
	for _, file := range files {
		f.used += file.Size()
	}
	if f.used <= environmentOutput {
		return
	}
	for _, file := range files {
		if f.used <= environmentOutput-environmentOutput/10 {
			return
		}
		f.remove(file)
	}
}

func (f *outputFolder) remove(file outputFile) {
	if err := os.Remove(filepath.Join(f.path, file.Name())); err != nil && !os.IsNotExist(err) {
		f.failed(err)
		return
	}
	f.used -= file.Size()
}

// sweepOutputs deletes the output of runs that the ledger has forgotten, until
// ctx ends.
func (s *Service) sweepOutputs(ctx context.Context) {
	for pause(ctx, outputSweep) {
		folders, _ := filepath.Glob(filepath.Join(s.options.Folder, "*", "*"))
		for _, path := range folders {
			id := springtide.EnvironmentID{
				App: springtide.AppName(filepath.Base(filepath.Dir(path))), Name: springtide.EnvironmentName(filepath.Base(path)),
			}
			if err := s.sweepOutput(ctx, id); err != nil {
				break // the tick loop says in the log that the ledger is away
			}
		}
	}
}

func (s *Service) sweepOutput(ctx context.Context, id springtide.EnvironmentID) error {
	folder := s.outputs.of(id)
	for _, file := range folder.files() {
		if time.Since(file.ModTime()) < outputSweep {
			return nil // the others are newer still
		}
		_, err := s.ledger.Run(ctx, id, file.run)
		switch springtide.KindOf(err) {
		case "":
		case springtide.NotFound:
			folder.mu.Lock()
			folder.remove(file)
			folder.mu.Unlock()
		default:
			return err
		}
	}
	return nil
}
