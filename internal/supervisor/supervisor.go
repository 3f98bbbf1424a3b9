package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
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
	// NoHTTP3 says that HTTP/3 is not to be served beside HTTPS.
	NoHTTP3 bool
	// Executable is the tide binary that the children run.
	Executable string
	// ControlArguments and EdgeArguments are put behind "control" and "edge".
	ControlArguments, EdgeArguments []string
	// Drain makes the control plane retire every instance; it returns when none
	// is left. It is called with a context that ends when a second signal comes.
	Drain func(ctx context.Context) error
	// Ready is called once the edge accepts and the control plane was started.
	Ready func()
	// Keep are files that the image after an upgrade finds at the same descriptors.
	Keep []*os.File
	// Output takes what the children write to stdout and stderr.
	Output *os.File
	Logger *slog.Logger
}

// How long the parts may take.
const (
	edgeReadyLimit   = 15 * time.Second // of which it waits 10 for its first table
	controlStopLimit = 10 * time.Second
	edgeStopLimit    = 8 * time.Second
)

// The longest pauses before a part that keeps ending is started again. Without
// an edge there is no traffic; without a control plane there is.
const (
	edgePause    = time.Second
	controlPause = 10 * time.Second
)

// Supervisor is the parent of the platform's processes.
type Supervisor struct {
	options   Options
	hangup    chan os.Signal
	lock      *os.File
	family    *family
	listeners []edge.Listener
	edge      part
	leaving   []*child // edges that only drain
	control   part
}

// Run supervises until ctx ends; then it ends everything and returns when
// nothing of the platform runs any more. SIGHUP replaces the process by the
// binary on disk; Run goes on if that fails. A second request to end, by force,
// skips what is left of the drain.
func Run(ctx context.Context, options Options, force <-chan os.Signal) error {
	s := &Supervisor{options: options, hangup: make(chan os.Signal, 1)}
	s.edge = part{name: "edge", start: s.startEdge, longest: edgePause, logger: options.Logger}
	s.control = part{name: "control", start: s.startControl, longest: controlPause, logger: options.Logger}
	signal.Notify(s.hangup, syscall.SIGHUP)
	defer signal.Stop(s.hangup)
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
		case <-s.hangup:
			notify("RELOADING=1")
			if err := s.upgrade(ctx); err != nil {
				options.Logger.Error("the upgrade failed; the old version goes on", "error", err)
			}
			notify("READY=1")
		case <-s.edge.ended():
			s.forgetEdge(s.edge.pid)
			s.edge.schedule()
		case <-s.edge.due:
			s.edge.again()
		case <-s.control.ended():
			s.control.schedule()
		case <-s.control.due:
			s.control.again()
		}
	}
}

// begin takes the lock and brings the platform up, on top of what an earlier
// supervisor left running. If it fails it leaves nothing that it started.
func (s *Supervisor) begin(ctx context.Context) (err error) {
	run := filepath.Join(s.options.DataFolder, "run")
	if err := makeFolders(s.options.DataFolder, run); err != nil {
		return springtide.Errorf(springtide.Denied, "cannot use the data folder: %w", err).
			WithHint("choose another with --data, or make it yours")
	}
	before, err := inherited(os.Getenv)
	if err != nil {
		return err
	}
	// What whoever started us has left open is not for the platform's processes,
	// which may outlive them. A kernel that is too old to be told keeps it open.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	if before.lock != nil {
		s.lock = before.lock
	} else if s.lock, err = Lock(filepath.Join(s.options.DataFolder, "lock")); err != nil {
		return err
	}
	if s.family, err = newFamily(); err != nil {
		s.lock.Close()
		return err
	}
	defer func() {
		if err != nil {
			s.abandon()
		}
	}()
	upgraded := before.edge != 0
	if !upgraded {
		if before, err = reclaim(ctx, run); err != nil {
			return err
		}
	}
	var same bool
	held, others := apart(before.listeners)
	if s.listeners, same, err = listen(ctx, s.options.Addresses, others); err != nil {
		closeAll(held)
		return err
	}
	same = s.listenQUIC(held) && same
	for _, pid := range before.leaving {
		s.dismiss(adopt("edge", pid))
	}
	if err := s.replaceControl(before.control); err != nil {
		return err
	}
	return s.replaceEdge(before.edge, same && !upgraded)
}

