package edge

import (
	"context"
	"errors"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNothing is that nothing is there to be read now. It is temporary, so that TLS
// goes on after it.
var errNothing error = nothingError{}

type nothingError struct{}

func (nothingError) Error() string   { return "nothing has come yet" }
func (nothingError) Timeout() bool   { return true }
func (nothingError) Temporary() bool { return true }

// parking is where the sides of tunnels wait until there is something to read: an
// epoll of its own, since the runtime's has a goroutine for each that waits.
type parking struct {
	events *os.File // the epoll, which the runtime's watches
	raw    syscall.RawConn

	mu     sync.Mutex
	parked map[int32]*side // by descriptor
}

func newParking() (*parking, error) {
	descriptor, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(descriptor, true) // or the runtime does not watch it
	}
	if err != nil {
		return nil, os.NewSyscallError("epoll_create", err)
	}
	p := &parking{events: os.NewFile(uintptr(descriptor), "epoll"), parked: map[int32]*side{}}
	p.raw, err = p.events.SyscallConn()
	return p, err
}

// run has the sides run for which there is something, until ctx ends.
func (p *parking) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, func() { p.events.Close() })
	defer stop()
	events := make([]unix.EpollEvent, 256)
	n := 0
	look := func(descriptor uintptr) bool {
		n, _ = unix.EpollWait(int(descriptor), events, 0)
		return n > 0
	}
	for p.raw.Read(look) == nil {
		p.mu.Lock()
		for _, event := range events[:n] {
			if s := p.parked[event.Fd]; s != nil { // or it was taken, and who has its descriptor now does not mind
				delete(p.parked, event.Fd)
				go s.run()
			}
		}
		p.mu.Unlock()
	}
}

// park has a side run once there is something to read. It reports false if the side
// has to wait by itself.
func (p *parking) park(s *side) (parked bool) {
	_ = s.wire.raw.Control(func(descriptor uintptr) {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(descriptor)}
		p.mu.Lock()
		if parked = s.wire.impatient.Load(); parked {
			s.descriptor = event.Fd
			p.parked[event.Fd] = s
		}
		p.mu.Unlock()
		if !parked {
			return
		}
		err := p.control(unix.EPOLL_CTL_MOD, &event)
		if errors.Is(err, unix.ENOENT) { // the first time
			err = p.control(unix.EPOLL_CTL_ADD, &event)
		}
		if err != nil { // the kernel watches no more files
			s.wire.impatient.Store(false)
			parked = !p.take(s)
		}
	})
	return parked
}

func (p *parking) control(operation int, event *unix.EpollEvent) (err error) {
	closed := p.raw.Control(func(descriptor uintptr) {
		err = unix.EpollCtl(int(descriptor), operation, int(event.Fd), event)
	})
	if closed != nil {
		return closed
	}
	return err
}

// take takes a side out, unless it is not parked.
func (p *parking) take(s *side) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.parked[s.descriptor] != s {
		return false
	}
	delete(p.parked, s.descriptor)
	return true
}
