package build

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// spare is what must be free besides what a build is known to need; fullBelow
// is where a file system counts as full.
const (
	spare     = 64 << 20
	fullBelow = 4 << 20
)

// free gives how many bytes this process can still write in the folder.
func free(folder string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(folder, &stat); err != nil {
		return 0, err
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}

// noSpace turns the error of a full disk into one that a user can act on, and
// gives nil for every other.
func noSpace(folder string, err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return springtide.Errorf(springtide.Unavailable, "no space left in %s: %w", folder, err).WithHint(spaceHint)
}

const spaceHint = "make room, or keep fewer releases (keep: in tide.yaml)"

// room checks that a build of so many bytes of source has a chance.
func (b *Builder) room(source int64) error {
	left, err := free(b.options.Data)
	if err != nil {
		return springtide.Errorf(springtide.Internal, "look for free space: %w", err)
	}
	if need := spare + 2*source; left < need {
		return springtide.Errorf(springtide.Unavailable, "no space left in %s: %d MiB are free, the build needs %d MiB",
			b.options.Data, left>>20, need>>20).WithHint(spaceHint)
	}
	return nil
}
