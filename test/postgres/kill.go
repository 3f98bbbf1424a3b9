package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Kill ends the server and all its processes at once, as a power cut would, and
// returns when they are gone.
func (c *Cluster) Kill() error {
	pid := c.PID()
	if err := c.command.Process.Signal(syscall.SIGSTOP); err != nil { // it starts no more children
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	}
	children, err := childrenOf(pid)
	if err != nil {
		return err
	}
	for _, process := range append(children, pid) {
		if err := syscall.Kill(process, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	<-c.ended
	deadline := time.Now().Add(startLimit)
	for _, child := range children {
		for alive(child) {
			if time.Now().After(deadline) {
				return fmt.Errorf("process %d of the PostgreSQL server survives SIGKILL", child)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// childrenOf gives the children of a process.
func childrenOf(parent int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, file := range files {
		_, its, err := stat(file)
		if err != nil || its != parent {
			continue // it has ended, or is somebody else's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		children = append(children, pid)
	}
	return children, nil
}

// alive reports whether a process is there, and no zombie.
func alive(pid int) bool {
	state, _, err := stat(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && state != 'Z' && state != 'X'
}

// stat gives state and parent from a stat file of proc(5).
func stat(file string) (state byte, parent int, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, 0, err
	}
	fields := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, fmt.Errorf("%s has %d fields", file, len(fields))
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err
}
