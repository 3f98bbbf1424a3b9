package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is how the kernel tells processor time to programs: USER_HZ,
// which is 100 on every architecture that Go runs on.
const ticksPerSecond = 100

// used is the processor time of a process and all that it has started, also of
// what has ended.
func used(root int) (total time.Duration) {
	children, of := map[int][]int{}, map[int]time.Duration{}
	folders, _ := filepath.Glob("/proc/[0-9]*") // the pattern is right
	for _, folder := range folders {
		data, err := os.ReadFile(filepath.Join(folder, "stat"))
		if err != nil {
			continue // it has ended
		}
		// From the state on, which is field 3 of proc(5).
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(folder))
		parent, _ := strconv.Atoi(fields[1])
		children[parent] = append(children[parent], pid)
		for _, field := range fields[11:15] { // its own, and of those of its children that it has waited for
			ticks, _ := strconv.Atoi(field)
			of[pid] += time.Duration(ticks) * time.Second / ticksPerSecond
		}
	}
	for next := []int{root}; len(next) > 0; next = next[1:] {
		total += of[next[0]]
		next = append(next, children[next[0]]...)
	}
	return total
}

// timed does work, and gives how long it took and what processor time the
// platform, with its servers, has used for it; commands that work runs itself say
// theirs.
func (b *bench) timed(work func() (time.Duration, error)) (took, processor time.Duration, err error) {
	before, began := used(b.Supervisor()), time.Now()
	own, err := work()
	return time.Since(began), used(b.Supervisor()) - before + own, err
}

// command runs a program as a user in a folder, and gives its processor time.
func command(ctx context.Context, user *syscall.Credential, folder string, words ...string) (time.Duration, error) {
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Dir = folder
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "TZ=UTC", "LC_ALL=C.UTF-8", "RESTIC_PASSWORD=bench", "HOME=" + folder}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	output, err := c.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", strings.Join(words, " "), err, output)
	}
	return c.ProcessState.UserTime() + c.ProcessState.SystemTime(), nil
}

// commands runs several, and gives the sum of their processor times.
func commands(ctx context.Context, user *syscall.Credential, folder string, all ...[]string) (total time.Duration, err error) {
	for _, words := range all {
		took, err := command(ctx, user, folder, words...)
		if err != nil {
			return total, err
		}
		total += took
	}
	return total, nil
}

// sizeOf is how much is in a folder, in bytes.
func sizeOf(folder string) (size int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
