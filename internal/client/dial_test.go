package client

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTheKernelGivesUpAServerThatSaysNothing(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	conn, err := dial(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	socket, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = socket.Control(func(descriptor uintptr) {
		for option, want := range map[int]time.Duration{
			unix.TCP_USER_TIMEOUT: lostAfter / time.Millisecond, unix.TCP_KEEPIDLE: lostAfter / 3 / time.Second, unix.TCP_KEEPINTVL: lostAfter / 6 / time.Second,
		} {
			if got, err := unix.GetsockoptInt(int(descriptor), unix.IPPROTO_TCP, option); err != nil || got != int(want) {
				t.Errorf("option %d is %d, %v; want %d", option, got, err, want)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}
