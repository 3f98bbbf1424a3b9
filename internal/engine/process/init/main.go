// Command tide-init is the first process of an instance: it starts the
// instance's command, forwards signals to it, reaps what is orphaned, writes
// its output to bounded files, and leaves the status of its end. It takes its
// order from a pipe (package order), and starts nothing if the pipe ends early.
// It outlives the process that started it.
//
// It is the first process of a run as well, inside of an instance: then output
// goes where its own does, and it ends everything once nobody watches over it.
package main

import (
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/engine/process/order"
	"github.com/springtide/springtide/internal/redact"
)

// flushLimit is how long the last output may take to reach the disk.
const flushLimit = 2 * time.Second

func main() {
	// Some of what is asked of the kernel here is per thread, and handed down to
	// the command from the thread that starts it.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGQUIT)
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for fd := order.PipeFD; fd <= order.ProgramFD; fd++ {
		syscall.CloseOnExec(fd)
	}

	pipe := os.NewFile(order.PipeFD, "order")
	data, err := io.ReadAll(pipe)
	pipe.Close()
	if err != nil {
		os.Exit(1)
	}
	asked, err := order.Decode(data)
	if err != nil {
		// Whoever gave the order died over it: say that nothing was started.
		writeStatus(order.Status{Failure: err.Error()}, true)
		os.Exit(1)
	}

	status := run(asked, signals, children)
	writeStatus(status, !asked.Streams)
	if status.Signal != 0 {
		os.Exit(128 + status.Signal)
	}
	os.Exit(status.Code)
}

// run starts the command and returns when it and all its descendants are gone.
func run(asked order.Order, signals, children <-chan os.Signal) order.Status {
	failed := func(step string, err error) order.Status {
		return order.Status{Attempt: asked.Attempt, Code: 126, Failure: step + ": " + err.Error()}
	}
	if err := becomeReaper(); err != nil {
		return failed("become the reaper", err)
	}
	// Groups are opened before the mounts may hide them.
	groups, err := openGroups(asked)
	if err != nil {
		return failed("open the control group", err)
	}
	if asked.Hostname != "" {
		if err := syscall.Sethostname([]byte(asked.Hostname)); err != nil {
			return failed("set the host name", err)
		}
	}
	if asked.Mounts {
		if err := arrangeMounts(asked); err != nil {
			return failed("arrange the mounts", err)
		}
	}
	if len(asked.Credentials) > 0 {
		if !asked.Mounts {
			defer os.RemoveAll(asked.CredentialsFolder)
		}
		if err := giveCredentials(asked); err != nil {
			return failed("give the credentials", err)
		}
	}
	abandoned, err := watch(asked.Until)
	if err != nil {
		return failed("watch over the run", err)
	}
	var log *output
	if !asked.Streams {
		log = newOutput(order.LogFD, asked.LogName, asked.LogSize, redact.New(asked.Hide...))
	}
	pid, err := start(asked, groups, log)
	asked.Env, asked.Credentials, asked.Hide = nil, nil, nil
	if err != nil {
		return failed("start the command", err)
	}
	status := supervise(asked, pid, signals, children, abandoned)
	if log != nil {
		log.finish(flushLimit)
	}
	return status
}

// supervise forwards signals and waits for the end.
func supervise(asked order.Order, pid int, signals, children <-chan os.Signal, abandoned <-chan struct{}) order.Status {
	status := order.Status{Attempt: asked.Attempt}
	ended, stopping := false, false
	var timeout, kill <-chan time.Time
	if asked.Timeout > 0 {
		timeout = time.After(asked.Timeout)
	}
	for {
		select {
		case received := <-signals:
			number := received.(syscall.Signal)
			if number == syscall.SIGQUIT {
				// The engine's patience is over.
				finish(pid, ended, &status)
				return status
			}
			if number == syscall.SIGTERM || number == syscall.SIGINT {
				stopping = true
			}
			_ = syscall.Kill(-pid, number)
		case <-timeout:
			status.TimedOut, stopping = true, true
			_ = syscall.Kill(-pid, syscall.SIGTERM)
			kill = time.After(asked.Grace)
		case <-abandoned:
			finish(pid, ended, &status)
			return status
		case <-kill:
			finish(pid, ended, &status)
			return status
		case <-children:
			if over, _ := reap(pid, &status); over {
				ended = true
			}
		}
		// A shell in front of the command dies of SIGTERM before the command has
		// come to its end: then the rest of its process group is waited for.
		if ended && (!stopping || syscall.Kill(-pid, 0) == syscall.ESRCH) {
			finish(pid, ended, &status)
			return status
		}
	}
}

// reap collects what has ended and reports whether the command was among it,
// and whether no child is left.
func reap(pid int, status *order.Status) (ended, alone bool) {
	for {
		var wait syscall.WaitStatus
		got, err := syscall.Wait4(-1, &wait, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || got <= 0 {
			return ended, err == syscall.ECHILD
		}
		if got == pid {
			record(wait, status)
			ended = true
		}
	}
}

// finish kills whatever is left and reaps it.
func finish(pid int, ended bool, status *order.Status) {
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	for {
		if ended {
			pid = 0 // Another may have it by now.
		}
		over, alone := reap(pid, status)
		if alone {
			return // As mostly, and nothing had to be looked for.
		}
		ended = ended || over
		killRest()
		// Until one of them has ended.
		var wait syscall.WaitStatus
		if got, err := syscall.Wait4(-1, &wait, 0, nil); err == nil && got == pid && !ended {
			record(wait, status)
			ended = true
		}
	}
}

func record(wait syscall.WaitStatus, status *order.Status) {
	if wait.Signaled() {
		status.Signal = int(wait.Signal())
	} else {
		status.Code = wait.ExitStatus()
	}
}

// writeStatus leaves the status in the instance's folder: a temporary file,
// sync if it is to last, rename, sync of the folder.
func writeStatus(status order.Status, last bool) {
	const temporary = order.StatusFile + ".new"
	fd, err := syscall.Openat(order.FolderFD, temporary, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return
	}
	data := status.Encode()
	n, err := syscall.Write(fd, data)
	if err == nil && n == len(data) && (!last || syscall.Fsync(fd) == nil) {
		_ = syscall.Renameat(order.FolderFD, temporary, order.FolderFD, order.StatusFile)
		if last {
			_ = syscall.Fsync(order.FolderFD)
		}
	}
	syscall.Close(fd)
}
