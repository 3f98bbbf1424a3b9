package backup

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// markerName is the file that tells a target from the empty folder that is seen
// where its disk is not mounted.
const markerName = ".springtide-backups"

// disk is a file system, with paths that are relative to one folder of it.
// Implemented by localDisk and remoteDisk.
type disk interface {
	// create makes a new file, open reads one.
	create(name string) (diskFile, error)
	open(name string) (io.ReadCloser, error)
	// rename replaces what has the new name.
	rename(from, to string) error
	remove(name string) error
	// makeFolder makes a folder with its parents.
	makeFolder(name string) error
	read(folder string) ([]fs.FileInfo, error)
	// syncFolder makes the names in a folder durable.
	syncFolder(name string) error
	io.Closer
}

// diskFile is a file that is being written.
type diskFile interface {
	io.WriteCloser
	io.ReaderFrom
	Sync() error
}

// tree keeps objects as files. Each is written beside its place, synced and
// renamed.
type tree struct {
	name    string
	record  string // the file that remembers the marker; empty: none
	connect func(ctx context.Context) (disk, error)

	mu     sync.Mutex
	marker string // what the marker must be; empty: not known yet
}

// String tells where it is.
func (t *tree) String() string { return t.name }

// enter connects, and looks whether the disk is the one that it always was.
func (t *tree) enter(ctx context.Context) (disk, error) {
	d, err := t.connect(ctx)
	if err != nil {
		return nil, t.failed("is not to be reached", err)
	}
	if err := t.recognise(d); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (t *tree) recognise(d disk) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	want := t.marker
	if want == "" && t.record != "" {
		remembered, err := os.ReadFile(t.record)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		want = string(remembered)
	}
	found, err := readMarker(d)
	if err != nil {
		return t.failed("cannot be read", err)
	}
	if want != "" && found != want {
		return springtide.Errorf(springtide.Unavailable, "the backup target %s is not the one that backups were put on: its marker is missing, or another", t.name).
			WithHint("mount its disk; if it is to be a new target, remove %s", cmp.Or(t.record, "its record"))
	}
	if found == "" {
		found = rand.Text()
		if err := writeFile(d, markerName, strings.NewReader(found)); err != nil {
			return t.failed("cannot be written", err)
		}
	}
	if want == "" && t.record != "" {
		if err := os.MkdirAll(filepath.Dir(t.record), 0o700); err != nil {
			return err
		}
		if err := durable.WriteFile(t.record, []byte(found), 0o600); err != nil {
			return err
		}
	}
	t.marker = found
	return nil
}

func readMarker(d disk) (string, error) {
	file, err := d.open(markerName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 1<<10))
	return string(data), err
}

// failed says what is wrong with the target itself.
func (t *tree) failed(what string, err error) error {
	if known, ok := errors.AsType[*springtide.Error](err); ok {
		return known
	}
	e := springtide.Errorf(springtide.Unavailable, "the backup target %s %s: %w", t.name, what, err)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return e.WithHint("make room there, or keep backups for a shorter time")
	}
	return e
}

// Put implements [Target].
func (t *tree) Put(ctx context.Context, name string, from io.Reader) error {
	if err := checkName(name); err != nil {
		return err
	}
	d, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := writeFile(d, name, stopped{ctx, from}); err != nil {
		return t.failed("cannot be written", err)
	}
	return nil
}

func writeFile(d disk, name string, from io.Reader) (err error) {
	folder := path.Dir(name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	temporary := path.Join(folder, "."+path.Base(name)+"."+rand.Text()[:8])
	file, err := d.create(temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = d.remove(temporary) // Tidy does it if this does not
		}
	}()
	_, err = file.ReadFrom(from)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := d.rename(temporary, name); err != nil {
		return err
	}
	return d.syncFolder(folder)
}

// Get implements [Target].
func (t *tree) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	d, err := t.enter(ctx)
	if err != nil {
		return nil, err
	}
	file, err := d.open(name)
	if err != nil {
		d.Close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, springtide.Errorf(springtide.NotFound, "the backup target %s has no %s", t.name, name)
		}
		return nil, t.failed("cannot be read", err)
	}
	return both{file, file, d}, nil
}

// List implements [Target].
func (t *tree) List(ctx context.Context, prefix string) ([]Object, error) {
	var objects []Object
	err := t.walk(ctx, strings.TrimSuffix(prefix, "/"), func(_ disk, name string, info fs.FileInfo) error {
		if !strings.HasPrefix(path.Base(name), ".") {
			objects = append(objects, Object{name, info.Size(), info.ModTime()})
		}
		return nil
	})
	slices.SortFunc(objects, func(a, b Object) int { return strings.Compare(a.Name, b.Name) })
	return objects, err
}

// walk shows all files below a folder, hidden ones too.
func (t *tree) walk(ctx context.Context, folder string, show func(d disk, name string, info fs.FileInfo) error) error {
	if folder != "" {
		if err := checkName(folder); err != nil {
			return err
		}
	}
	d, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	for folders := []string{cmp.Or(folder, ".")}; len(folders) > 0 && err == nil; {
		folder, folders = folders[0], folders[1:]
		infos, readErr := d.read(folder)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			err = readErr
		}
		for _, info := range infos {
			name := path.Join(folder, info.Name())
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case info.IsDir() && !strings.HasPrefix(info.Name(), "."): // lost+found and the like are read too
				folders = append(folders, name)
			case info.Mode().IsRegular() && err == nil:
				err = show(d, name, info)
			}
		}
	}
	if err != nil {
		return t.failed("cannot be read", err)
	}
	return nil
}

// Delete implements [Target].
func (t *tree) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	d, err := t.enter(ctx)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.remove(name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return t.failed("cannot be written", err)
	}
	return d.syncFolder(path.Dir(name))
}

// Tidy implements [Tidier].
func (t *tree) Tidy(ctx context.Context, before time.Time) error {
	return t.walk(ctx, "", func(d disk, name string, info fs.FileInfo) error {
		if base := path.Base(name); strings.HasPrefix(base, ".") && base != markerName && info.ModTime().Before(before) {
			return d.remove(name)
		}
		return nil
	})
}
