package files

import (
	"context"
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// openTree opens a folder, to walk it and to change it itself; both are to be closed.
func openTree(name string) (*os.Root, *os.File, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, nil, err
	}
	top, err := root.Open(".")
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	return root, top, nil
}

// handOver gives a tree to a user, and the group of the same number. The folder
// itself is the last: that it is theirs says that all is. A link is handed over
// itself, never what it leads to.
func handOver(ctx context.Context, folder string, owner int) error {
	root, top, err := openTree(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	defer top.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(top.Fd()), &stat); err != nil {
		return err
	}
	if int(stat.Uid) == owner && stat.Mode&0o7777 == 0o2770 {
		return nil
	}
	if os.Geteuid() == 0 && int(stat.Uid) != owner {
		if err := gently(func() error { return tree(ctx, root, ".", give(owner)) }); err != nil {
			return err
		}
		if err := top.Chown(owner, owner); err != nil {
			return err
		}
	}
	return errors.Join(top.Chmod(folderMode), top.Sync())
}

// give hands one entry over, and keeps the mode, which chown takes bits from.
func give(owner int) func(string, *os.File, *unix.Stat_t) error {
	return func(name string, in *os.File, stat *unix.Stat_t) error {
		if int(stat.Uid) == owner && int(stat.Gid) == owner {
			return nil
		}
		err := unix.Fchownat(int(in.Fd()), path.Base(name), owner, owner, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			return nil
		}
		return err
	}
}
