package process

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// credentialsFolder is the name of the folder of an instance on which the file
// system with its credentials is mounted.
const credentialsFolder = "credentials"

// credentialsOf gives the folder of the credentials of an instance or a task.
func (e *Engine) credentialsOf(place folder, s spec, isolation Isolation) string {
	if isolation.MountNamespace {
		return place.file(credentialsFolder)
	}
	return filepath.Join(e.memory, s.key())
}

// memoryFolder gives the folder below which credentials are, where instances
// have no mount namespace. It is of this data folder and this user.
func memoryFolder(data string) string {
	place := "/dev/shm"
	if own := os.Getenv("XDG_RUNTIME_DIR"); os.Geteuid() != 0 && inMemory(own) {
		place = own
	}
	name := fnv.New64a()
	name.Write([]byte(data))
	return filepath.Join(place, "tide-"+strconv.Itoa(os.Geteuid())+"-"+strconv.FormatUint(name.Sum64(), 36))
}

// inMemory reports whether the folder is on no disk.
func inMemory(folder string) bool {
	var stat unix.Statfs_t
	return filepath.IsAbs(folder) && unix.Statfs(folder, &stat) == nil && (stat.Type == unix.TMPFS_MAGIC || stat.Type == unix.RAMFS_MAGIC)
}

// makeMemory makes the folder below which credentials are. In a place where
// everybody may make folders it must not be somebody else's.
func (e *Engine) makeMemory() error {
	if !inMemory(filepath.Dir(e.memory)) {
		return springtide.Errorf(springtide.Failed, "credentials must be kept in memory, but %s is no file system in memory", filepath.Dir(e.memory)).
			WithHint("mount a tmpfs at /dev/shm")
	}
	// Others may pass through: apps have users of their own.
	if err := os.Mkdir(e.memory, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(e.memory)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return springtide.Errorf(springtide.Failed, "%s is not ours: credentials cannot be kept in it", e.memory).WithHint("remove it")
	}
	return nil
}

// removeCredentials removes what an init could not that was killed. Where there
// is a mount namespace the credentials end with it.
func (e *Engine) removeCredentials(s spec) {
	if err := os.RemoveAll(filepath.Join(e.memory, s.key())); err != nil {
		e.log.Error("the credentials of an instance could not be removed", "instance", s.name(), "error", err)
	}
}

// removeOtherCredentials removes those of instances and tasks that are gone.
func (e *Engine) removeOtherCredentials(known func(key string) bool) error {
	entries, err := os.ReadDir(e.memory)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		if !known(entry.Name()) {
			if err := os.RemoveAll(filepath.Join(e.memory, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
