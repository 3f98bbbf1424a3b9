package control

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

// onwardWithin is how long who leads may take to accept a connection.
const onwardWithin = time.Second

// relay passes connections on to the control plane that leads, as they are: TLS is
// between the two ends, and nobody between them is trusted with anything. Those that
// nobody takes it gives to who accepts. It implements net.Listener.
type relay struct {
	net.Listener
	onward onward
	own    chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// onward connects to who leads; lead ends when that one does no more.
type onward func(context.Context) (conn net.Conn, lead context.Context, err error)

func newRelay(listener net.Listener, to onward) *relay {
	return &relay{Listener: listener, onward: to, own: make(chan net.Conn), closed: make(chan struct{})}
}

// Run passes on until ctx ends, and closes the listener.
func (r *relay) Run(ctx context.Context) error {
	var passed sync.WaitGroup
	defer passed.Wait()
	defer r.Close()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	for {
		conn, err := r.Listener.Accept()
		switch {
		case err == nil:
			passed.Go(func() { r.pass(ctx, conn) })
		case errors.Is(err, net.ErrClosed):
			return nil
		default: // too many files are open, say: that passes
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

func (r *relay) pass(ctx context.Context, conn net.Conn) {
	onward, lead, err := r.onward(ctx)
	if err != nil {
		select {
		case r.own <- conn:
		case <-r.closed:
			conn.Close()
		}
		return
	}
	defer conn.Close()
	defer onward.Close()
	for _, over := range []context.Context{ctx, lead} { // one that is cut off never says that it ended
		defer context.AfterFunc(over, func() { conn.Close(); onward.Close() })()
	}
	var both sync.WaitGroup
	for _, way := range [2][2]net.Conn{{conn, onward}, {onward, conn}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // both ends see how it ended
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}

// Accept implements net.Listener.
func (r *relay) Accept() (net.Conn, error) {
	select {
	case conn := <-r.own:
		return conn, nil
	case <-r.closed:
		return nil, net.ErrClosed
	}
}

// refuse ends the connections that nobody takes.
func (r *relay) refuse() error {
	for {
		conn, err := r.Accept()
		if err != nil {
			return nil //nolint:nilerr // it was closed
		}
		conn.Close()
	}
}

// Close implements net.Listener.
func (r *relay) Close() error {
	r.once.Do(func() { close(r.closed) })
	return r.Listener.Close()
}

// onward connects to who leads, on the port of an address of our own: all control
// planes of a store are reached in the same way.
func (f *following) onward(address string) onward {
	return func(ctx context.Context) (net.Conn, context.Context, error) {
		leader, lead, err := f.led()
		if err != nil {
			return nil, nil, err
		}
		host, _, _ := strings.Cut(leader.Holder, "/")
		if host == "" || leader.Holder == f.holder {
			return nil, nil, springtide.Errorf(springtide.Unavailable, "no control plane leads")
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, nil, err
		}
		dialer := net.Dialer{Timeout: onwardWithin}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
		return conn, lead, err
	}
}

// listen gives the connections to an address that are not passed on.
func (f *following) listen(ctx context.Context, address string) (*relay, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, springtide.Errorf(springtide.Conflict, "cannot listen on %s: %w", address, err)
	}
	return newRelay(listener, f.onward(address)), nil
}
