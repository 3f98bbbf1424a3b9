package edge

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/springtide/springtide"
)

// vanishing is the listener of an instance that takes no connections any more once
// it is gone, and says nothing of it: as if its machine had lost its power.
type vanishing struct {
	*net.TCPListener
	taken atomic.Int64
	gone  atomic.Bool
	over  chan struct{}
}

// vanishingInstance answers by the handler until it vanishes; what is open then is
// to wait in the handler.
func vanishingInstance(t *testing.T, id string, handler http.HandlerFunc) (springtide.Backend, *vanishing) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	v := &vanishing{TCPListener: server.Listener.(*net.TCPListener), over: make(chan struct{})}
	server.Listener = v
	server.Start()
	t.Cleanup(func() {
		close(v.over)
		server.CloseClientConnections()
		server.Close()
	})
	return readyBackend(id, v.Addr().String()), v
}

func (v *vanishing) Accept() (net.Conn, error) {
	if v.gone.Load() {
		<-v.over
		return nil, net.ErrClosed
	}
	v.taken.Add(1)
	return v.TCPListener.Accept()
}

// vanish returns when nobody can connect any more.
func (v *vanishing) vanish(t *testing.T) {
	t.Helper()
	v.gone.Store(true)
	raw, err := v.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	// What nobody takes is queued by the kernel: one connection from now on.
	if err := raw.Control(func(descriptor uintptr) { err = syscall.Listen(int(descriptor), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", v.Addr().String(), reachLimit)
		if isTimeout(err) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the instance can still be reached")
}

// stuck answers what is asked of it, but for /stuck.
func stuck(t *testing.T, reached *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			reached.Add(1)
			<-t.Context().Done()
			return
		}
		io.WriteString(w, "ready")
	}
}

func TestARequestOnALostInstanceMovesOnIfItMayBeRepeated(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		e := startEdge(t)
		var reached atomic.Int64
		lost, machine := vanishingInstance(t, "web-1-lost", stuck(t, &reached))
		next := serveInstance(t, "web-1-next", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "next") })
		e.route(t, routeTo(lost))
		client := e.client(t, http2)
		if _, body := get(t, client, "/"); body != "ready" { // so that there is a connection that was kept
			t.Fatalf("got %q", body)
		}
		type answer struct {
			status int
			body   string
		}
		repeated, sentOnce := make(chan answer, 1), make(chan answer, 1)
		go func() {
			response, body := get(t, client, "/stuck")
			repeated <- answer{response.StatusCode, body}
		}()
		go func() {
			request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost+"/stuck", strings.NewReader("once"))
			response, body := do(t, client, request)
			sentOnce <- answer{response.StatusCode, body}
		}()
		eventually(t, "the requests to be open", func() bool { return reached.Load() == 2 && e.control.load("web-1-lost").Requests == 2 })
		machine.vanish(t)
		e.route(t, routeTo(inState(springtide.BackendRetiring, lost), next))
		if _, body := get(t, client, "/"); body != "next" {
			t.Errorf("got %q", body)
		}
		if open := e.control.load("web-1-lost").Requests; open != 2 {
			t.Errorf("%d requests are left on an instance that only retires", open)
		}
		e.route(t, routeTo(inState(springtide.BackendLost, lost), next))
		if got := <-repeated; got != (answer{200, "next"}) {
			t.Errorf("what may be repeated: got %v", got)
		}
		if got := <-sentOnce; got.status != 502 {
			t.Errorf("what may not be repeated: got %v", got)
		}
	})
}

func TestWhatIsOpenOnAnInstanceThatIsCalledLostGoesOnIfItCanBeReached(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		e := startEdge(t)
		var reached atomic.Int64
		answer := make(chan struct{})
		lost, machine := vanishingInstance(t, "web-1-lost", func(w http.ResponseWriter, _ *http.Request) {
			reached.Add(1)
			<-answer
			io.WriteString(w, "late")
		})
		e.route(t, routeTo(lost))
		answered := make(chan string, 1)
		go func() {
			_, body := get(t, e.client(t, http2), "/")
			answered <- body
		}()
		eventually(t, "the request to be open", func() bool { return reached.Load() == 1 && e.control.load("web-1-lost").Requests == 1 })
		taken := machine.taken.Load()
		e.route(t, routeTo(inState(springtide.BackendLost, lost)))
		eventually(t, "the edge to look", func() bool { return machine.taken.Load() > taken })
		dead := deadAddress(t)
		eventually(t, "a machine that says that nobody listens to be told from a lost one", func() bool { return canReach(dead) })
		close(answer)
		if body := <-answered; body != "late" {
			t.Errorf("got %q", body)
		}
	})
}

func TestStreamsOfALostInstanceBreakOff(t *testing.T) {
	e := startEdge(t)
	release := make(chan struct{})
	defer close(release)
	echoes := echoing(nil)
	lost, machine := vanishingInstance(t, "web-1-lost", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoes(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: one\n\n")
		w.(http.Flusher).Flush()
		<-release
	})
	e.route(t, routeTo(lost))
	socket := dialSocket(t, e)
	echo(t, socket, "hello")
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+"/events", nil)
	response, err := e.client(t, true).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	machine.vanish(t)
	e.route(t, routeTo(inState(springtide.BackendLost, lost)))
	if code := closeCode(t, socket); code != closeBadGateway {
		t.Errorf("the WebSocket was closed with %d", code)
	}
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("the event stream ended as if it were complete")
	}
}
