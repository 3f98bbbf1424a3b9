package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// stopLimit is how long a server may take to end in good order, quickLimit how
	// long when it was asked to be quick, before it is killed.
	stopLimit  = 30 * time.Second
	quickLimit = 10 * time.Second
)

// child is a server's process, held by a pidfd, so that it cannot be mistaken
// for another: one that this manager has started, or one that it adopted.
type child struct {
	pid   int
	ticks uint64
	fd    *os.File
	ours  bool
	ended chan struct{} // closed when it has ended
	// reason says how it ended, once it has.
	reason string
}

// launch starts the process of a server, which does not begin before the
// function that it gives is called: it ends by itself if this process dies
// first. So there is never a server that no record names.
func launch(server Server, process Process, ended func()) (*child, func() error, error) {
	output, err := openLog(server.Folder)
	if err != nil {
		return nil, nil, err
	}
	defer output.Close()
	gate, open, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer gate.Close()
	command := server.Command(context.Background(), Process{
		Path: "/bin/sh", Env: process.Env,
		Args: append([]string{"-c", `umask 077; read go <&3 && exec 3<&- && exec "$@"`, "sh", process.Path}, process.Args...),
	})
	command.Stdout, command.Stderr, command.ExtraFiles = output, output, []*os.File{gate}
	command.SysProcAttr.Setsid = true
	if err := command.Start(); err != nil {
		open.Close()
		return nil, nil, err
	}
	c := &child{pid: command.Process.Pid, ours: true}
	if err := c.watch(ended); err != nil {
		open.Close()
		return nil, nil, errors.Join(err, command.Wait())
	}
	begin := func() error {
		_, err := open.WriteString("\n")
		return errors.Join(err, open.Close())
	}
	return c, begin, command.Process.Release()
}

// adopt finds the process of a server that was started earlier; nil if it has
// ended.
func adopt(one member, ended func()) *child {
	if one.PID == 0 || one.Boot != bootID() {
		return nil
	}
	c := &child{pid: one.PID}
	if c.watch(ended) != nil {
		return nil
	}
	if c.ticks != one.Ticks { // The PID is another's by now.
		c.forget()
		return nil
	}
	return c
}

// watch opens the pidfd, and calls ended when the process has ended.
func (c *child) watch(ended func()) error {
	fd, err := unix.PidfdOpen(c.pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("open process %d: %w", c.pid, err)
	}
	c.fd, c.ended = os.NewFile(uintptr(fd), "pidfd"), make(chan struct{})
	c.ticks, err = startTicks(c.pid)
	raw, err2 := c.fd.SyscallConn()
	if err := errors.Join(err, err2); err != nil {
		c.fd.Close()
		return err
	}
	go func() {
		err := raw.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return err == nil && n == 1
		})
		if err != nil {
			return // It was forgotten.
		}
		c.reason = c.reap()
		close(c.ended)
		ended()
	}()
	return nil
}

// reap says how it ended. What is not our child is its parent's to collect.
func (c *child) reap() string {
	var status unix.WaitStatus
	for c.ours {
		pid, err := unix.Wait4(c.pid, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid != c.pid:
			return "it ended"
		case status.Signaled():
			return "it was ended by " + unix.SignalName(status.Signal())
		}
		return fmt.Sprintf("it ended with status %d", status.ExitStatus())
	}
	return "it ended"
}

func (c *child) over() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// forget lets go of the process, which goes on.
func (c *child) forget() { c.fd.Close() }

func (c *child) signal(signal syscall.Signal) {
	// Not through Fd, which would take the descriptor away from the poller.
	if raw, err := c.fd.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), signal, nil, 0) })
	}
}

// stop ends the process in good order, or as fast as it can, and returns when it
// has ended.
func (c *child) stop(process Process) {
	if process.Stop == 0 {
		process.Stop = syscall.SIGTERM
	}
	c.signal(process.Stop)
	if c.within(stopLimit) {
		return
	}
	if process.Quick != 0 {
		c.signal(process.Quick)
		if c.within(quickLimit) {
			return
		}
	}
	c.kill()
}

// kill returns when the process has ended.
func (c *child) kill() {
	c.signal(syscall.SIGKILL)
	<-c.ended
}

func (c *child) within(limit time.Duration) bool {
	select {
	case <-c.ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// startTicks is when a process started, in clock ticks since the machine did:
// with the PID it names the process.
func startTicks(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return parseTicks(string(data))
}

// parseTicks reads the start from "pid (name) state parent …", where the name
// may hold anything.
func parseTicks(stat string) (uint64, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("the state of a process is too short")
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// bootID names this run of the machine.
func bootID() string {
	data, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data))
}

func itoa(number int) string { return strconv.Itoa(number) }
