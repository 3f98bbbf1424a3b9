package client

import (
	"context"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// connectWithin is how long a server may take to accept a connection.
	connectWithin = 10 * time.Second
	// lostAfter is how long a server's machine may say nothing at all before its
	// connections are given up; by itself a kernel asks for a quarter of an hour.
	lostAfter = 30 * time.Second
)

// dial connects to a server, and ends the connection if its machine is lost: what was
// asked may be asked of another then.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{
		Timeout:         connectWithin,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: lostAfter / 3, Interval: lostAfter / 6},
		Control: func(_, _ string, socket syscall.RawConn) error {
			var failed error
			err := socket.Control(func(descriptor uintptr) {
				failed = unix.SetsockoptInt(int(descriptor), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(lostAfter.Milliseconds()))
			})
			if err != nil {
				return err
			}
			return failed
		},
	}
	return dialer.DialContext(ctx, network, address)
}
