package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files/embedded"
	"github.com/springtide/springtide/internal/supervisor"
)

// How long tide-files may take to serve and to end, and the longest pause before
// it is started again.
const (
	gatewayReadyLimit = 30 * time.Second
	gatewayStopLimit  = 5 * time.Second
	gatewayPause      = 10 * time.Second
)

// gateway has the program tide-files serve the shared folders, from when the
// first app has one. It outlives the control plane, and holds a lock by which
// the next one finds it:
//
//	unwanted ──▶ starting ──▶ serving ──▶ (ended) ──▶ starting …
//	    └──▶ adopted, if it is of this version and at these addresses ──▶ serving
type gateway struct {
	data    string
	host    netip.Addr    // where instances reach the machine
	key     func() []byte // what credentials are derived from
	changed func()        // is called when the addresses are others than before
	logger  *slog.Logger

	wanted chan struct{} // holds one value from when it is
	mu     sync.Mutex
	// s3 and public are where it serves; not valid until they are needed.
	s3, public netip.AddrPort
	serving    chan struct{} // closed while it serves
	ending     bool          // it is not started again
}

func newGateway(data string, host netip.Addr, key func() []byte, changed func(), logger *slog.Logger) *gateway {
	return &gateway{
		data: data, host: host, key: key, changed: changed, logger: logger,
		wanted: make(chan struct{}, 1), serving: make(chan struct{}),
	}
}

// addresses tells where S3 and public files are served, or will be: at the same
// ports each time, if they are not taken.
func (g *gateway) addresses() (s3, public netip.AddrPort, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.s3.IsValid() {
		err = g.choose()
	}
	return g.s3, g.public, err
}

func (g *gateway) choose() error {
	if _, args := g.running(); args != nil {
		s3, err1 := netip.ParseAddrPort(args[listenArgument])
		public, err2 := netip.ParseAddrPort(args[publicArgument])
		if err1 == nil && err2 == nil && s3.Addr() == g.host {
			g.s3, g.public = s3, public
			return nil
		}
	}
	s3, err1 := g.port("files-s3", g.host)
	// Only edges of this machine ask for public files, which anybody may have.
	public, err2 := g.port("files-public", netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	g.s3, g.public = s3, public
	return nil
}

func (g *gateway) port(name string, host netip.Addr) (netip.AddrPort, error) {
	listener, err := listenKept(context.Background(), g.data, name, host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer listener.Close()
	return netip.ParseAddrPort(listener.Addr().String())
}

// need has it serve, and returns when it does.
func (g *gateway) need(ctx context.Context) error {
	ring(g.wanted)
	g.mu.Lock()
	serving := g.serving
	g.mu.Unlock()
	select {
	case <-serving:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(gatewayReadyLimit):
		return springtide.Errorf(springtide.Unavailable, "the gateway of shared files does not start; the platform's log says why")
	}
}

// Run keeps it serving from when it is needed; it goes on when ctx ends.
func (g *gateway) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-g.wanted:
	}
	for pause := time.Duration(0); ; {
		began := time.Now()
		pid, err := g.begin()
		if err == nil {
			err = g.serve(ctx, pid)
		}
		g.mu.Lock()
		over := g.ending || ctx.Err() != nil
		g.mu.Unlock()
		if over {
			return nil
		}
		if time.Since(began) > gatewayPause {
			pause = 0
		}
		g.logger.Error("the gateway of shared files ended and is started again", "error", err, "in", pause)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(max(2*pause, 100*time.Millisecond), gatewayPause)
		if err := g.move(); err != nil {
			g.logger.Error("the gateway of shared files has no address", "error", err)
		}
	}
}

// serve says that the process serves, until it ends or ctx does.
func (g *gateway) serve(ctx context.Context, pid int) error {
	g.mu.Lock()
	close(g.serving)
	g.mu.Unlock()
	err := awaitEnd(ctx, pid)
	g.mu.Lock()
	g.serving = make(chan struct{})
	g.mu.Unlock()
	return err
}

