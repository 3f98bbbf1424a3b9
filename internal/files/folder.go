package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/springtide/springtide"
)

// Folder is one shared folder, opened. All names are relative to it, and none
// leads out of it, whatever links the app made. The app writes to it at the same
// time, and is no friend.
type Folder struct {
	id   FolderID
	root *os.Root
	side string
	settings
	ledger ledger
}

// Entry is a file of a shared folder, or a folder in it.
type Entry struct {
	Name     string    `json:"name"`
	Size     int64     `json:"size"` // in bytes
	Modified time.Time `json:"modified"`
	Folder   bool      `json:"folder,omitempty"`
	// ETag changes with the content. Without quotes; a file's MD5 if it came by S3.
	ETag string `json:"etag,omitempty"`
	// SHA256 is in hexadecimal, where it was asked for.
	SHA256 string `json:"sha256,omitempty"`
}

// Open gives a shared folder, to be closed; NotFound if there is none.
func (s *Store) Open(id FolderID) (*Folder, error) {
	if err := id.check(); err != nil {
		return nil, err
	}
	side := s.side(id)
	kept, err := readSettings(side)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.NotFound, "there is no shared folder %s", id).
			WithHint("it is made by the first deploy whose manifest has it under files")
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.tree(id))
	if err != nil {
		return nil, err
	}
	return &Folder{id: id, root: root, side: side, settings: kept, ledger: ledger{side: side}}, nil
}

// Close lets go of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Stat tells of one file or folder.
func (f *Folder) Stat(name string) (Entry, error) {
	if err := checkName(name); err != nil {
		return Entry{}, err
	}
	info, err := f.root.Stat(name)
	if err != nil {
		return Entry{}, explain(name, err)
	}
	if !info.Mode().IsRegular() {
		if !info.IsDir() {
			return Entry{}, notAFile(name)
		}
		return entryOf(name, info, Attributes{}), nil
	}
	file, err := f.Read(name)
	if err != nil {
		return Entry{}, err
	}
	defer file.Close()
	return file.Entry, nil
}

// File is a file that is read. What it holds may change meanwhile, if the app
// writes to it; what came by the platform is replaced as a whole, and whoever
// reads keeps the old.
type File struct {
	*os.File
	Entry      Entry
	Attributes Attributes
}

// Read opens a file. It never waits, and touches no device.
func (f *Folder) Read(name string) (*File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	info, err := f.root.Stat(name) // before it is opened: opening a device may do something
	if err == nil && !info.Mode().IsRegular() {
		return nil, notAFile(name)
	}
	if err != nil {
		return nil, explain(name, err)
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, explain(name, err)
	}
	info, err = file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notAFile(name)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	attributes := readAttributes(file, info)
	return &File{File: file, Entry: entryOf(name, info, attributes), Attributes: attributes}, nil
}

func entryOf(name string, info fs.FileInfo, attributes Attributes) Entry {
	entry := Entry{Name: name, Size: info.Size(), Modified: info.ModTime().UTC(), Folder: info.IsDir(), ETag: attributes.ETag}
	if entry.Folder {
		entry.Size = 0
	} else if entry.ETag == "" {
		// The hyphen tells it from an MD5.
		entry.ETag = fmt.Sprintf("%x-%x", entry.Modified.UnixNano(), entry.Size)
	}
	return entry
}

// Delete removes a file or an empty folder; with all, what is in it too.
func (f *Folder) Delete(name string, all bool) error {
	if err := checkName(name); err != nil {
		return err
	}
	if all {
		// What it held is counted by the next walk.
		return explain(name, f.root.RemoveAll(name))
	}
	unlock, err := f.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	info, err := f.root.Lstat(name)
	if err != nil {
		return explain(name, err)
	}
	if err := f.root.Remove(name); err != nil {
		return explain(name, err)
	}
	if info.Mode().IsRegular() {
		err = f.ledger.add(-info.Size(), -1)
	}
	return errors.Join(err, f.syncFolder(path.Dir(name)))
}

// Copy makes a file of what another has, as a whole or not at all.
func (f *Folder) Copy(ctx context.Context, from, to string) (Entry, error) {
	file, err := f.Read(from)
	if err != nil {
		return Entry{}, err
	}
	defer file.Close()
	return f.Put(ctx, to, file, PutOptions{Size: file.Entry.Size, Attributes: file.Attributes})
}

// MakeFolder makes a folder, and those above it. It may be there already.
func (f *Folder) MakeFolder(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	folder, err := f.folder(name)
	if err != nil {
		return err
	}
	return folder.Close()
}

// folder opens a folder, and makes it and those above it if they are not there,
// for the app's user, durably.
func (f *Folder) folder(name string) (*os.File, error) {
	folder, err := f.openFolder(name)
	if !errors.Is(err, fs.ErrNotExist) || name == "." {
		return folder, explain(name, err)
	}
	above, err := f.folder(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer above.Close()
	if err := f.root.Mkdir(name, 0o770); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, explain(name, err)
	}
	folder, err = f.openFolder(name)
	if err != nil {
		return nil, explain(name, err)
	}
	if err = f.own(folder, folderMode); err == nil {
		err = above.Sync()
	}
	if err != nil {
		folder.Close()
		return nil, explain(name, err)
	}
	return folder, nil
}

func (f *Folder) openFolder(name string) (*os.File, error) {
	return f.root.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
}

func (f *Folder) syncFolder(name string) error {
	folder, err := f.openFolder(name)
	if err != nil {
		return explain(name, err)
	}
	defer folder.Close()
	return folder.Sync()
}

// own gives what the platform made to the app's user.
func (f *Folder) own(file *os.File, mode os.FileMode) error {
	if os.Geteuid() == 0 {
		if err := file.Chown(f.Owner, f.Owner); err != nil {
			return err
		}
	}
	return file.Chmod(mode) // last: chown takes bits away
}

// reader stops at the end of a context.
type reader struct {
	ctx  context.Context //nolint:containedctx // one copy's own
	from io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
