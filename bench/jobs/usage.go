package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// ticksPerSecond is how the kernel tells processor time to programs: USER_HZ,
// which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// usage gives the processor time of a process, its children, and those that it
// had and that have ended.
func usage(pid int) (time.Duration, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	own := strconv.Itoa(pid)
	var ticks int
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended; its parent counts it
		}
		fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
		its := filepath.Base(filepath.Dir(file)) == own
		if !its && string(fields[1]) != own {
			continue
		}
		counted := fields[11:13] // utime, stime of proc(5)
		if its {
			counted = fields[11:15] // and those of children that were waited for
		}
		for _, field := range counted {
			n, err := strconv.Atoi(string(field))
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}