// move takes other addresses if somebody else has them by now.
func (g *gateway) move() error {
	g.mu.Lock()
	s3, public := g.s3, g.public
	err := g.choose()
	moved := g.s3 != s3 || g.public != public
	g.mu.Unlock()
	if moved {
		g.changed()
	}
	return err
}

// begin adopts the process that serves, or starts one that does.
func (g *gateway) begin() (pid int, err error) {
	if _, _, err := g.addresses(); err != nil {
		return 0, err
	}
	program, err := embedded.Install(filepath.Join(g.data, "run"))
	if err != nil {
		return 0, err
	}
	command := g.command(program)
	if pid, args := g.running(); slices.Equal(args, command.Args) {
		return pid, nil
	} else if args != nil {
		if err := endProcess(pid); err != nil {
			return 0, err
		}
	}
	return g.start(command)
}

func (g *gateway) command(program string) *exec.Cmd {
	return exec.Command(program, "-folder", filepath.Join(g.data, "files"), "-listen", g.s3.String(), "-public", g.public.String())
}

func (g *gateway) lock() string { return filepath.Join(g.data, "run", "files.lock") }

// Where addresses are in the command line.
const (
	listenArgument = 4
	publicArgument = 6
)

// running finds the process that holds the lock, whatever its version, with its
// command line; nil if there is none.
func (g *gateway) running() (pid int, args []string) {
	if pid = supervisor.Holder(g.lock()); pid == 0 {
		return 0, nil
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	args = strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00")
	if err != nil || len(args) <= publicArgument || !strings.HasPrefix(args[0], filepath.Join(g.data, "run", "tide-files-")) {
		return 0, nil // it has died over its start, or is about to end
	}
	return pid, args
}

// start starts the process, which begins only once the lock names it: without
// the key it ends, should this process die meanwhile.
func (g *gateway) start(command *exec.Cmd) (int, error) {
	lock, err := supervisor.Lock(g.lock())
	if err != nil {
		return 0, err
	}
	defer lock.Close()
	key, giveKey, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer giveKey.Close()
	ready, sayReady, err := os.Pipe()
	if err != nil {
		key.Close()
		return 0, err
	}
	defer ready.Close()
	command.Env, command.Stderr = []string{}, os.Stderr
	command.ExtraFiles = []*os.File{key, sayReady, lock}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = command.Start()
	if err = errors.Join(err, key.Close(), sayReady.Close()); err != nil {
		return 0, err
	}
	go func() { _ = command.Wait() }() // it is reaped
	text := []byte(strconv.Itoa(command.Process.Pid) + "\n")
	_, err = lock.WriteAt(text, 0)
	if err = errors.Join(err, lock.Truncate(int64(len(text)))); err != nil {
		return 0, err
	}
	if _, err := giveKey.Write(g.key()); err != nil {
		return 0, err
	}
	giveKey.Close()
	if err := ready.SetReadDeadline(time.Now().Add(gatewayReadyLimit)); err != nil {
		return 0, err
	}
	if _, err := ready.Read(make([]byte, 16)); err != nil {
		return 0, errors.Join(fmt.Errorf("it does not become ready: %w", err), command.Process.Kill())
	}
	return command.Process.Pid, nil
}

// endProcess asks a process to end, and returns when it has.
func endProcess(pid int) error {
	ctx, cancel := context.WithTimeout(context.Background(), gatewayStopLimit)
	defer cancel()
	if err := syscall.Kill(pid, syscall.SIGTERM); errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if err := awaitEnd(ctx, pid); !errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return syscall.Kill(pid, syscall.SIGKILL)
}

// awaitEnd returns when a process, whoever's child it is, has ended or ctx has.
func awaitEnd(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	} else if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	defer file.Close()
	defer context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Unix(1, 0)) })()
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	err = raw.Read(func(fd uintptr) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n == 1
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// end ends it for good, when nobody uses it any more.
func (g *gateway) end() error {
	g.mu.Lock()
	g.ending = true
	g.mu.Unlock()
	if pid, args := g.running(); args != nil {
		return endProcess(pid)
	}
	return nil
}
