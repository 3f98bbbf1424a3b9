package edge

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// quicSocket is a UDP socket that several edges have, as a QUIC transport uses it.
// The youngest of them reads it, and passes on what is the others':
//
//	  ┌ has no younger one: reads the socket ─────────┐
//	reading ←──── the last younger one is gone ──── resting
//	  └────────── a younger one is there ─────────────↑
//
// All of them write to it. What the others pass on to this one is read in both
// states.
type quicSocket struct {
	*net.UDPConn
	batch  *ipv4.PacketConn
	raw    syscall.RawConn
	number edgeNumber

	mu      sync.Mutex
	elders  map[edgeNumber]*elder
	younger int
	passed  []datagram // what others passed on to this one
	stopped bool
	wake    chan struct{}
}

// datagram is a UDP packet, and what the kernel says of it in its control messages.
type datagram struct {
	from      *net.UDPAddr
	out, data []byte
}

// passedLimit is how many packets wait to be read; more are lost, as they are
// anywhere on their way.
const passedLimit = 1024

// newQUICSocket duplicates the socket: closing it closes the duplicate only.
func newQUICSocket(file *os.File) (*quicSocket, error) {
	conn, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		conn.Close()
		return nil, errors.New("it is no UDP socket")
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &quicSocket{
		UDPConn: udp, batch: ipv4.NewPacketConn(udp), raw: raw, number: newEdgeNumber(),
		elders: map[edgeNumber]*elder{}, wake: make(chan struct{}, 1),
	}, nil
}

// ReadBatch reads what is for this edge. The QUIC transport prefers it to ReadFrom.
func (s *quicSocket) ReadBatch(messages []ipv4.Message, _ int) (int, error) {
	for {
		n, resting, err := s.take(messages)
		if n > 0 || err != nil {
			return n, err
		}
		if resting {
			<-s.wake
			continue
		}
		// Any process that shares the socket can have made it blocking.
		n, err = s.batch.ReadBatch(messages, syscall.MSG_DONTWAIT)
		if errors.Is(err, syscall.EAGAIN) {
			err = s.await()
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = s.UDPConn.SetReadDeadline(time.Time{}) // it was disturb
		case errors.Is(err, net.ErrClosed):
			return 0, err
		case err != nil:
			time.Sleep(acceptPause) // the kernel lacks memory; the transport would give up
		}
		if n = s.passOn(messages[:max(n, 0)]); n > 0 && err == nil {
			return n, nil
		}
	}
}

// await waits until there is something to read. It looks first: of what came before
// it waits it would not be told.
func (s *quicSocket) await() error {
	return s.raw.Read(func(descriptor uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(descriptor), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
}

// take gives what others passed on, and says whether only that is to be read.
func (s *quicSocket) take(messages []ipv4.Message) (n int, resting bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return 0, false, net.ErrClosed
	}
	for ; n < len(messages) && n < len(s.passed); n++ {
		m, p := &messages[n], &s.passed[n]
		m.N, m.NN, m.Addr = copy(m.Buffers[0], p.data), copy(m.OOB, p.out), p.from
	}
	rest := copy(s.passed, s.passed[n:])
	clear(s.passed[rest:])
	s.passed = s.passed[:rest]
	return n, s.younger > 0, nil
}

// passOn passes on what belongs to other edges, and moves the rest to the front.
func (s *quicSocket) passOn(messages []ipv4.Message) (kept int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range messages {
		m := &messages[i]
		data := m.Buffers[0][:m.N]
		if number, ok := numberIn(data); ok && number != s.number {
			if owner := s.elders[number]; owner != nil {
				if from, ok := m.Addr.(*net.UDPAddr); ok {
					owner.pass(datagram{from, m.OOB[:m.NN], data})
				}
				continue
			}
		}
		if kept != i { // each message keeps its buffers: the transport counts on it
			to := &messages[kept]
			to.N, to.NN, to.Addr = copy(to.Buffers[0], data), copy(to.OOB, m.OOB[:m.NN]), m.Addr
		}
		kept++
	}
	return kept
}

// give has a packet read that another edge got.
func (s *quicSocket) give(p datagram) {
	s.mu.Lock()
	if len(s.passed) < passedLimit {
		s.passed = append(s.passed, p)
	}
	s.mu.Unlock()
	s.disturb()
}

// rest counts the younger edges, which read in place of this one.
func (s *quicSocket) rest(change int) {
	s.mu.Lock()
	s.younger += change
	s.mu.Unlock()
	s.disturb()
}

// resting says that a younger edge reads in place of this one.
func (s *quicSocket) resting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.younger > 0
}

// disturb has ReadBatch look at what has changed.
func (s *quicSocket) disturb() {
	_ = s.UDPConn.SetReadDeadline(longAgo)
	notify(s.wake)
}

// SetReadDeadline ends the reading: it is how the QUIC transport does so.
func (s *quicSocket) SetReadDeadline(at time.Time) error {
	if !at.IsZero() {
		s.mu.Lock()
		s.stopped = true
		s.mu.Unlock()
		s.disturb()
	}
	return nil
}
