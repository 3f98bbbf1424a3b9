package process

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ownProgram is this program, whatever has become of its file since it started.
const ownProgram = "/proc/self/exe"

// programs keeps this program where instances find it, as `tide` on their PATH.
type programs struct {
	folder string
	mu     sync.Mutex // while it is put there
}

func (p *programs) tide() string { return filepath.Join(p.folder, "tide") }

// install puts the program there, unless it is there. What cannot be renewed
// stays as it was.
func (p *programs) install() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	own, err := os.Stat(ownProgram)
	if err != nil {
		return err
	}
	there, err := os.Stat(p.tide())
	if err == nil && (os.SameFile(own, there) || sameCopy(own, there)) {
		return nil
	}
	if err := os.MkdirAll(p.folder, 0o755); err != nil {
		return err
	}
	path := p.tide() + ".new"
	if err := os.RemoveAll(path); err != nil { // What was cut off.
		return err
	}
	if !linkProgram(own, path) {
		if err := copyProgram(own, path); err != nil {
			return err
		}
	}
	return os.Rename(path, p.tide())
}

// sameCopy reports whether the file is a copy of the program: copies bear its
// time.
func sameCopy(own, there os.FileInfo) bool {
	return own.Size() == there.Size() && own.ModTime().Equal(there.ModTime())
}

// linkProgram makes a second name of the program's file, so that it is in memory
// once. It reports whether that was possible: its file may be gone, elsewhere, or
// not for everybody.
func linkProgram(own os.FileInfo, path string) bool {
	file, err := os.Readlink(ownProgram)
	if err != nil || own.Mode().Perm()&0o555 != 0o555 || os.Link(file, path) != nil {
		return false
	}
	linked, err := os.Stat(path)
	if err == nil && os.SameFile(own, linked) {
		return true
	}
	_ = os.Remove(path) // Another has taken its name meanwhile.
	return false
}

func copyProgram(own os.FileInfo, path string) error {
	source, err := os.Open(ownProgram)
	if err != nil {
		return err
	}
	defer source.Close()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, source)
	err = errors.Join(err, file.Chmod(0o755), file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Chtimes(path, time.Time{}, own.ModTime())
}
