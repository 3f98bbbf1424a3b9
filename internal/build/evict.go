package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// evict kills every process that carries the mark of the build in that folder,
// and returns when none is left, or after two seconds. It finds what has made
// itself a daemon, and what a builder that was killed has left behind.
func evict(folder string) {
	mark := []byte(marker + "=" + folder)
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		found := false
		for _, pid := range marked(mark) {
			found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
		}
		if !found {
			return
		}
	}
}

// marked lists the processes with that variable in their environment. Those of
// other users cannot be looked into; they are not of our builds. The dead that
// nobody has waited for have no environment.
func marked(mark []byte) []int {
	environments, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range environments {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		for variable := range bytes.SplitSeq(data, []byte{0}) {
			if !bytes.Equal(variable, mark) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
