package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/edge"
)

// open opens a listening socket. It stays non-blocking, as the edges that share
// it need it: an edge that blocks in accept(2) cannot let go of it. That is why
// it is not made by TCPListener.File, whose Fd makes it blocking for all.
func open(ctx context.Context, name, address string) (edge.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false) // such a socket ignores timeouts of accept(2)
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return edge.Listener{}, listenError(name, address, err)
	}
	defer listener.Close() // what is kept is a duplicate
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return edge.Listener{}, err
	}
	descriptor := -1
	var duplicateErr error
	err = raw.Control(func(fd uintptr) { descriptor, duplicateErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(err, duplicateErr); err != nil {
		return edge.Listener{}, err
	}
	return edge.Listener{Name: name, File: os.NewFile(uintptr(descriptor), name)}, nil
}

func listenError(name, address string, err error) error {
	_, port, _ := net.SplitHostPort(address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return springtide.Errorf(springtide.Conflict, "cannot listen on %s: the port is in use", address).
			WithHint("see who has it with `ss -ltnp sport = :%s`, or choose another with --%s", port, name)
	case errors.Is(err, syscall.EACCES):
		return springtide.Errorf(springtide.Denied, "cannot listen on %s: ports below 1024 need root", address).
			WithHint("choose a higher port with --%s, or run as root", name)
	default:
		return springtide.Errorf(springtide.Invalid, "cannot listen on %s: %w", address, err).
			WithHint("give --%s an address of this machine, such as 127.0.0.1:8443", name)
	}
}

// reclaim takes listening sockets back from an edge that outlived its
// supervisor. Other edges that are found drain, or would have been told to had the
// supervisor lived.
func reclaim(ctx context.Context, runFolder string) (found handover, err error) {
	paths, err := filepath.Glob(filepath.Join(runFolder, "*-*.sock"))
	if err != nil {
		return found, err
	}
	for _, path := range paths {
		kind, rest, _ := strings.Cut(filepath.Base(path), "-")
		pid, err := strconv.Atoi(strings.TrimSuffix(rest, ".sock"))
		if err != nil || kind != "edge" && kind != "leaving" {
			continue
		}
		listeners, err := askBack(ctx, path, pid)
		switch {
		case err != nil:
			if !running(pid) {
				os.Remove(path)
			}
		case found.edge == 0 && len(listeners) > 0:
			found.edge, found.listeners = pid, listeners
		default:
			found.leaving = append(found.leaving, pid)
			closeAll(listeners)
		}
	}
	return found, nil
}

// askBack asks an edge for its listening sockets. One that is just starting may
// have made its own socket and not listen on it yet.
func askBack(ctx context.Context, path string, pid int) ([]edge.Listener, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		listeners, err := edge.Reclaim(ctx, path)
		if !errors.Is(err, unix.ECONNREFUSED) || !running(pid) {
			return listeners, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// listen opens what is wanted, using what was reclaimed where the address is
// the same and closing the rest of it. It tells whether all of it, and nothing
// else, was reclaimed.
func listen(ctx context.Context, wanted []Address, reclaimed []edge.Listener) (listeners []edge.Listener, same bool, err error) {
	reclaimed = slices.Clone(reclaimed)
	defer func() {
		closeAll(reclaimed)
		if err != nil {
			closeAll(listeners)
		}
	}()
	same = true
	for _, want := range wanted {
		address, err := net.ResolveTCPAddr("tcp", want.Address)
		if err != nil {
			return listeners, false, listenError(want.Name, want.Address, err)
		}
		at := slices.IndexFunc(reclaimed, func(held edge.Listener) bool { return held.Name == want.Name && boundTo(held.File, address) })
		if at >= 0 {
			listeners = append(listeners, reclaimed[at])
			reclaimed = slices.Delete(reclaimed, at, at+1)
			continue
		}
		same = false
		opened, err := open(ctx, want.Name, want.Address)
		if err != nil {
			return listeners, false, err
		}
		listeners = append(listeners, opened)
	}
	return listeners, same && len(reclaimed) == 0, nil
}

// boundTo reports whether a listening socket is what an address asks for. All
// ways to write "every address" are the same, and port 0 is any port.
func boundTo(socket *os.File, wanted *net.TCPAddr) bool {
	listener, err := net.FileListener(socket)
	if err != nil {
		return false
	}
	defer listener.Close()
	bound, ok := listener.Addr().(*net.TCPAddr)
	if !ok || wanted.Port != 0 && wanted.Port != bound.Port {
		return false
	}
	if wanted.IP == nil || wanted.IP.IsUnspecified() {
		return bound.IP.IsUnspecified()
	}
	return bound.IP.Equal(wanted.IP) && bound.Zone == wanted.Zone
}

func closeAll(listeners []edge.Listener) {
	for _, listener := range listeners {
		listener.File.Close()
	}
}
