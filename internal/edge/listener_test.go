package edge

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestListenersThatAreNotThereAreRefused(t *testing.T) {
	for value, want := range map[string]string{
		"": "no supervisor", "https": "not the number", "https=x": "not the number", "https=0": "not the number",
		"gopher=3": "want https=N", "https=900,http=900": "named twice", "https=900": "not a listening socket",
	} {
		_, err := InheritedListeners(func(string) string { return value })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", value, err, want)
		}
	}
}

func FuzzInheritedListeners(f *testing.F) {
	f.Add("https=3,http=4,quic=5")
	f.Add("https=3,https=5,")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, value string) {
		pairs, err := parseListeners(value)
		if err == nil && len(pairs) != strings.Count(value, ",")+1 {
			t.Errorf("%q gave %v", value, pairs)
		}
		for _, pair := range pairs {
			if pair.descriptor < 3 || pair.name != HTTP && pair.name != HTTPS && pair.name != QUIC {
				t.Errorf("%q gave %v", value, pairs)
			}
		}
	})
}

// openDoor gives what a door with so many places accepts, and where it is.
func openDoor(t *testing.T, name string, places int) (accepted <-chan net.Conn, address string, d *door) {
	t.Helper()
	listener := listenLocal(t)
	d, err := newDoor(Listener{name, duplicate(t, listener)}, newRoom(places), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	conns := make(chan net.Conn)
	go func() {
		defer close(conns)
		for {
			conn, err := d.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	return conns, listener.Addr().String(), d
}

func TestNoMoreConnectionsAreTakenThanThereIsRoom(t *testing.T) {
	accepted, address, door := openDoor(t, HTTP, 2)
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial()
	dial()
	first, second := <-accepted, <-accepted
	refused := dial()
	select {
	case <-accepted:
		t.Fatal("a third connection was taken")
	case answer := <-allOf(refused):
		if !strings.HasPrefix(answer, "HTTP/1.1 503 ") || !strings.Contains(answer, "Retry-After: ") {
			t.Errorf("it was told %q", answer)
		}
	}
	first.Close()
	first.Close() // once more gives no second place
	dial()
	third := <-accepted
	second.Close()
	third.Close()
	if !door.room.empty() {
		t.Error("the room is not empty")
	}
	door.Close()
	<-accepted
}

func allOf(conn net.Conn) <-chan string {
	all := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(conn)
		all <- string(text)
	}()
	return all
}

func TestAConnectionForWhichThereIsNoFileIsClosed(t *testing.T) {
	listener := listenLocal(t)
	c := crowd{logger: slog.New(slog.DiscardHandler)}
	c.keepSpare()
	for range 2 { // the file in reserve is there again
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := c.turnAway(listener, io.ErrUnexpectedEOF); err != nil || c.spare == nil {
			t.Fatal(err, c.spare)
		}
		if heard := <-allOf(conn); heard != "" {
			t.Errorf("it was told %q", heard)
		}
	}
	c.spare.Close()
}

func TestThereAreNoMoreConnectionsThanFilesAreEnoughFor(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if n := affordable(10, logger); n != 10 {
		t.Errorf("of 10 there may be %d", n)
	}
	if n := affordable(1<<40, logger); n < 16 || n > 1<<29 {
		t.Errorf("of all there are, there may be %d", n)
	}
}
