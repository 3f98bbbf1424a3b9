package build

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// treeSize adds up the files in a folder.
func treeSize(folder string) (int64, error) {
	var size int64
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// copyTree copies files, folders and links to a new folder, which will belong
// to the owner. All get one time, that of the copy: none is newer than another,
// so make does not rebuild what is checked in; and none is as old as in the
// build before, by which compilers that look at time and size would be misled.
func copyTree(ctx context.Context, from, to string, who owner) error {
	now := time.Now()
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case entry.IsDir():
			err = os.Mkdir(target, 0o755)
		case entry.Type() == fs.ModeSymlink:
			var points string
			if points, err = os.Readlink(path); err == nil {
				err = os.Symlink(points, target)
			}
		case entry.Type().IsRegular():
			err = copyFile(path, target, now)
		default:
			return nil
		}
		if err == nil && who.other {
			err = os.Lchown(target, who.uid, who.gid)
		}
		return err
	})
}

// moveTree is as copyTree, but uses the tree up if it is on the same file system.
func moveTree(ctx context.Context, from, to string, who owner) error {
	err := os.Rename(from, to)
	if errors.Is(err, syscall.EXDEV) {
		return copyTree(ctx, from, to, who)
	}
	if err != nil {
		return err
	}
	now := time.Now()
	return filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case entry.IsDir():
			err = os.Chmod(path, 0o755)
		case entry.Type().IsRegular():
			err = os.Chtimes(path, now, now)
		}
		if err == nil && who.other {
			err = os.Lchown(path, who.uid, who.gid)
		}
		return errors.Join(err, ctx.Err())
	})
}

// copyFile copies content and whether it can be executed.
func copyFile(from, to string, at time.Time) error {
	source, err := os.OpenFile(from, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	info, err := source.Stat()
	if err != nil {
		return err
	}
	target, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(fileMode(info.Mode())))
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	if err = errors.Join(err, target.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, at, at)
}

// removeTree removes a folder, also one in which folders are read-only, as Go's
// module cache makes them.
func removeTree(folder string) error {
	err := os.RemoveAll(folder)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, _ error) error {
		if entry != nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(folder)
}
