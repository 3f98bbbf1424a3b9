package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// running is an init that lives, started by this control plane or by one
// before it. It is held by a pidfd, so it cannot be mistaken for another.
type running struct {
	pid       int
	namespace bool   // the kernel ends everything with it
	name      string // what its processes bear in their environment
	group     *cgroup
	fd        *os.File
	// child says that it is this process's, and has not been reaped.
	child bool
	// code is what the init ended with, if it was a child of this process.
	code int
}

// open opens the pidfd; the process must be known to be the right one.
func (p *running) open() error {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.pid, err)
	}
	p.fd = os.NewFile(uintptr(fd), "pidfd")
	p.code = -1
	return nil
}

func (p *running) close() {
	if p.fd != nil {
		p.fd.Close()
	}
}

// wait returns nil when the init is dead; it costs nothing meanwhile. It may be
// called by one goroutine at a time.
func (p *running) wait(ctx context.Context) error {
	if err := p.fd.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = p.fd.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := p.fd.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool { return ended(int(fd)) })
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	}
	p.reap()
	return nil
}

func ended(fd int) bool {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(polled, 0)
	return err == nil && n == 1
}

// reap collects the init if it is this process's child. If not, that is its
// parent's business.
func (p *running) reap() {
	if !p.child {
		return
	}
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.pid, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && pid == p.pid {
			p.child = false
			if status.Exited() {
				p.code = status.ExitStatus()
			}
		}
		return
	}
}

func (p *running) signal(signal syscall.Signal) {
	// Not through Fd, which would take the descriptor away from the poller.
	if raw, err := p.fd.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), signal, nil, 0) })
	}
}

// kill ends the init and all that it started, and returns when they are dead.
func (p *running) kill() {
	if p.fd == nil {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
		_, _ = unix.Wait4(p.pid, nil, 0, nil)
	} else {
		p.signal(syscall.SIGKILL)
		_ = p.wait(context.Background())
	}
	p.sweep()
}

// sweep kills what outlived its init. In a PID namespace nothing does.
func (p *running) sweep() {
	if p.namespace {
		return
	}
	p.group.kill()
	untilEnded(func() bool { return killAll(processesOf(p.name)) })
}

// awaitBegun waits until an init has started its command: what an instance sees, its
// mounts for one, is not there before. One that is gone is not waited for, nor is any
// where the kernel does not tell of children.
func awaitBegun(ctx context.Context, pid int) error {
	for {
		// It is listed with the thread that started it.
		lists, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
		begun := len(lists) == 0
		for _, list := range lists {
			children, _ := os.ReadFile(list)
			begun = begun || len(children) > 0
		}
		if begun {
			return nil
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startTicks is when a process started, in clock ticks since the machine did:
// with the PID it names the process.
func startTicks(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// bootID names this run of the machine.
func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}
