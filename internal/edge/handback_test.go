package edge

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

func TestTheListenersAreHandedBack(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	for range 2 {
		listeners, err := Reclaim(t.Context(), handbackPath(e.folder))
		if err != nil {
			t.Fatal(err)
		}
		if len(listeners) != 3 || listeners[2].Name != QUIC || listeners[0].Name != HTTPS || listeners[1].Name != HTTP {
			t.Fatalf("got %+v", listeners)
		}
		for i, want := range []net.Listener{e.https, e.http} {
			listener, err := net.FileListener(listeners[i].File)
			if err != nil {
				t.Fatal(err)
			}
			if listener.Addr().String() != want.Addr().String() {
				t.Errorf("%s listens on %s, want %s", listeners[i].Name, listener.Addr(), want.Addr())
			}
			listener.Close()
			listeners[i].File.Close()
		}
		listeners[2].File.Close()
	}
	if _, body := get(t, e.client(t, true), "/"); body != "fine" {
		t.Errorf("the edge then said %q", body)
	}
}

func TestReclaimingFromNobodyFails(t *testing.T) {
	path := t.TempDir() + "/edge-1.sock"
	if _, err := Reclaim(t.Context(), path); err == nil {
		t.Error("nobody handed something back")
	}
	listener, err := socket.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Reclaim(ctx, path); err == nil {
		t.Error("somebody silent handed something back")
	}
	go func() {
		if _, err := listener.Accept(); err == nil {
			if conn, err := listener.Accept(); err == nil {
				conn.Write([]byte(`{"listeners":["https"]}` + "\n"))
				conn.Close()
			}
		}
	}()
	if _, err := Reclaim(t.Context(), path); err == nil || !strings.Contains(err.Error(), "1 names for 0 sockets") {
		t.Errorf("names without sockets: %v", err)
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, options := range []Options{{}, {DataFolder: "x"}, {DataFolder: "x", Listeners: make([]Listener, 1), DrainLimit: -1}} {
		if err := Run(t.Context(), options); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%+v: %v", options, err)
		}
	}
}

// dialAlways connects to one address whatever is asked for.
func dialAlways(address string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
}
