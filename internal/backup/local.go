package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
)

// localDisk is a folder of this machine. All is done relative to the folder that
// was opened: if its disk is unmounted meanwhile, nothing goes to what is below.
type localDisk struct{ *os.Root }

func localDisks(folder string) func(context.Context) (disk, error) {
	return func(context.Context) (disk, error) {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(folder)
		if err != nil {
			return nil, err
		}
		return localDisk{root}, nil
	}
}

func (l localDisk) create(name string) (diskFile, error) {
	return l.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}

func (l localDisk) open(name string) (io.ReadCloser, error) { return l.Open(name) }

func (l localDisk) rename(from, to string) error { return l.Rename(from, to) }

func (l localDisk) remove(name string) error { return l.Remove(name) }

// makeFolder syncs the folder above each that it makes.
func (l localDisk) makeFolder(name string) error {
	if info, err := l.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	above := path.Dir(name)
	if err := l.makeFolder(above); err != nil {
		return err
	}
	if err := l.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return l.syncFolder(above)
}

func (l localDisk) read(folder string) ([]fs.FileInfo, error) {
	file, err := l.Open(folder)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return file.Readdir(-1)
}

func (l localDisk) syncFolder(name string) error {
	folder, err := l.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
