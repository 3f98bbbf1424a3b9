package edge

import (
	"net"
	"strings"
	"testing"
	"time"
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
	f.Add("https=3,http=4")
	f.Add("https=3,https=5,")
	f.Add("=,=")
	f.Fuzz(func(t *testing.T, value string) {
		pairs, err := parseListeners(value)
		if err == nil && len(pairs) != strings.Count(value, ",")+1 {
			t.Errorf("%q gave %v", value, pairs)
		}
		for _, pair := range pairs {
			if pair.descriptor < 3 || pair.name != HTTP && pair.name != HTTPS {
				t.Errorf("%q gave %v", value, pairs)
			}
		}
	})
}

func TestNoMoreConnectionsAreTakenThanThereIsRoom(t *testing.T) {
	listener := listenLocal(t)
	door, err := newDoor(Listener{HTTP, duplicate(t, listener)}, newRoom(2))
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			conn, err := door.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	for range 3 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	first, second := <-accepted, <-accepted
	select {
	case <-accepted:
		t.Fatal("a third connection was taken")
	case <-time.After(50 * time.Millisecond):
	}
	first.Close()
	first.Close() // once more gives no second place
	third := <-accepted
	second.Close()
	third.Close()
	if !door.room.empty() {
		t.Error("the room is not empty")
	}
	door.Close()
	<-accepted
}
