package files

import (
	"context"
	"errors"
	"os"
	"path"
	"unsafe"

	"golang.org/x/sys/unix"
)

// limit has the file system enforce a quota, by a project of the folder's own,
// and reports whether it does. ext4 and XFS do when they are mounted with
// prjquota; elsewhere the platform can only refuse what goes by way of it. was
// says that it did before: a quota that is no more is lifted.
func (s *Store) limit(ctx context.Context, id FolderID, quota int64, was bool) bool {
	if quota == 0 && !was || os.Geteuid() != 0 {
		return false
	}
	root, top, err := openTree(s.tree(id))
	if err != nil {
		return false
	}
	defer root.Close()
	defer top.Close()
	project, err := projectOf(top)
	if err != nil || setProjectQuota(top, project, quota) != nil || quota == 0 {
		return false
	}
	// What is written beside the folder and renamed into it must be of the same
	// project, or the rename fails; folders hand their project down.
	for _, name := range []string{s.tree(id), path.Join(s.side(id), "temporary"), path.Join(s.side(id), "uploads")} {
		if err := joinProject(ctx, name, project); err != nil {
			s.logger.Warn("the file system does not enforce a quota", "folder", id, "error", err)
			return false
		}
	}
	return true
}

// projectOf gives the folder's number as its project's: it is nobody else's on
// that file system.
func projectOf(folder *os.File) (uint32, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(folder.Fd()), &stat); err != nil {
		return 0, err
	}
	if stat.Ino > 1<<31 {
		return 0, errors.ErrUnsupported
	}
	return uint32(stat.Ino), nil
}

// The kernel's struct if_dqblk and struct fsxattr.
type quotaBlock struct {
	HardBlocks, SoftBlocks, Space                uint64 // the first two in 1024 bytes
	HardFiles, SoftFiles, Files, BlockTime, Time uint64
	Valid                                        uint32
	_                                            uint32
}

type fileAttributes struct {
	Flags, ExtentSize, Extents, Project, CopyExtentSize uint32
	_                                                   [8]byte
}

const (
	setQuota       = 0x800008<<8 | 2 // Q_SETQUOTA of PRJQUOTA
	blockLimits    = 1               // QIF_BLIMITS
	projectInherit = 0x200           // FS_XFLAG_PROJINHERIT
	getAttributes  = 0x801c581f      // FS_IOC_FSGETXATTR
	setAttributes  = 0x401c5820      // FS_IOC_FSSETXATTR
)

func setProjectQuota(folder *os.File, project uint32, quota int64) error {
	block := quotaBlock{HardBlocks: uint64(quota+1023) / 1024, Valid: blockLimits}
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, folder.Fd(), setQuota, uintptr(project), uintptr(unsafe.Pointer(&block)), 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// joinProject makes a tree part of a project. The folder itself is the last:
// that it is says that all is.
func joinProject(ctx context.Context, name string, project uint32) error {
	root, top, err := openTree(name)
	if err != nil {
		return err
	}
	defer root.Close()
	defer top.Close()
	if there, err := attributesOf(top); err != nil || there.Project == project && there.Flags&projectInherit != 0 {
		return err
	}
	// Twice: what came while folders did not yet hand it down is found by the second.
	for range 2 {
		if err := gently(func() error { return tree(ctx, root, ".", join(project)) }); err != nil {
			return err
		}
	}
	return setProject(top, project, true)
}

func join(project uint32) func(string, *os.File, *unix.Stat_t) error {
	return func(name string, in *os.File, stat *unix.Stat_t) error {
		kind := stat.Mode & unix.S_IFMT
		if kind != unix.S_IFREG && kind != unix.S_IFDIR {
			return nil // cannot be opened, and has no size
		}
		fd, err := unix.Openat(int(in.Fd()), path.Base(name), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil // it went meanwhile
		}
		file := os.NewFile(uintptr(fd), name)
		defer file.Close()
		return setProject(file, project, kind == unix.S_IFDIR)
	}
}

func attributesOf(file *os.File) (fileAttributes, error) {
	var attributes fileAttributes
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), getAttributes, uintptr(unsafe.Pointer(&attributes))); errno != 0 {
		return attributes, errno
	}
	return attributes, nil
}

func setProject(file *os.File, project uint32, folder bool) error {
	attributes, err := attributesOf(file)
	if err != nil {
		return err
	}
	attributes.Project = project
	if folder {
		attributes.Flags |= projectInherit
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, file.Fd(), setAttributes, uintptr(unsafe.Pointer(&attributes))); errno != 0 {
		return errno
	}
	return nil
}
