package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/edge"
)

// Address is an address to listen on, for "https" or "http".
type Address struct {
	Name    string
	Address string // host:port
}

// Options configure a supervisor.
type Options struct {
	// DataFolder holds all state; it is created.
	DataFolder string
	// Addresses are the public ones, which the edge serves.
	Addresses []Address
	// Executable is the tide binary that the children run.
	Executable string
	// ControlArguments and EdgeArguments are put behind "control" and "edge".
	ControlArguments, EdgeArguments []string
	// Drain makes the control plane retire every instance; it returns when none
	// is left. It is called with a context that ends when a second signal comes.
	Drain func(ctx context.Context) error
	// Ready is called once the edge accepts and the control plane was started.
	Ready func()
	// Output takes what the children write to stdout and stderr.
	Output *os.File
	Logger *slog.Logger
}

// How long the parts may take.
const (
	edgeReadyLimit   = 10 * time.Second
	controlStopLimit = 10 * time.Second
	edgeStopLimit    = 8 * time.Second
)

// Supervisor is the parent of the platform's processes.
type Supervisor struct {
	options   Options
	lock      *os.File
	family    *family
	listeners []edge.Listener
	edge      *child
	leaving   []*child // edges that only drain
	control   *child
}

// Run supervises until ctx ends; then it ends everything and returns when
// nothing of the platform runs any more. A value on upgrade replaces the
// process by the binary on disk; Run returns only if that fails. A second
// request to end, by force, skips what is left of the drain.
func Run(ctx context.Context, options Options, upgrade, force <-chan os.Signal) error {
	s := &Supervisor{options: options}
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.lock.Close()
	defer s.family.close()
	if options.Ready != nil {
		options.Ready()
	}
	notify("READY=1")
	for {
		select {
		case <-ctx.Done():
			notify("STOPPING=1")
			return s.end(force)
		case <-upgrade:
			notify("RELOADING=1")
			if err := s.upgrade(); err != nil {
				s.options.Logger.Error("the upgrade failed; the old version goes on", "error", err)
			}
		case <-s.edge.done:
			s.restart(ctx, s.edge, s.startEdge)
		case <-s.control.done:
			s.restart(ctx, s.control, s.startControl)
		}
	}
}

// begin takes the lock and brings the platform up, on top of what an earlier
// supervisor left running.
func (s *Supervisor) begin(ctx context.Context) (err error) {
	run := filepath.Join(s.options.DataFolder, "run")
	if err := os.MkdirAll(run, 0o755); err != nil {
		return springtide.Errorf(springtide.Denied, "cannot use the data folder: %w", err).
			WithHint("choose another with --data, or make it yours")
	}
	before, err := inherited(os.Getenv)
	if err != nil {
		return err
	}
	if before.lock != nil {
		s.lock = before.lock
	} else if s.lock, err = Lock(filepath.Join(s.options.DataFolder, "lock")); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.lock.Close()
		}
	}()
	if s.family, err = newFamily(); err != nil {
		return err
	}
	edgePID := before.edge
	reclaimed := before.listeners
	if edgePID == 0 {
		if edgePID, reclaimed, err = reclaim(ctx, run); err != nil {
			return err
		}
	}
	if s.listeners, err = listen(ctx, s.options.Addresses, reclaimed); err != nil {
		return err
	}
	if err := s.replaceControl(before.control); err != nil {
		return err
	}
	return s.replaceEdge(before.edge, edgePID)
}

// replaceControl ends a control plane of an earlier supervisor and starts one.
func (s *Supervisor) replaceControl(inherited int) error {
	if inherited != 0 {
		s.family.inherit("control", inherited).stop(unix.SIGTERM, controlStopLimit)
	} else if pid := Holder(s.controlLock()); pid != 0 {
		old, err := s.family.adopt("control", pid)
		if err == nil {
			old.stop(unix.SIGTERM, controlStopLimit)
		}
	}
	return s.startControl()
}

// replaceEdge keeps an edge that was found, or starts a new one that accepts
// before the inherited one of an upgrade stops.
func (s *Supervisor) replaceEdge(inherited, found int) error {
	var old *child
	if inherited != 0 {
		old = s.family.inherit("edge", inherited)
	} else if found != 0 {
		adopted, err := s.family.adopt("edge", found)
		if err == nil {
			s.options.Logger.Info("adopted the edge that was running", "pid", found)
			s.edge = adopted
			return nil
		}
	}
	if err := s.startEdge(); err != nil {
		return err
	}
	if old != nil {
		old.signal(unix.SIGTERM)
		s.leaving = append(s.leaving, old)
	}
	return nil
}

func (s *Supervisor) controlLock() string {
	return filepath.Join(s.options.DataFolder, "run", "control.lock")
}

func (s *Supervisor) startControl() (err error) {
	argv := append([]string{s.options.Executable, "control", "--data", s.options.DataFolder}, s.options.ControlArguments...)
	s.control, err = s.family.start("control", argv, childEnvironment(), s.options.Output, nil)
	return err
}

// startEdge starts an edge on duplicates of the listening sockets and returns
// when it accepts.
func (s *Supervisor) startEdge() error {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ready.Close()
	var files []*os.File
	list := ""
	for i, listener := range s.listeners {
		files = append(files, listener.File)
		list += fmt.Sprintf(",%s=%d", listener.Name, 3+i)
	}
	env := append(childEnvironment(), "TIDE_LISTENERS="+list[1:], fmt.Sprintf("TIDE_READY=%d", 3+len(files)))
	argv := append([]string{s.options.Executable, "edge", "--data", s.options.DataFolder}, s.options.EdgeArguments...)
	started, err := s.family.start("edge", argv, env, s.options.Output, append(files, theirs))
	theirs.Close()
	if err != nil {
		return err
	}
	s.edge = started
	if err := ready.SetReadDeadline(time.Now().Add(edgeReadyLimit)); err != nil {
		return err
	}
	word := make([]byte, 16)
	if n, err := ready.Read(word); n == 0 {
		started.stop(unix.SIGKILL, 0)
		return fmt.Errorf("the edge did not become ready: %w", err)
	}
	return nil
}

// restart starts a child that died anew: at once, but no more than once a
// second if it does not live longer than that.
func (s *Supervisor) restart(ctx context.Context, died *child, start func() error) {
	s.options.Logger.Error("a process of the platform ended and is started again", "process", died.name, "pid", died.pid, "status", describe(died.status))
	if time.Since(died.started) < time.Second {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
	if err := start(); err != nil {
		s.options.Logger.Error("it could not be started", "process", died.name, "error", err)
	}
}

func describe(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "killed by " + status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// childEnvironment is this process's environment without what was meant for it
// alone.
func childEnvironment() []string {
	var kept []string
	for _, pair := range os.Environ() {
		if !ours(pair) {
			kept = append(kept, pair)
		}
	}
	return kept
}
