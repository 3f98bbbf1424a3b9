package postgres

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// fetchFolder lies beside the data while a server asks us for segments.
const fetchFolder = "fetch"

// fetchCommand asks for a segment by a named pipe and waits for the answer on
// another: the recovery asks for one at a time. What is neither here nor missing
// ends the recovery, which would take it for the end of the log; so does an hour
// without an answer. When we die the pipes end, and with them who reads.
const fetchCommand = "timeout --signal=KILL 1h sh -c '" +
	"echo %f >../" + fetchFolder + "/ask && read -r answer <../" + fetchFolder + "/answer || exit 200; " +
	`case "$answer" in here) mv ../` + fetchFolder + "/segment %p || exit 200;; missing) exit 1;; *) exit 200;; esac'"

// fetcher answers the questions of a recovery.
type fetcher struct {
	server      service.Server
	folder      string
	changes     func(ctx context.Context, name string, to io.Writer) error
	ask, answer *os.File

	mu  sync.Mutex
	err error
}

func newFetcher(s service.Server, changes func(context.Context, string, io.Writer) error) (*fetcher, error) {
	f := &fetcher{server: s, folder: filepath.Join(s.Folder, fetchFolder), changes: changes}
	if err := errors.Join(os.RemoveAll(f.folder), os.Mkdir(f.folder, 0o700), give(s, f.folder)); err != nil {
		return nil, err
	}
	open := func(name string) (*os.File, error) {
		path := filepath.Join(f.folder, name)
		if err := errors.Join(unix.Mkfifo(path, 0o600), give(s, path)); err != nil {
			return nil, err
		}
		// For both ways, so that neither opening nor reading waits for somebody or
		// comes to an end.
		return os.OpenFile(path, os.O_RDWR, 0)
	}
	var err1, err2 error
	f.ask, err1 = open("ask")
	f.answer, err2 = open("answer")
	if err := errors.Join(err1, err2); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// serve answers until it is closed.
func (f *fetcher) serve(ctx context.Context) {
	lines := bufio.NewScanner(f.ask)
	for lines.Scan() {
		answer := "here\n"
		err := f.fetch(ctx, lines.Text())
		switch {
		case springtide.KindOf(err) == springtide.NotFound:
			answer = "missing\n"
		case err != nil:
			answer = "failed\n"
			f.mu.Lock()
			f.err = springtide.Errorf(springtide.KindOf(err), "fetch segment %s: %w", lines.Text(), err)
			f.mu.Unlock()
		}
		if _, err := f.answer.WriteString(answer); err != nil {
			return // It was closed.
		}
	}
}

func (f *fetcher) fetch(ctx context.Context, name string) error {
	path := filepath.Join(f.folder, "segment")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = f.changes(ctx, name, file)
	return errors.Join(err, file.Close(), give(f.server, path))
}

// failure is why a segment that may be there was not fetched.
func (f *fetcher) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *fetcher) close() {
	for _, pipe := range []*os.File{f.ask, f.answer} {
		if pipe != nil {
			pipe.Close()
		}
	}
	os.RemoveAll(f.folder)
}
