package edge

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestAnInstanceThatRefusesConnectionsIsPassedOver(t *testing.T) {
	e := startEdge(t)
	alive := serveInstance(t, "web-1-alive", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	e.route(t, routeTo(readyBackend("web-1-dead", deadAddress(t)), alive))
	client, began := e.client(t, true), time.Now()
	for range 30 {
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, strings.NewReader("sent once"))
		if response, body := do(t, client, request); response.StatusCode != 200 || body != "sent once" {
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
	}
	eventually(t, "the demand", func() bool { return e.control.demand(groupOf(1)).Completed == 30 })
	if d := e.control.demand(groupOf(1)); d.Retried == 0 || d.Retried > 10+int(time.Since(began)/avoidFor) || d.Refused != 0 {
		t.Errorf("%d of 30 requests went to the dead instance first, %d were refused", d.Retried, d.Refused)
	}
}

func TestAnIdempotentRequestIsRepeatedOnceOnAnotherInstance(t *testing.T) {
	e := startEdge(t)
	var broken, whole atomic.Int64
	breaks := rawInstance(t, "web-1-breaks", func(_ net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			broken.Add(1)
		}
	})
	answers := serveInstance(t, "web-1-answers", func(w http.ResponseWriter, _ *http.Request) {
		whole.Add(1)
		io.WriteString(w, "whole")
	})
	client := e.client(t, false)
	for _, method := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"} {
		e.route(t, routeTo(answers))
		e.route(t, routeTo(breaks, answers)) // so that it begins without blame
		broken.Store(0)
		for broken.Load() == 0 {
			request, _ := http.NewRequestWithContext(t.Context(), method, "https://"+testHost, nil)
			if response, _ := do(t, client, request); response.StatusCode != 200 {
				t.Fatalf("%s: got %d", method, response.StatusCode)
			}
		}
	}
	e.route(t, routeTo(answers))
	e.route(t, routeTo(breaks, answers))
	broken.Store(0)
	for broken.Load() == 0 {
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, nil)
		before := whole.Load()
		response, _ := do(t, client, request)
		if wants := map[bool]int{true: 502, false: 200}[broken.Load() > 0]; response.StatusCode != wants {
			t.Errorf("POST: got %d, want %d; it was broken %d times and whole %d times", response.StatusCode, wants, broken.Load(), whole.Load()-before)
		}
	}
}

func TestARequestWhoseInstancesAllFailIsABadGateway(t *testing.T) {
	e := startEdge(t)
	var tries atomic.Int64
	hangUp := func(_ net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			tries.Add(1)
		}
	}
	e.route(t, routeTo(rawInstance(t, "web-1-a", hangUp), rawInstance(t, "web-1-b", hangUp), rawInstance(t, "web-1-c", hangUp)))
	if response, body := get(t, e.client(t, false), "/"); response.StatusCode != 502 || tries.Load() != 2 {
		t.Errorf("got %d %q after %d tries", response.StatusCode, body, tries.Load())
	}
}

func TestARequestWhoseOnlyInstanceDiedWaitsForTheNext(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(readyBackend("web-1-dead", deadAddress(t))))
	answered := make(chan string, 1)
	go func() {
		_, body := get(t, e.client(t, true), "/")
		answered <- body
	}()
	eventually(t, "the request to be held", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
	e.route(t, routeTo(serveInstance(t, "web-1-new", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "new") })))
	if body := <-answered; body != "new" {
		t.Errorf("got %q", body)
	}
	eventually(t, "the wait to be reported", func() bool {
		d := e.control.demand(groupOf(1))
		return d.Held == 0 && d.Waited == 1 && d.HeldTime > 0 && d.Retried >= 1
	})
}

func TestARequestOutlivesAnInstanceThatComesBack(t *testing.T) {
	e := startEdge(t)
	address, socket := deadSocket(t)
	e.route(t, routeTo(readyBackend("web-1-a", address)))
	answered := make(chan string, 1)
	go func() {
		_, body := get(t, e.client(t, true), "/")
		answered <- body
	}()
	eventually(t, "the request to be held", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
	if err := syscall.Listen(int(socket.Fd()), syscall.SOMAXCONN); err != nil {
		t.Fatal(err)
	}
	listener, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "back") })}
	go server.Serve(listener)
	defer server.Close()
	began := time.Now()
	if body := <-answered; body != "back" || time.Since(began) > 10*avoidFor {
		t.Errorf("got %q after %v", body, time.Since(began))
	}
}

func TestAnUnansweredRequestMovesOnWhenItsInstanceIsClosed(t *testing.T) {
	e := startEdge(t)
	stuck := serveInstance(t, "web-1-stuck", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	e.route(t, routeTo(stuck))
	answered := make(chan string, 1)
	go func() {
		_, body := get(t, e.client(t, true), "/")
		answered <- body
	}()
	eventually(t, "the request to be open", func() bool { return e.control.load("web-1-stuck").Requests == 1 })
	next := serveInstance(t, "web-1-next", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "next") })
	e.route(t, routeTo(inState(springtide.BackendClosing, stuck), next))
	if body := <-answered; body != "next" {
		t.Errorf("got %q", body)
	}
}
