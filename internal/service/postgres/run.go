package postgres

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

const (
	// shownLines is how many of a program's last lines an error has.
	shownLines = 10
	// keptOutput bounds what is kept of what a program says, in bytes.
	keptOutput = 16 << 10
	// pipeLimit is how long a program's own children may hold its output open.
	pipeLimit = 5 * time.Second
)

// program is one of PostgreSQL's programs, on its way.
type program struct {
	service.Process
	Input  io.Reader
	Output io.Writer
	// Dying ends it when this process dies. 0: SIGKILL.
	Dying syscall.Signal
}

// run carries the program out as the server's user, and gives what it said
// besides its output. It never outlives this process.
func run(ctx context.Context, s service.Server, p program) (said string, err error) {
	command, tail := command(ctx, s, p)
	err = runOnThread(command)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	default:
		err = failure(filepath.Base(p.Path), err, tail)
	}
	return tail.String(), err
}

func command(ctx context.Context, s service.Server, p program) (*exec.Cmd, *tail) {
	command, tail := s.Command(ctx, p.Process), &tail{}
	command.Stdin, command.Stdout, command.Stderr, command.WaitDelay = p.Input, p.Output, tail, pipeLimit
	command.SysProcAttr.Pdeathsig = cmp.Or(p.Dying, syscall.SIGKILL)
	if p.Stop != 0 {
		command.Cancel = func() error { return command.Process.Signal(p.Stop) }
	}
	return command, tail
}

// wrong is in a line that says why a program failed.
var wrong = regexp.MustCompile(`(?i)\b(error|fatal|panic): |terminated by signal`)

// failure says what became of a program, of kind Failed, and why: by its last line, or
// the last that tells of an error, for initdb says in the end only that it cleans up.
func failure(name string, err error, tail *tail) error {
	failed := springtide.Errorf(springtide.Failed, "%s: %w", name, err)
	failed.Lines = tail.lines()
	why := ""
	for _, line := range failed.Lines {
		if wrong.MatchString(line) || !wrong.MatchString(why) {
			why = line
		}
	}
	if why != "" {
		failed.Message += ": " + why
	}
	return failed
}

// runOnThread keeps the thread that started the command until it has ended:
// the command's death signal comes when that thread ends, not the process. The
// command is as nice as the thread of whoever calls, if that is one of his own.
func runOnThread(command *exec.Cmd) error {
	done := make(chan error)
	priority, unknown := unix.Getpriority(unix.PRIO_PROCESS, 0)
	go func() {
		runtime.LockOSThread()
		if unknown == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 20-priority)
		}
		done <- command.Run()
	}()
	return <-done
}

// toward are the arguments by which a client program that runs in the server's
// folder finds it.
func toward(s service.Server) []string {
	return []string{"--host=/proc/self/cwd/run", "--port=" + strconv.Itoa(int(s.Address.Port())), "--username=" + superuser}
}

// tail keeps the last of what is written to it.
type tail struct{ kept []byte }

// Write implements [io.Writer].
func (t *tail) Write(data []byte) (int, error) {
	t.kept = append(t.kept, data...)
	if over := len(t.kept) - keptOutput; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(data), nil
}

// String gives it.
func (t *tail) String() string { return string(bytes.ToValidUTF8(t.kept, []byte("\ufffd"))) }

func (t *tail) lines() []string {
	text := strings.TrimSpace(t.String())
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-shownLines):]
}
