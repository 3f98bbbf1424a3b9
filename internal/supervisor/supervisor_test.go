package supervisor

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/edge"
)

// The test's own binary is the platform's: run as "supervise", "control" or
// "edge" it is that process. The edge is the real one.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) < 2 || strings.HasPrefix(os.Args[1], "-"):
		os.Exit(m.Run())
	case os.Args[1] == "supervise":
		err = supervise(os.Args[2], os.Args[3])
	case os.Args[1] == "control":
		err = control(os.Args[3])
	case os.Args[1] == "edge":
		err = serveEdge(os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// supervise runs a supervisor until SIGTERM, or until the pipe that TIDE_OWNER
// names ends.
func supervise(data, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var keep []*os.File
	if text := os.Getenv("TIDE_OWNER"); text != "" {
		descriptor, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		owner := inheritedFile(descriptor, "owner")
		keep = append(keep, owner)
		go func() {
			_, _ = io.Copy(io.Discard, owner)
			stop()
		}()
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	return Run(ctx, Options{
		DataFolder: data, Addresses: []Address{{edge.HTTPS, address}}, Executable: executable, Keep: keep,
		Output: os.Stderr, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}, nil)
}

// control is a control plane that does nothing until SIGTERM, or fails at once
// if the data folder says so.
func control(data string) error {
	if err := begins(data, "control"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "control-fails")); err == nil {
		return fmt.Errorf("the control plane fails")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	lock, err := Lock(filepath.Join(data, "run", "control.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	<-ctx.Done()
	return nil
}

// begins writes down that a process of a part has begun.
func begins(data, part string) error {
	file, err := os.OpenFile(filepath.Join(data, "starts"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(part + "\n")
	return err
}

func serveEdge(data string) error {
	if err := begins(data, "edge"); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(data, "edge-fails")); err == nil {
		return fmt.Errorf("the edge fails")
	}
	listeners, err := edge.InheritedListeners(os.Getenv)
	if err != nil {
		return err
	}
	ready, err := edge.InheritedReady(os.Getenv)
	if err != nil {
		return err
	}
	// The control plane of these tests makes no table.
	return edge.Main(context.Background(), edge.Options{DataFolder: data, Listeners: listeners, Ready: ready, FirstTableLimit: 50 * time.Millisecond})
}

// platform is a supervisor in a process of its own.
type platform struct {
	t       *testing.T
	data    string
	address string
	command *exec.Cmd
	ended   chan struct{}
}

func newPlatform(t *testing.T) *platform {
	t.Helper()
	// At an address that nobody else has, of which the port stays free as well.
	listener, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.%d:0", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return &platform{t: t, data: t.TempDir(), address: listener.Addr().String()}
}

// start starts a supervisor; whatever is left of the platform ends with the test.
func (p *platform) start(owner ...*os.File) {
	p.t.Helper()
	p.command = exec.Command(os.Args[0], "supervise", p.data, p.address)
	p.command.Stderr = os.Stderr
	p.command.ExtraFiles = owner
	if len(owner) > 0 {
		p.command.Env = append(os.Environ(), "TIDE_OWNER=3")
	}
	if err := p.command.Start(); err != nil {
		p.t.Fatal(err)
	}
	command, ended := p.command, make(chan struct{})
	go func() { command.Wait(); close(ended) }()
	p.ended = ended
	p.t.Cleanup(func() {
		command.Process.Kill()
		<-ended
		eventually(p.t, "the end of all that was started", func() bool {
			left := p.processes()
			for _, pid := range left {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			return len(left) == 0
		})
	})
}

func (p *platform) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.command.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the supervisor's end.
func (p *platform) end() {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		p.t.Fatal("the supervisor does not end")
	}
}

// processes gives the PIDs of all that runs on the data folder, also of what has
// not got as far as taking a lock.
func (p *platform) processes() (pids []int) {
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range paths {
		arguments, _ := os.ReadFile(path) // a zombie has none
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil && bytes.Contains(arguments, []byte("\x00"+p.data+"\x00")) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// control gives the PID of the control plane; 0 if none runs. Between taking the lock
// and writing its PID into it a control plane has that of the one before it there.
func (p *platform) control() int {
	if pid := Holder(filepath.Join(p.data, "run", "control.lock")); alive(pid) {
		return pid
	}
	return 0
}

// edges gives the PIDs of the edges that take connections.
func (p *platform) edges() (pids []int) {
	paths, err := filepath.Glob(filepath.Join(p.data, "run", "edge-*.sock"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, path := range paths {
		text := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "edge-"), ".sock")
		if pid, err := strconv.Atoi(text); err == nil && alive(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// edge waits until one edge serves that is not the one before.
func (p *platform) edge(before int) (pid int) {
	p.t.Helper()
	eventually(p.t, "one new edge", func() bool {
		pids := p.edges()
		if len(pids) != 1 || pids[0] == before {
			return false
		}
		pid = pids[0]
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			return false
		}
		conn.Close()
		return true
	})
	return pid
}

// begun gives the parts whose processes have begun, in that order.
func (p *platform) begun() []string {
	text, _ := os.ReadFile(filepath.Join(p.data, "starts"))
	return strings.Fields(string(text))
}

// starts is how often a control plane has begun.
func (p *platform) starts() (times int) {
	for _, part := range p.begun() {
		if part == "control" {
			times++
		}
	}
	return times
}

func (p *platform) says(name string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.data, name), nil, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// alive reports whether a process runs: a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// accepted reports whether somebody has taken a connection from the kernel: until
// then its socket has no inode.
func accepted(t *testing.T, conn net.Conn) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	hexadecimal := func(address net.Addr) string {
		tcp := address.(*net.TCPAddr)
		return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(tcp.IP.To4()), tcp.Port)
	}
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == hexadecimal(conn.RemoteAddr()) && fields[2] == hexadecimal(conn.LocalAddr()) {
			return fields[9] != "0"
		}
	}
	return false
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func TestAnAdoptedEdgeIsReplacedByAnUpgradeAndTheSupervisorStillEnds(t *testing.T) {
	p := newPlatform(t)
	p.start()
	first := p.edge(0)
	eventually(t, "a control plane", func() bool { return p.control() != 0 })
	p.signal(syscall.SIGKILL)
	p.end()
	p.start()
	eventually(t, "the next control plane", func() bool { return p.starts() == 2 && p.control() != 0 })
	if adopted := p.edge(0); adopted != first {
		t.Fatalf("edge %d was not adopted: %d runs", first, adopted)
	}
	p.signal(syscall.SIGHUP)
	second := p.edge(first)
	p.signal(syscall.SIGTERM)
	p.end()
	for _, pid := range []int{first, second, p.control()} {
		if pid != 0 && alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}

func TestManyUpgradesAtOnceDoNotEndTheSupervisor(t *testing.T) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t)
	p.start(theirs)
	theirs.Close()
	first := p.edge(0)
	for range 100 {
		p.signal(syscall.SIGHUP)
		time.Sleep(2 * time.Millisecond) // spread over the start of the new image
	}
	p.edge(first)
	// Unlike a SIGTERM in the instant of an upgrade, the end of the owner's pipe is
	// known to whichever image is the last.
	ours.Close()
	p.end()
	if !p.command.ProcessState.Success() {
		t.Errorf("the supervisor ended with %s", p.command.ProcessState)
	}
	if left := p.processes(); len(left) > 0 {
		t.Errorf("processes %v are left", left)
	}
}

func TestAnEdgeThatDrainsIsKnownToTheNextSupervisor(t *testing.T) {
	p := newPlatform(t)
	p.start()
	first := p.edge(0)
	eventually(t, "a control plane", func() bool { return p.control() != 0 })
	conn, err := net.Dial("tcp", p.address) // keeps the edge from ending
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, "that the edge takes the connection", func() bool { return accepted(t, conn) })
	p.signal(syscall.SIGHUP)
	second := p.edge(first)
	// One that nobody had handed over, and that had not taken its lock yet, would live
	// beside the third.
	eventually(t, "the second control plane", func() bool { return p.starts() == 2 && p.control() != 0 })
	p.signal(syscall.SIGKILL)
	p.end()
	if !alive(first) {
		t.Fatal("there is nothing that drains")
	}
	p.start()
	eventually(t, "the next control plane", func() bool { return p.starts() == 3 && p.control() != 0 })
	if adopted := p.edge(first); adopted != second {
		t.Fatalf("edge %d was not adopted: %d runs", second, adopted)
	}
	p.signal(syscall.SIGTERM)
	p.end()
	if alive(first) || alive(second) {
		t.Error("an edge is left")
	}
}

func TestAnUpgradeWhoseEdgeDoesNotStartLeavesTheOneBefore(t *testing.T) {
	p := newPlatform(t)
	p.start()
	first := p.edge(0)
	eventually(t, "a control plane", func() bool { return p.control() != 0 })
	p.says("edge-fails")
	p.signal(syscall.SIGHUP)
	eventually(t, "a new control plane", func() bool { return p.starts() == 2 })
	time.Sleep(200 * time.Millisecond) // for what must not happen: that it ends
	if edges := p.edges(); len(edges) != 1 || edges[0] != first {
		t.Fatalf("edges %v serve, not %d", edges, first)
	}
	p.signal(syscall.SIGTERM)
	p.end()
}

func TestAPlatformWhoseEdgeDoesNotStartLeavesNothing(t *testing.T) {
	p := newPlatform(t)
	p.says("edge-fails")
	p.start()
	p.end()
	if p.command.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %s", p.command.ProcessState)
	}
	if pid := p.control(); pid != 0 {
		t.Errorf("control plane %d is left", pid)
	}
}

func TestAControlPlaneThatKeepsEndingDoesNotDelayTheEdge(t *testing.T) {
	p := newPlatform(t)
	p.says("control-fails")
	p.start()
	first := p.edge(0)
	// By then it is started again only every eight seconds.
	eventually(t, "a fifth start of the control plane", func() bool { return p.starts() >= 5 })
	// On a busy machine the start of an edge may take as long: of three one comes first.
	for try := 1; ; try++ {
		before := len(p.begun())
		if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		next := p.edge(first)
		if _, err := os.Stat(filepath.Join(p.data, "run", fmt.Sprintf("edge-%d.sock", first))); err == nil {
			t.Error("the edge that was killed is still told of")
		}
		since := p.begun()[before:]
		if since[0] == "edge" {
			break
		}
		if try == 3 {
			t.Fatalf("the edge was back after the control plane was started once more: %v", since)
		}
		first = next
	}
	p.signal(syscall.SIGTERM)
	p.end()
}

func TestTheOwnersPipeGoesOverToTheNextImage(t *testing.T) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t)
	p.start(theirs)
	theirs.Close()
	first := p.edge(0)
	eventually(t, "a control plane", func() bool { return p.control() != 0 })
	p.signal(syscall.SIGHUP)
	p.edge(first)
	eventually(t, "the next control plane", func() bool { return p.starts() == 2 })
	select {
	case <-p.ended:
		t.Fatal("it ended, although its owner lives")
	case <-time.After(200 * time.Millisecond):
	}
	ours.Close()
	p.end()
}

func TestFilesThatWhoeverStartedItLeftOpenStopAtTheSupervisor(t *testing.T) {
	theirs, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	left, err := os.Create(filepath.Join(t.TempDir(), "left-open"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlatform(t)
	p.start(theirs, left)
	theirs.Close()
	left.Close()
	pids := []int{p.edge(0)}
	eventually(t, "a control plane", func() bool { return p.control() != 0 })
	for _, pid := range append(pids, p.control()) {
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil || len(links) == 0 {
			t.Fatal(links, err)
		}
		for _, link := range links {
			if target, _ := os.Readlink(link); strings.HasSuffix(target, "left-open") {
				t.Errorf("process %d has it open", pid)
			}
		}
	}
	p.signal(syscall.SIGTERM)
	p.end()
}

func TestASecondEdgeThatAcceptsIsFoundByTheNextSupervisor(t *testing.T) {
	p := newPlatform(t)
	p.start()
	first := p.edge(0)
	p.signal(syscall.SIGKILL) // as it would be in the middle of an upgrade
	p.end()
	found, err := reclaim(t.Context(), filepath.Join(p.data, "run"))
	if err != nil || found.edge != first {
		t.Fatalf("found %+v, %v", found, err)
	}
	stray := exec.Command(os.Args[0], "edge", "--data", p.data)
	stray.Env = append(os.Environ(), "TIDE_LISTENERS=https=3")
	stray.ExtraFiles = []*os.File{found.listeners[0].File}
	stray.Stderr = os.Stderr
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	closeAll(found.listeners)
	gone := make(chan struct{})
	go func() { stray.Wait(); close(gone) }()
	eventually(t, "two edges", func() bool { return len(p.edges()) == 2 })
	p.start()
	p.edge(0) // only one is left to take connections
	p.signal(syscall.SIGTERM)
	p.end()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("the second edge is left")
	}
}
