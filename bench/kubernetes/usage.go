package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what a process has had.
type usage struct {
	memory    float64 // its proportional share, in MiB
	processor time.Duration
}

// usageOf reads it from proc(5), where processor time is in hundredths of a second.
func usageOf(pid int) (u usage, err error) {
	folder := "/proc/" + strconv.Itoa(pid)
	stat, err := os.ReadFile(folder + "/stat")
	if err != nil {
		return u, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return u, fmt.Errorf("%s/stat has %d fields", folder, len(fields))
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	u.processor = time.Duration(user+system) * 10 * time.Millisecond
	rollup, err3 := os.ReadFile(folder + "/smaps_rollup")
	_, rest, _ := strings.Cut(string(rollup), "\nPss:")
	size, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kibibytes, err4 := strconv.Atoi(size)
	u.memory = float64(kibibytes) / 1024
	return u, errors.Join(err1, err2, err3, err4)
}
