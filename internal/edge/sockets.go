package edge

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp says whether the other end has sent its last byte, and whether the
// connection is broken altogether. It takes nothing from what is unread.
func hungUp(raw syscall.RawConn) (ended, broken bool) {
	err := raw.Control(func(descriptor uintptr) {
		polled := []unix.PollFd{{Fd: int32(descriptor), Events: unix.POLLRDHUP}}
		if n, err := unix.Poll(polled, 0); err == nil && n > 0 {
			ended, broken = true, polled[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
		}
	})
	return ended || err != nil, broken || err != nil
}

// stall finds out whether the other end takes nothing of what the kernel sends
// on its own. All but its switch is the clock's.
type stall struct {
	on    atomic.Bool
	acked uint64
	ticks int
}

// stallTicks is how many ticks a client may take nothing.
const stallTicks = int(writeTimeout / tick)

// look says that nothing was taken for too long. It is called once per tick.
func (s *stall) look(raw syscall.RawConn) bool {
	if !s.on.Load() {
		s.ticks = 0
		return false
	}
	var acked uint64
	waiting := false
	_ = raw.Control(func(descriptor uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(descriptor), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil {
			acked, waiting = info.Bytes_acked, info.Unacked > 0 || info.Notsent_bytes > 0
		}
	})
	if s.ticks++; !waiting || acked != s.acked {
		s.ticks = 0
	}
	s.acked = acked
	return s.ticks > stallTicks
}
