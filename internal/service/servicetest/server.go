package servicetest

import (
	"context"
	"crypto/rand"
	"errors"
	random "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// limit is how long anything that a server does may take.
const limit = time.Minute

// Server is a server under test, and its process while it runs.
type Server struct {
	service.Server
	// Output is the file that it writes to.
	Output string

	t       testing.TB
	driver  service.Driver
	command *exec.Cmd
	ended   chan struct{}
}

// Folder makes a folder of a short path that other users may pass. It is removed
// when the test is over.
func Folder(t testing.TB) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "tide")
	if err == nil {
		err = os.Chmod(folder, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	return folder
}

// New makes what a driver is told of a server: a folder, a port, logins. There is
// no data yet. Its process ends with the test.
func New(t testing.TB, driver service.Driver, spec springtide.Service) *Server {
	t.Helper()
	versions := driver.Versions()
	if len(versions) == 0 {
		t.Fatalf("the server is not installed: %s", driver.Hint(""))
	}
	s := &Server{t: t, driver: driver, Server: service.Server{
		ID:   springtide.ServiceID{Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production}, Name: "db"},
		Spec: spec, Version: versions[0], Folder: filepath.Join(Folder(t), "1"), Address: address(t), Role: service.RolePrimary,
		Logins: service.Logins{
			Database: "quiz", Current: service.Login{Name: "quiz_1", Password: rand.Text()},
			Replication: service.Login{Name: "replication", Password: rand.Text()},
		},
		User: service.UserOf(spec.Kind),
	}}
	if err := s.MakeFolders(); err != nil {
		t.Fatal(err)
	}
	s.Output = filepath.Join(s.Folder, "log", "server.log")
	t.Cleanup(func() {
		s.end()
		if t.Failed() {
			output, _ := os.ReadFile(s.Output)
			t.Logf("output of the %s in %s:\n%s", s.Role, s.Folder, output[max(0, len(output)-8<<10):])
		}
	})
	return s
}

// Replica makes what a driver is told of a replica of the server.
func (s *Server) Replica() *Server {
	s.t.Helper()
	replica := New(s.t, s.driver, s.Spec)
	replica.Logins, replica.Role = s.Logins, service.RoleReplica
	replica.Primary, replica.PrimaryFolder = s.Address, s.Folder
	return replica
}

// Create makes the data of a primary.
func (s *Server) Create() {
	s.t.Helper()
	s.do("create", func(ctx context.Context) error { return s.driver.Create(ctx, s.Server) })
}

// Settle has the running primary be as wanted.
func (s *Server) Settle() {
	s.t.Helper()
	s.do("settle", func(ctx context.Context) error { return s.driver.Settle(ctx, s.Server) })
}

// URL is that of the current login.
func (s *Server) URL() string { return s.driver.URL(s.Server, s.Logins.Current) }

// Start starts the server and waits until it is ready. If it ends at once it is
// started again for a while, as after a kill that left something behind.
func (s *Server) Start() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	var err error
	for s.launch(); ; {
		attempt, done := context.WithTimeout(ctx, 5*time.Second)
		err = s.driver.Ready(attempt, s.Server)
		done()
		if err == nil {
			return
		}
		select {
		case <-s.ended:
			s.launch()
		default:
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("the %s was not ready: %v", s.Role, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (s *Server) launch() {
	s.t.Helper()
	process := s.driver.Process(s.Server)
	output, err := os.OpenFile(s.Output, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer output.Close()
	command := s.Command(context.Background(), process)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr.Setsid = true
	if err := command.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = command.Wait()
	}()
	s.command, s.ended = command, ended
}

// Stop ends the server in good order.
func (s *Server) Stop() {
	s.t.Helper()
	stop := s.driver.Process(s.Server).Stop
	if stop == 0 {
		stop = syscall.SIGTERM
	}
	s.signal(stop)
	select {
	case <-s.ended:
	case <-time.After(limit):
		s.t.Fatalf("the %s did not end after %s", s.Role, stop)
	}
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	if s.command != nil {
		s.signal(syscall.SIGKILL)
		<-s.ended
	}
}

// end ends the server as quickly as it can without leaving anything behind, such
// as shared memory.
func (s *Server) end() {
	if s.command == nil {
		return
	}
	if quick := s.driver.Process(s.Server).Quick; quick != 0 {
		s.signal(quick)
		select {
		case <-s.ended:
		case <-time.After(10 * time.Second):
		}
	}
	s.Kill()
}

func (s *Server) signal(signal syscall.Signal) {
	select {
	case <-s.ended:
	default:
		_ = s.command.Process.Signal(signal)
	}
}

func (s *Server) do(what string, work func(context.Context) error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	if err := work(ctx); err != nil {
		if told, is := errors.AsType[*springtide.Error](err); is && len(told.Lines) > 0 {
			s.t.Log(strings.Join(told.Lines, "\n"))
		}
		s.t.Fatalf("%s: %v", what, err)
	}
}

// Host gives an address of the loopback interface that no other test has: a port of it
// is free also after a server that has it was stopped.
func Host() netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + random.IntN(254)), byte(random.IntN(256)), byte(1 + random.IntN(254))})
}

// address is one that nobody listens on.
func address(t testing.TB) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp4", netip.AddrPortFrom(Host(), 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}
