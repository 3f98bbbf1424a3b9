package files

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/springtide/springtide"
)

// explain says in the user's words what the file system said of a file. A full
// disk stays recognizable as syscall.ENOSPC, a quota as syscall.EDQUOT.
func explain(name string, err error) error {
	var known *springtide.Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return springtide.Errorf(springtide.Unavailable, "%s was not written, the disk is full: %w", name, err)
	case errors.Is(err, syscall.EDQUOT):
		return overQuota(name, 0)
	case errors.Is(err, fs.ErrNotExist):
		return springtide.Errorf(springtide.NotFound, "there is no file %s", name)
	case errors.Is(err, syscall.ENOTEMPTY): // which is fs.ErrExist too
		return springtide.Errorf(springtide.Conflict, "the folder %s is not empty", name).WithHint("delete what is in it first")
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR), errors.Is(err, fs.ErrExist):
		return springtide.Errorf(springtide.Conflict, "%s would have to be a file and a folder at once", name)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return springtide.Errorf(springtide.Invalid, "the name of %s is too long for the file system", name)
	case errors.Is(err, syscall.ELOOP):
		return springtide.Errorf(springtide.Invalid, "%s is a link that leads to itself", name)
	case errors.Is(err, syscall.ENXIO): // a socket
		return notAFile(name)
	case escapes(err):
		return springtide.Errorf(springtide.Invalid, "%s is, or lies behind, a link that leads out of the shared folder", name)
	}
	return springtide.Errorf(springtide.Internal, "%s: %w", name, err)
}

// escapes reports whether [os.Root] refused to leave the folder: it has no
// error to compare with, only this text.
func escapes(err error) bool {
	path, ok := errors.AsType[*fs.PathError](err)
	return ok && path.Err.Error() == "path escapes from parent"
}

func notAFile(name string) error {
	return springtide.Errorf(springtide.Invalid, "%s is not a file", name).
		WithHint("only plain files can be read, not folders, devices, pipes or sockets")
}

// overQuota is the refusal of what would go beyond a quota, in bytes; 0 if it
// was the kernel who refused.
func overQuota(name string, quota int64) error {
	said := springtide.Errorf(springtide.Failed, "%s was not written, the folder's quota is used up: %w", name, syscall.EDQUOT)
	if quota > 0 {
		said = springtide.Errorf(springtide.Failed, "%s was not written, it would go beyond the folder's quota of %d bytes: %w", name, quota, syscall.EDQUOT)
	}
	return said.WithHint("delete files, or raise quota in the manifest")
}
