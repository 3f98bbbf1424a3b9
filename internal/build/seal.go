package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// epoch is when everything in an artifact was last changed, so that the same
// content is the same artifact whenever it is built.
func epoch() time.Time { return time.Unix(0, 0).UTC() }

// sealed is one thing in a sealed tree.
type sealed struct {
	name string // relative to the tree, with slashes; "" is the tree itself
	mode fs.FileMode
	size int64
	// target is where a symbolic link points to.
	target string
}

// seal makes a tree what it would be if it were unpacked from its artifact: it
// belongs to the platform, all can read it, only its owner can write, and all
// times are now. It gives the content, folders before what is in them and names
// in order, and what it had to remove because no artifact can hold it.
//
// The times are not the artifact's: web servers tell them to browsers, which
// would take a page of one release for that of another if they were the same.
//
// The tree may be hostile: a build made it, and os.Root follows no link out of it.
func seal(root *os.Root) (content []sealed, removed []string, err error) {
	s := &sealer{root: os.Geteuid() == 0, at: time.Now()}
	if err := s.folder(root, ""); err != nil {
		return nil, nil, fmt.Errorf("seal the build: %w", err)
	}
	return s.content, s.removed, nil
}

type sealer struct {
	root    bool
	at      time.Time
	content []sealed
	removed []string
}

func (s *sealer) folder(folder *os.Root, name string) error {
	s.content = append(s.content, sealed{name: name, mode: fs.ModeDir | 0o755})
	if err := s.own(folder, "."); err != nil {
		return err
	}
	if err := folder.Chmod(".", 0o755); err != nil {
		return err
	}
	entries, err := readFolder(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := s.entry(folder, entry, path.Join(name, entry)); err != nil {
			return fmt.Errorf("%s: %w", clip(entry), err)
		}
	}
	return folder.Chtimes(".", s.at, s.at)
}

func readFolder(folder *os.Root) ([]string, error) {
	file, err := folder.Open(".")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	names, err := file.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

func (s *sealer) entry(folder *os.Root, entry, name string) error {
	info, err := folder.Lstat(entry)
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		if info.Mode()&0o700 != 0o700 {
			if err := folder.Chmod(entry, 0o755); err != nil { // Else it cannot be opened.
				return err
			}
		}
		inner, err := folder.OpenRoot(entry)
		if err != nil {
			return err
		}
		defer inner.Close()
		return s.folder(inner, name)
	case fs.ModeSymlink:
		target, err := folder.Readlink(entry)
		if err != nil {
			return err
		}
		s.content = append(s.content, sealed{name: name, mode: fs.ModeSymlink | 0o777, target: target})
		return s.own(folder, entry)
	case 0:
		return s.file(folder, entry, name, info)
	}
	s.removed = append(s.removed, name)
	return folder.Remove(entry)
}

func (s *sealer) file(folder *os.Root, entry, name string, info fs.FileInfo) error {
	mode := fs.FileMode(fileMode(info.Mode()))
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Nlink > 1 {
		if err := detach(folder, entry, mode); err != nil {
			return err
		}
	}
	if err := s.own(folder, entry); err != nil {
		return err
	}
	if err := folder.Chmod(entry, mode); err != nil {
		return err
	}
	s.content = append(s.content, sealed{name: name, mode: mode, size: info.Size()})
	return folder.Chtimes(entry, s.at, s.at)
}

// own makes the platform the owner.
func (s *sealer) own(folder *os.Root, entry string) error {
	if !s.root {
		return nil
	}
	return folder.Lchown(entry, 0, 0)
}

// detach gives a file content of its own. Package managers link files from
// their cache into a build: who changes the cache would change the artifact,
// and sealing would change the cache.
func detach(folder *os.Root, entry string, mode fs.FileMode) error {
	source, err := folder.OpenFile(entry, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	copied := ".tide-" + entry
	if len(copied) > 255 {
		copied = copied[:200] + strings.Repeat("~", 50)
	}
	target, err := folder.OpenFile(copied, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
		return err
	}
	return folder.Rename(copied, entry)
}
