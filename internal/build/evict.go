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
// and returns when none is left, or after ten seconds: what may not have much of the
// processor takes its time to end. It finds what has made itself a daemon, and what a
// builder that was killed has left behind.
func evict(folder string) {
	mark := []byte(marker + "=" + folder)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if !killAll(marked(mark)) {
			return
		}
	}
}

// killAll kills processes, and reports whether there was one that could be. All are
// stopped before the first is killed: a shell would tell, in the build's output, that
// its child was. In the order of their numbers it may come after that.
func killAll(pids []int) (found bool) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	for _, pid := range pids {
		found = syscall.Kill(pid, syscall.SIGKILL) == nil || found
	}
	return found
}

// marked lists the processes with that variable in their environment. Those of
// other users cannot be looked into; they are not of our builds. The dead that
// nobody has waited for have no environment.
func marked(mark []byte) []int {
	folder, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	own := os.Getpid()
	buffer := make([]byte, 64<<10)
	var pids []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err == nil && pid != own && carries(filepath.Join("/proc", name, "environ"), mark, buffer) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// carries reports whether the variable is in an environment. It is called for
// every process of the machine, hence without what os.File does besides.
func carries(environment string, variable, buffer []byte) bool {
	file, err := syscall.Open(environment, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(file)
	kept := 0 // What may be the beginning of a variable, from the read before.
	for {
		n, err := syscall.Read(file, buffer[kept:])
		if err != nil || n <= 0 {
			return bytes.Equal(buffer[:kept], variable)
		}
		variables := buffer[:kept+n]
		for {
			one, rest, whole := bytes.Cut(variables, []byte{0})
			if !whole {
				break
			}
			if bytes.Equal(one, variable) {
				return true
			}
			variables = rest
		}
		if kept = copy(buffer, variables); kept == len(buffer) {
			return false // One variable that fills the buffer; not ours.
		}
	}
}