// makeFolders makes the data folder and one in it. The users that apps run as
// must be able to pass through; where there are none, nobody must.
func makeFolders(data, run string) error {
	mode := os.FileMode(0o755)
	if os.Geteuid() != 0 {
		mode = 0o700
	}
	return errors.Join(os.MkdirAll(data, mode), os.MkdirAll(run, mode))
}

// abandon undoes what begin did before it failed.
func (s *Supervisor) abandon() {
	if s.control.child != nil {
		s.control.stop(unix.SIGTERM, controlStopLimit)
		if err := s.family.killOrphans(); err != nil {
			s.options.Logger.Error("not everything that was started has ended", "error", err)
		}
	}
	closeAll(s.listeners)
	s.family.close()
	s.lock.Close()
}

// replaceControl ends the control plane of an earlier supervisor, if that handed
// one over, and starts one.
func (s *Supervisor) replaceControl(pid int) (err error) {
	if pid != 0 {
		adopt("control", pid).stop(unix.SIGTERM, controlStopLimit)
	}
	s.control.child, err = s.startControl()
	return err
}

// replaceEdge keeps the edge that was found (0: none), or starts one that
// accepts before the one that was found stops. Should it not start, the one
// that was found goes on.
func (s *Supervisor) replaceEdge(found int, keep bool) error {
	if found == 0 {
		started, err := s.startEdge()
		s.edge.child = started
		return err
	}
	old := adopt("edge", found)
	if keep && !old.over() {
		s.options.Logger.Info("adopted the edge that was running", "pid", found)
		s.edge.child = old
		return nil
	}
	started, err := s.startEdge()
	if err != nil {
		s.options.Logger.Error("a new edge could not be started; the one before goes on", "error", err)
		s.edge.child = old
		return nil
	}
	s.edge.child = started
	s.dismiss(old)
	return nil
}

// dismiss lets an edge drain.
func (s *Supervisor) dismiss(old *child) {
	old.signal(unix.SIGTERM)
	s.leaving = append(s.leaving, old)
}

// startControl starts the control plane, in place of one that nobody handed over:
// its supervisor was killed, maybe before it had even taken its lock.
func (s *Supervisor) startControl() (*child, error) {
	if pid := Holder(filepath.Join(s.options.DataFolder, "run", "control.lock")); pid != 0 {
		adopt("control", pid).stop(unix.SIGTERM, controlStopLimit)
	}
	argv := append([]string{s.options.Executable, "control", "--data", s.options.DataFolder}, s.options.ControlArguments...)
	return s.family.start("control", argv, childEnvironment(), s.options.Output, nil)
}

// startEdge starts an edge on duplicates of the listening sockets and returns
// when it accepts.
func (s *Supervisor) startEdge() (*child, error) {
	ready, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	var files []*os.File
	var names []string
	for i, listener := range s.listeners {
		files = append(files, listener.File)
		names = append(names, fmt.Sprintf("%s=%d", listener.Name, 3+i))
	}
	env := append(childEnvironment(), "TIDE_LISTENERS="+strings.Join(names, ","), fmt.Sprintf("TIDE_READY=%d", 3+len(files)))
	argv := append([]string{s.options.Executable, "edge", "--data", s.options.DataFolder}, s.options.EdgeArguments...)
	started, err := s.family.start("edge", argv, env, s.options.Output, append(files, theirs))
	theirs.Close()
	if err != nil {
		return nil, err
	}
	word := make([]byte, 16)
	err = ready.SetReadDeadline(time.Now().Add(edgeReadyLimit))
	if err == nil {
		_, err = ready.Read(word)
	}
	if err != nil {
		started.stop(unix.SIGKILL, 0)
		return nil, fmt.Errorf("the edge did not become ready (%s): %w", started.describe(), err)
	}
	return started, nil
}

// forgetEdge removes what an edge that has ended is found by: one that was killed has
// left it behind, and its number may soon be another process's.
func (s *Supervisor) forgetEdge(pid int) {
	_ = os.Remove(filepath.Join(s.options.DataFolder, "run", fmt.Sprintf("edge-%d.sock", pid))) // it removes its own
}

// childEnvironment is this process's environment without what was meant for it
// alone.
func childEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), ours)
}
