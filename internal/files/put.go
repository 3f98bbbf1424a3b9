package files

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// What the platform makes has these modes; the app may change them.
const (
	folderMode = os.ModeSetgid | 0o770
	fileMode   = 0o660
)

// PutOptions say what is written.
type PutOptions struct {
	// Size is how many bytes there will be; fewer or more are an error. -1: not known.
	Size int64
	Attributes
	// Modified is when it was last changed. Zero: now.
	Modified time.Time
	// Finish may give the attributes when all was read. May be nil.
	Finish func() (Attributes, error)
	// Unless may refuse to replace what is there: it is asked at the last moment,
	// when nobody else writes by way of the platform. Nil if there is nothing.
	Unless func(old *Entry) error
}

// Put makes a file of what is read: the whole of it, synced to the disk, or
// nothing. The folders above it are made. A file that is there is replaced; who
// reads it goes on with the old. It is never written through a link.
func (f *Folder) Put(ctx context.Context, name string, from io.Reader, o PutOptions) (_ Entry, err error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	reserved, err := f.reserve(name, max(o.Size, 0))
	if err != nil {
		return Entry{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(explain(name, err), reserved.release())
		}
	}()
	temporary, err := f.temporary()
	if err != nil {
		return Entry{}, err
	}
	defer temporary.Close()
	defer os.Remove(temporary.Name()) // it has another name by then, if all went well
	size, err := io.Copy(temporary, reserved.reader(reader{ctx, from}, o.Size))
	if err == nil && o.Size >= 0 && size != o.Size {
		err = springtide.Errorf(springtide.Invalid, "%s was not written, %d of %d bytes came", name, size, o.Size)
	}
	if err == nil && o.Finish != nil {
		o.Attributes, err = o.Finish()
	}
	if err == nil {
		err = f.own(temporary, fileMode)
	}
	if err != nil {
		return Entry{}, err
	}
	return f.publish(name, temporary, o, reserved)
}

// publish gives a file that is whole its name.
func (f *Folder) publish(name string, temporary *os.File, o PutOptions, reserved *reservation) (Entry, error) {
	stays, err := o.write(temporary)
	if err == nil && !o.Modified.IsZero() {
		err = os.Chtimes(temporary.Name(), time.Time{}, o.Modified)
	}
	if err == nil {
		err = temporary.Sync()
	}
	if err != nil {
		return Entry{}, err
	}
	if !stays {
		o.Attributes = Attributes{}
	}
	info, err := temporary.Stat()
	if err != nil {
		return Entry{}, err
	}
	folder, err := f.folder(path.Dir(name))
	if err != nil {
		return Entry{}, err
	}
	defer folder.Close()
	if err := f.rename(name, temporary.Name(), folder, o.Unless, info.Size(), reserved); err != nil {
		return Entry{}, err
	}
	return entryOf(name, info, o.Attributes), folder.Sync()
}

// rename is the moment at which a file appears, one at a time.
func (f *Folder) rename(name, temporary string, folder *os.File, unless func(*Entry) error, size int64, reserved *reservation) error {
	unlock, err := f.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	var old unix.Stat_t
	err = unix.Fstatat(int(folder.Fd()), path.Base(name), &old, unix.AT_SYMLINK_NOFOLLOW)
	there := err == nil && old.Mode&unix.S_IFMT == unix.S_IFREG
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if unless != nil {
		if err := f.ask(name, there, unless); err != nil {
			return err
		}
	}
	if err := unix.Renameat(unix.AT_FDCWD, temporary, int(folder.Fd()), path.Base(name)); err != nil {
		return err
	}
	if there {
		return reserved.settle(size-old.Size, 0)
	}
	return reserved.settle(size, 1)
}

func (f *Folder) ask(name string, there bool, unless func(*Entry) error) error {
	if !there {
		return unless(nil)
	}
	old, err := f.Stat(name)
	if err != nil {
		return err
	}
	return unless(&old)
}

// temporary makes a file that is nobody's yet, on the file system of the folder
// but not in it. Its lock tells who sweeps that it is being written.
func (f *Folder) temporary() (*os.File, error) {
	file, err := os.CreateTemp(filepath.Join(f.side, "temporary"), "")
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, errors.Join(err, os.Remove(file.Name()))
	}
	return file, nil
}

func digest(ctx context.Context, from io.Reader) (string, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, reader{ctx, from}); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
