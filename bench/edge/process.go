package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a program that was started for a measurement, with what it starts.
type process struct {
	command *exec.Cmd
	output  bytes.Buffer
	ended   chan struct{}
}

// start starts a program; core is the processor that it is bound to, if not
// negative.
func start(argv []string, core int, env ...string) (*process, error) {
	p := &process{ended: make(chan struct{})}
	if core >= 0 {
		argv = append([]string{"taskset", "-c", strconv.Itoa(core)}, argv...)
	}
	p.command = exec.Command(argv[0], argv[1:]...)
	p.command.Env = append(os.Environ(), env...)
	p.command.Stdout, p.command.Stderr = &p.output, &p.output
	p.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends it and all that it has started.
func (p *process) stop() {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(2 * time.Second):
	}
	_ = syscall.Kill(-p.command.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// await waits until check is content.
func (p *process) await(ctx context.Context, check func() error) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", &p.output)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// family is the process and all that descend from it.
func (p *process) family() []int {
	parents := map[int]int{}
	names, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range names {
		fields, err := statFields(name)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		parents[pid], _ = strconv.Atoi(fields[1])
	}
	root := p.command.Process.Pid
	var members []int
	for pid := range parents {
		for above := pid; above > 0; above = parents[above] {
			if above == root {
				members = append(members, pid)
				break
			}
		}
	}
	return members
}

// statFields gives what stands behind the name of a program in /proc/PID/stat.
func statFields(name string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	_, rest, found := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
	fields := strings.Fields(rest)
	if !found || len(fields) < 13 {
		return nil, errors.New("it has few fields")
	}
	return fields, nil
}

// tick is what /proc counts in, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// used is how much processor time they have used, user's and system's.
func used(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		fields, err := statFields("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			continue
		}
		for _, field := range fields[11:13] {
			ticks, _ := strconv.ParseInt(field, 10, 64)
			sum += time.Duration(ticks) * tick
		}
	}
	return sum
}

// memory is the proportional share of memory that they have, in bytes.
func memory(pids []int) (sum int64) {
	for _, pid := range pids {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if size, is := strings.CutPrefix(line, "Pss:"); is {
				kib, _ := strconv.ParseInt(strings.Fields(size)[0], 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}
