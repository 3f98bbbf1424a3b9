package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

// lockLost is the exit code where the lock was lost: EX_TEMPFAIL.
const lockLost = 75

// releaseWithin is how long giving the lock back may take; it ends by itself.
const releaseWithin = 5 * time.Second

// lease is a lock that this process has, or asks for.
type lease struct {
	client      *client.Client
	environment springtide.EnvironmentID
	name, owner string
	ttl         time.Duration
	fence       springtide.Fence
	// kept is when the last request was sent that got or renewed it.
	kept time.Duration
}

// sinceBoot is a clock that nobody sets and that goes on while the machine sleeps.
func sinceBoot() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic(err) // every Linux has it
	}
	return time.Duration(now.Nano())
}

// take gets the lock, fresh: of one that it waited for it cannot know since when
// it has it, and renews it.
func (l *lease) take(ctx context.Context, wait time.Duration) error {
	l.kept = sinceBoot()
	lock, err := l.client.TakeLock(ctx, l.environment, l.name, l.owner, l.ttl, wait)
	if err != nil {
		return err
	}
	l.fence = lock.Fence
	if sinceBoot()-l.kept < l.ttl/6 {
		return nil
	}
	l.kept = sinceBoot()
	_, err = l.client.RenewLock(ctx, l.environment, l.name, l.fence, l.ttl)
	return err
}

func (l *lease) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseWithin)
	defer cancel()
	return l.client.ReleaseLock(ctx, l.environment, l.name, l.fence)
}

// renewal is the answer to a request to renew.
type renewal struct {
	sent time.Duration
	err  error
}

// renew asks in the background; the answer comes to the channel.
func (l *lease) renew(ctx context.Context, answers chan<- renewal) {
	sent := sinceBoot()
	ctx, cancel := context.WithTimeout(ctx, l.ttl/3)
	go func() {
		defer cancel()
		_, err := l.client.RenewLock(ctx, l.environment, l.name, l.fence, l.ttl)
		answers <- renewal{sent, err}
	}()
}

// runLocked runs a command as long as it has the lock.
func (s *session) runLocked(ctx context.Context, l lease, wait time.Duration, command []string) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := l.take(ctx, wait); err != nil {
		return err
	}
	defer func() {
		if err := l.release(ctx); err != nil {
			s.tell("the lock %s could not be given back (%v); it is free in at most %v", l.name, err, l.ttl)
		}
	}()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	guarded, err := s.startGuarded(command, "LOCK_NAME="+l.name, "LOCK_FENCE="+strconv.FormatInt(int64(l.fence), 10))
	if err != nil {
		return err
	}
	if lost := guarded.guard(context.WithoutCancel(ctx), &l, signals); lost != nil {
		s.printError(lost)
		return exitError{lockLost}
	}
	if code := guarded.exitCode(); code != 0 {
		return exitError{code}
	}
	return nil
}

// guarded is a command in a process group of its own.
type guarded struct {
	command *exec.Cmd
	ended   chan struct{}
}

// startGuarded starts a command. On a terminal its group is the one that may read.
func (s *session) startGuarded(arguments []string, variables ...string) (*guarded, error) {
	command := exec.Command(arguments[0], arguments[2:]...)
	command.Args[0] = arguments[1]
	command.Env = append(os.Environ(), variables...)
	command.Stdin, command.Stdout, command.Stderr = s.stdin, s.stdout, s.stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	terminal, onTerminal := s.stdin.(*os.File)
	if onTerminal = onTerminal && isTerminal(terminal); onTerminal {
		command.SysProcAttr.Foreground, command.SysProcAttr.Ctty = true, int(terminal.Fd())
	}
	g := &guarded{command: command, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is about the thread that started it
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err != nil {
			return
		}
		_ = command.Wait() // how it ended is in ProcessState
		_ = g.signal(syscall.SIGKILL)
		if onTerminal {
			signal.Ignore(syscall.SIGTTOU) // which asking from the background raises
			_ = unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPGRP, unix.Getpgrp())
		}
		close(g.ended)
	}()
	if err := <-started; err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s cannot be run: %w", arguments[1], err)
	}
	return g, nil
}

func (g *guarded) signal(sig syscall.Signal) error { return syscall.Kill(-g.command.Process.Pid, sig) }

// exitCode is as a shell tells it.
func (g *guarded) exitCode() int {
	if status, ok := g.command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return g.command.ProcessState.ExitCode()
}

// guard returns when the command has ended, and nothing of its group is left. It
// keeps the lease meanwhile; if that is lost it ends the command before anybody
// else can have the lock, and says why.
func (g *guarded) guard(ctx context.Context, l *lease, signals <-chan os.Signal) *springtide.Error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan renewal, 1)
	tick := time.NewTicker(min(l.ttl/30, time.Second))
	defer tick.Stop()
	due, asking := l.kept+l.ttl/3, false
	for {
		select {
		case <-g.ended:
			return nil
		case received := <-signals:
			if sig, ok := received.(syscall.Signal); ok {
				_ = g.signal(sig) // it may have ended
			}
		case answer := <-answers:
			asking, due = false, sinceBoot()+l.ttl/20
			if answer.err == nil {
				l.kept, due = answer.sent, answer.sent+l.ttl/3
			} else if kind := springtide.KindOf(answer.err); kind != springtide.Unavailable && kind != springtide.Internal {
				return g.end(l, springtide.Errorf(springtide.Conflict, "the lock %s was lost: %w", l.name, answer.err))
			}
		case <-tick.C:
			now := sinceBoot()
			if now-l.kept > l.ttl*2/3 {
				return g.end(l, springtide.Errorf(springtide.Conflict, "the lock %s is lost: it could not be renewed for %v", l.name, (now-l.kept).Round(100*time.Millisecond)).
					WithHint("the platform did not answer; the command was ended before the lock could be another's"))
			}
			if !asking && now >= due {
				asking = true
				l.renew(ctx, answers)
			}
		}
	}
}

// end ends the command: asked first, and killed when five sixths of the lease
// are over, or after a sixth of it.
func (g *guarded) end(l *lease, why *springtide.Error) *springtide.Error {
	_ = g.signal(syscall.SIGTERM)
	patience := time.NewTimer(min(l.ttl/6, max(0, l.kept+l.ttl*5/6-sinceBoot())))
	defer patience.Stop()
	select {
	case <-g.ended:
	case <-patience.C:
		if err := g.signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			why.Lines = append(why.Lines, "killing the command: "+err.Error())
		}
		<-g.ended
	}
	return why
}
