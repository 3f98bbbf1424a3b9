package build

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/springtide/springtide"
)

// place is a folder for unfinished work, builds/NAME.N, with N as low as
// possible: a compiler that writes paths into what it makes, or uses them to
// find what it made last time, sees the same path in one build after another.
//
// Whoever holds the lock on builds/NAME.N.lock owns the folder. The lock dies
// with its process.
type place struct {
	folder string
	lock   *os.File
}

func (p *place) source() string { return filepath.Join(p.folder, "source") }

// temporary is $TMPDIR of the command.
func (p *place) temporary() string { return filepath.Join(p.folder, "tmp") }

// file names a file of the platform's own beside the source.
func (p *place) file(name string) string { return filepath.Join(p.folder, name) }

// claim makes an empty place of that name.
func (b *Builder) claim(name string) (*place, error) {
	if err := openFolder(b.builds, 0o711); err != nil {
		return nil, err
	}
	const most = 1000
	for n := 1; n <= most; n++ {
		p, err := b.occupy(name + "." + strconv.Itoa(n))
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		if err := openFolder(p.folder, 0o711); err != nil {
			p.release()
			return nil, err
		}
		return p, nil
	}
	return nil, springtide.Errorf(springtide.Unavailable, "%d builds of %s are under way", most, name).WithHint("wait for one to end")
}

// occupy takes a place and removes what is left there of a process that died.
// It gives nil if another has it.
func (b *Builder) occupy(name string) (*place, error) {
	folder := filepath.Join(b.builds, name)
	lock, err := tryLock(folder + ".lock")
	if lock == nil || err != nil {
		return nil, err
	}
	p := &place{folder: folder, lock: lock}
	if _, err := os.Lstat(folder); errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	evict(folder) // A builder that was killed has left its command behind.
	if err := removeTree(folder); err != nil {
		lock.Close()
		return nil, err
	}
	return p, nil
}

// release removes the place and what is in it.
func (p *place) release() {
	// What cannot be removed now is tried again by the next who comes here.
	if removeTree(p.folder) == nil {
		os.Remove(p.lock.Name())
	}
	p.lock.Close()
}

// openFolder makes a folder through which others may pass to what is theirs,
// whatever the umask says.
func openFolder(path string, mode fs.FileMode) error {
	if info, err := os.Lstat(path); err == nil && info.Mode().Perm() == mode {
		return nil
	}
	if err := os.MkdirAll(path, mode); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// tryLock locks the file, which it makes, or gives nil if another process or
// goroutine has it locked.
func tryLock(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			file.Close()
			return nil, nil //nolint:nilnil // No lock and no error is one of three answers.
		}
		if err != nil {
			file.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if stillNamed(file, path) {
			return file, nil
		}
		file.Close() // Whoever had it has removed it.
	}
}

func stillNamed(file *os.File, path string) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(mine, named)
}
