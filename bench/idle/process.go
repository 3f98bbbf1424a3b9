package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// process is what one of the platform's processes uses.
type process struct {
	role   string // supervisor, control, edge or init
	memory int64  // bytes: its proportional share (PSS) of what is resident
	cpu    time.Duration
}

// processes gives the platform's processes by their IDs: the supervisor and
// what descends from it, down to the inits of the instances but not further.
func processes(supervisor int) (map[int]process, error) {
	children, err := childrenOf()
	if err != nil {
		return nil, err
	}
	found := map[int]process{}
	next := []int{supervisor}
	for len(next) > 0 {
		pid := next[0]
		next = next[1:]
		p, err := readProcess(pid)
		if errors.Is(err, fs.ErrNotExist) && pid != supervisor {
			continue // it has ended
		}
		if err != nil {
			return nil, err
		}
		found[pid] = p
		if p.role != "init" {
			next = append(next, children[pid]...)
		}
	}
	return found, nil
}

func childrenOf() (map[int][]int, error) {
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, folder := range folders {
		fields, err := statFields(folder)
		if err != nil {
			continue // it has ended
		}
		pid, err1 := strconv.Atoi(filepath.Base(folder))
		parent, err2 := strconv.Atoi(fields[1])
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// statFields gives /proc/PID/stat from the state on, which is field 3 of proc(5).
func statFields(folder string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 20 {
		return nil, fmt.Errorf("%s/stat has %d fields", folder, len(fields))
	}
	return fields, nil
}

// ticksPerSecond is how the kernel tells processor time to programs: USER_HZ,
// which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

func readProcess(pid int) (process, error) {
	folder := filepath.Join("/proc", strconv.Itoa(pid))
	command, err := os.ReadFile(filepath.Join(folder, "cmdline"))
	if err != nil {
		return process{}, err
	}
	p := process{role: "supervisor"}
	switch words := strings.Split(string(command), "\x00"); {
	case words[0] == "tide-init":
		p.role = "init"
	case len(words) > 1 && (words[1] == "control" || words[1] == "edge"):
		p.role = words[1]
	}
	fields, err := statFields(folder)
	if err != nil {
		return p, err
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	if err := errors.Join(err1, err2); err != nil {
		return p, err
	}
	p.cpu = time.Duration(user+system) * time.Second / ticksPerSecond
	p.memory, err = proportional(folder)
	return p, err
}

// proportional gives the PSS of a process.
func proportional(folder string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(folder, "smaps_rollup"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kilobytes << 10, err
		}
	}
	return 0, fmt.Errorf("%s/smaps_rollup has no Pss", folder)
}
