package supervisor

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a process of the platform: one that this supervisor started, or one
// that it adopted.
type child struct {
	name string
	pid  int
	done chan struct{} // closed when it has ended
	// status is how it ended, once done; nil if an adopted one did, which is not
	// waited for.
	status  *syscall.WaitStatus
	started time.Time
}

func (c *child) over() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *child) signal(s syscall.Signal) {
	if !c.over() { // else its PID may be another's by now
		_ = syscall.Kill(c.pid, s)
	}
}

// stop sends a signal, and SIGKILL after the limit; it returns when the child
// has ended.
func (c *child) stop(s syscall.Signal, limit time.Duration) {
	c.signal(s)
	select {
	case <-c.done:
		return
	case <-time.After(limit):
	}
	c.signal(syscall.SIGKILL)
	<-c.done
}

// family starts processes and reaps every child, also those that were
// re-parented to this process because their parent died.
type family struct {
	mu       sync.Mutex
	children map[int]*child
	stopped  chan struct{}
	signals  chan os.Signal
}

// newFamily makes this process the one that orphaned descendants come to.
func newFamily() (*family, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the subreaper of the platform: %w", err)
	}
	f := &family{children: make(map[int]*child), stopped: make(chan struct{}), signals: make(chan os.Signal, 1)}
	signal.Notify(f.signals, syscall.SIGCHLD)
	go f.reap()
	return f, nil
}

// close ends the reaping.
func (f *family) close() {
	signal.Stop(f.signals)
	close(f.stopped)
}

func (f *family) reap() {
	for {
		for {
			// The lock is held so that a child that dies at once is known by the time
			// it is reaped.
			f.mu.Lock()
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if err == nil && pid > 0 {
				if c := f.children[pid]; c != nil {
					c.status = &status
					close(c.done)
					delete(f.children, pid)
				}
			}
			f.mu.Unlock()
			if err != syscall.EINTR && pid <= 0 {
				break
			}
		}
		select {
		case <-f.signals:
		case <-f.stopped:
			return
		}
	}
}

// start runs a program in a session of its own, so that a terminal's Ctrl-C
// reaches only the supervisor. The files become descriptors 3, 4, ….
func (f *family) start(name string, argv, env []string, output *os.File, files []*os.File) (*child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	process, err := os.StartProcess(argv[0], argv, &os.ProcAttr{
		Env:   env,
		Files: append([]*os.File{nil, output, output}, files...),
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, pid: process.Pid, done: make(chan struct{}), started: time.Now()}
	f.children[c.pid] = c
	if err := process.Release(); err != nil {
		return nil, err
	}
	return c, nil
}

// adopt watches a process that runs already: a child that an earlier image of
// this process started, or nobody's child here. One that is gone is over.
func adopt(name string, pid int) *child {
	c := &child{name: name, pid: pid, done: make(chan struct{}), started: time.Now()}
	handle, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		close(c.done)
		return c
	}
	go func() {
		defer unix.Close(handle)
		poll := []unix.PollFd{{Fd: int32(handle), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(poll, -1); err != unix.EINTR {
				break
			}
		}
		close(c.done)
	}()
	return c
}

// killOrphans ends every remaining child, whoever started it. Each that dies
// may bring new orphans here, so it looks until there is none.
func (f *family) killOrphans() error {
	for range 500 {
		children, err := childrenOf(os.Getpid())
		if err != nil || len(children) == 0 {
			return err
		}
		for _, pid := range children {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("some processes of the platform do not end, even by SIGKILL")
}

// childrenOf lists the processes whose parent is pid.
func childrenOf(parent int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var children []int
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// proc(5): "pid (comm) state ppid …", where comm may hold anything.
		after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		var state string
		var ppid int
		if _, err := fmt.Sscan(after, &state, &ppid); err != nil || ppid != parent || state == "Z" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			return nil, err
		}
		children = append(children, pid)
	}
	return children, nil
}

func running(pid int) bool { return syscall.Kill(pid, 0) != syscall.ESRCH }
