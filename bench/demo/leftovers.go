package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// leftovers gives the processes that still belong to a data folder: their
// command line names it, or their home is in it. It waits a little for those
// that are about to end.
func leftovers(data string) []int {
	deadline := time.Now().Add(15 * time.Second)
	for {
		found := processesOf(data)
		if len(found) == 0 || time.Now().After(deadline) {
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func processesOf(data string) []int {
	var found []int
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A process may end meanwhile, or be somebody else's: then it has neither.
		command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		environment, _ := os.ReadFile(filepath.Join(folder, "environ"))
		named := bytes.Contains(command, []byte(data+"/")) || bytes.Contains(command, []byte("--data\x00"+data+"\x00"))
		if named || bytes.Contains(environment, []byte("HOME="+data+"/")) {
			found = append(found, pid)
		}
	}
	return found
}

func kill(processes []int) {
	for _, pid := range processes {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
