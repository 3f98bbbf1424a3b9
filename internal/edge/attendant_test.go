package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/http2"
)

func TestRequestsOverHTTP2GoOnTheConnectionThatIsAttended(t *testing.T) {
	e := startEdge(t)
	var connections atomic.Int32
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		connections.Add(1)
		for {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			body, _ := io.ReadAll(request.Body)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"+(string(body) + "hello")[:5])
		}
	})))
	client := e.client(t, true)
	for range 50 {
		get(t, client, "/")
		response, err := client.Post("https://"+testHost, "text/plain", strings.NewReader("again"))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); string(body) != "again" {
			t.Errorf("heard %q, %v", body, err)
		}
		response.Body.Close()
	}
	// 100 requests; a connection is kept a moment after the answer, which the next request may not wait for.
	if n := connections.Load(); n > 50 {
		t.Errorf("the instance got %d connections", n)
	}
}

func TestManyStreamsWhoseInstanceEndsItsConnectionsAreAllAnswered(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		for range 3 {
			if _, err := http.ReadRequest(requests); err != nil {
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		}
	})))
	client := e.client(t, true)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 30 {
				response, err := client.Get("https://" + testHost)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(response.Body)
				response.Body.Close()
				if response.StatusCode != http.StatusOK || string(body) != "hello" {
					t.Errorf("heard %d %q, %v", response.StatusCode, body, err)
				}
			}
		})
	}
	all.Wait()
}

func TestWhatAnInstanceSaysUnaskedIsNoAnswer(t *testing.T) {
	e := startEdge(t)
	var first atomic.Bool
	speak, closed := make(chan struct{}), make(chan struct{})
	first.Store(true)
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		mine := first.Swap(false)
		for {
			if _, err := http.ReadRequest(requests); err != nil {
				break
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
			if mine {
				<-speak
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nwicked")
			}
		}
		if mine {
			close(closed)
		}
	})))
	client := e.client(t, true)
	ask := func() string {
		response, err := client.Get("https://" + testHost)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	if heard := ask(); heard != "hello" {
		t.Errorf("heard %q", heard)
	}
	close(speak)
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("the connection is kept on which something was said unasked")
	}
	for range 5 {
		if heard := ask(); heard != "hello" {
			t.Errorf("heard %q", heard)
		}
	}
}

func TestAConnectionIsNotKeptWhileARequestIsWrittenOnIt(t *testing.T) {
	listener := listenLocal(t) // and nobody reads
	p := newPool(newClock(), newBuffers())
	u, err := p.dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var teller teller
	if !teller.tell(u, new(http2.Stream), make([]byte, 64<<20)) || teller.written == 0 {
		t.Fatalf("%d bytes were told", teller.written)
	}
	p.keep(u, false)
	if p.take(u.address) != nil {
		t.Error("another request would be written in between")
	}
}

// An instance that is being stopped, say, has whoever attends its connections end.
func TestNothingIsToldOnAConnectionThatWasLeftJustNow(t *testing.T) {
	listener := listenLocal(t)
	p := newPool(newClock(), newBuffers())
	u, err := p.dial(t.Context(), listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p.keep(u, true)
	eventually(t, "the connection to be attended", func() bool { return p.takeAttended(u.address) == u })
	teller := teller{u: u, stream: new(http2.Stream), request: []byte("GET / HTTP/1.1\r\n\r\n")}
	err = u.wire.raw.Control(func(descriptor uintptr) { // until this returns the connection is not closed
		_ = u.wire.SetDeadline(longAgo)
		eventually(t, "the connection to be left", func() bool { return u.wire.raw.Control(func(uintptr) {}) != nil })
		teller.tellNow(descriptor)
	})
	if err != nil || !teller.unfit || teller.written > 0 {
		t.Errorf("%d bytes were told, and nobody serves the stream: %v", teller.written, err)
	}
}
