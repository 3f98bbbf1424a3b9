package edge

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// wires gives both ends of a connection, of which one is the edge's.
func wires(t *testing.T) (ours *wire, theirs net.Conn) {
	t.Helper()
	listener := listenLocal(t)
	theirs, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if ours, err = newWire(conn.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

func TestAClientThatTakesNoAnswerIsGivenUpAtTheLimitAndNotBefore(t *testing.T) {
	ours, _ := wires(t)
	c := &connection{edge: &edge{clock: newClock()}, wire: ours, conn: ours, quiet: &quiet{}}
	ended := make(chan error, 1)
	go func() { ended <- c.send(make([]byte, 64<<20)) }() // more than the kernel keeps for anybody
	for deadline := time.Now().Add(30 * time.Second); c.writing.due.Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is sent")
		}
	}
	limit := c.writing.due.Load()
	c.look(limit - 1)
	select {
	case err := <-ended:
		t.Fatalf("it ended before its time: %v", err)
	default:
	}
	c.look(limit)
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it is still waited for")
	}
}

func TestWhatTheKernelSendsOnItsOwnIsGivenUpWhenNothingIsTaken(t *testing.T) {
	ours, theirs := wires(t)
	for taken, n := 0, 1; taken == 0 || n > 0; taken += n { // until it takes no more
		if err := ours.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		var err error
		if n, err = ours.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the kernel took it all: %v", err)
		}
	}
	var s stall
	for range 2 * stallTicks {
		if s.look(ours.raw) {
			t.Fatal("it is given up though nothing is being sent")
		}
	}
	s.on.Store(true)
	looks := 1
	for ; !s.look(ours.raw); looks++ {
		if looks > 3*stallTicks {
			t.Fatal("it is never given up")
		}
	}
	if looks <= stallTicks {
		t.Errorf("it is given up after %d of %d ticks", looks, stallTicks)
	}
	go io.Copy(io.Discard, theirs)
	for deadline := time.Now().Add(30 * time.Second); s.look(ours.raw); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is given up though all is taken")
		}
	}
}
