package process

import (
	"os"
	"path/filepath"
	"strconv"

	"github.com/springtide/springtide"
)

// Confine has a process that is about to begin be in a control group of that name,
// with limits; called again it changes them. Without control groups it does
// nothing. What the process starts later is in the group too.
func (l *Limiter) Confine(name string, pid int, limits springtide.Limits) error {
	group, err := l.groups.create(name, limits)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "limit %s: %w", name, err).
			WithHint("a limit that is below what is in use now takes a restart")
	}
	for _, folder := range l.groups.unique() {
		if err := os.WriteFile(filepath.Join(folder, group.name, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return springtide.Errorf(springtide.Failed, "limit %s: %w", name, err)
		}
	}
	return nil
}

// OutOfMemory counts what the kernel has ended in a group because there was no
// memory left within its limits.
func (l *Limiter) OutOfMemory(name string) int { return l.groups.existing(name).outOfMemory() }

// Release forgets a group in which nothing runs any more.
func (l *Limiter) Release(name string) {
	if len(l.groups.folders) > 0 {
		l.groups.existing(name).remove()
	}
}
