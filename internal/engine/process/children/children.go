// Package children finds the children of this process: what falls to it as the
// reaper of orphans is not known to it otherwise. It imports next to nothing, for
// the init has to stay small.
package children

import (
	"os"
	"strconv"
	"strings"
)

// List gives the children of this process, those that have ended and were not
// waited for among them.
func List() []int {
	// /proc may number processes otherwise than this process's namespace does.
	own, err := os.Readlink("/proc/self")
	if err != nil {
		return nil
	}
	alike := own == strconv.Itoa(os.Getpid())
	folder, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	names, _ := folder.Readdirnames(-1)
	folder.Close()
	var found []int
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || parent(name) != own {
			continue
		}
		if !alike {
			pid = innermost(name)
		}
		if pid > 0 {
			found = append(found, pid)
		}
	}
	return found
}

// parent gives the parent of a process; empty if it is gone.
func parent(name string) string {
	data, err := os.ReadFile("/proc/" + name + "/stat")
	if err != nil {
		return ""
	}
	// pid (name) state parent ...; the name may hold anything.
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return ""
	}
	return fields[1]
}

// innermost gives the PID of a process in its own namespace; 0 if it is gone.
func innermost(name string) int {
	data, err := os.ReadFile("/proc/" + name + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(data), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	fields := strings.Fields(line)
	if len(fields) == 0 {
		return 0
	}
	pid, _ := strconv.Atoi(fields[len(fields)-1])
	return pid
}
