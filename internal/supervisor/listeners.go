package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/edge"
)

// address gives the address a listening socket is bound to.
func address(l edge.Listener) (string, error) {
	listener, err := net.FileListener(l.File)
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

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
// supervisor, and gives its PID; 0 if there is none.
func reclaim(ctx context.Context, runFolder string) (pid int, listeners []edge.Listener, err error) {
	paths, err := filepath.Glob(filepath.Join(runFolder, "edge-*.sock"))
	if err != nil {
		return 0, nil, err
	}
	for _, path := range paths {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "edge-"), ".sock")
		owner, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		asked, cancel := context.WithTimeout(ctx, 2*time.Second)
		files, err := edge.Reclaim(asked, path)
		cancel()
		if err != nil || len(files) == 0 || pid != 0 {
			if !running(owner) {
				os.Remove(path)
			}
			closeAll(files)
			continue
		}
		pid = owner
		listeners = files
	}
	return pid, listeners, nil
}

// listen opens what is wanted, using what was reclaimed where the address is
// the same and closing the rest of it.
func listen(ctx context.Context, wanted []Address, reclaimed []edge.Listener) (listeners []edge.Listener, err error) {
	defer func() {
		if err != nil {
			closeAll(listeners)
		}
	}()
	held := make(map[string]edge.Listener)
	for _, listener := range reclaimed {
		bound, err := address(listener)
		if err != nil {
			return nil, fmt.Errorf("reclaimed listener: %w", err)
		}
		held[listener.Name+" "+bound] = listener
	}
	for _, want := range wanted {
		resolved, err := net.ResolveTCPAddr("tcp", want.Address)
		if err != nil {
			return nil, listenError(want.Name, want.Address, err)
		}
		key := want.Name + " " + resolved.String()
		listener, have := held[key]
		delete(held, key)
		if !have {
			if listener, err = open(ctx, want.Name, want.Address); err != nil {
				return nil, err
			}
		}
		listeners = append(listeners, listener)
	}
	for _, listener := range held {
		listener.File.Close()
	}
	return listeners, nil
}

func closeAll(listeners []edge.Listener) {
	for _, listener := range listeners {
		listener.File.Close()
	}
}
