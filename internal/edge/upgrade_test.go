package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/springtide/springtide"
)

// socketInstance serves WebSockets that echo, until stop is closed: then it
// hangs up in the middle of things, as a killed process does.
func socketInstance(t *testing.T, id string, stop <-chan struct{}) springtide.Backend {
	return serveInstance(t, id, echoing(stop))
}

func echoing(stop <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		conn.SetReadLimit(10 << 20)
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		go func() {
			select {
			case <-stop:
				conn.CloseNow()
			case <-ctx.Done():
			}
		}()
		for {
			kind, message, err := conn.Read(ctx)
			if err != nil || conn.Write(ctx, kind, message) != nil {
				return
			}
		}
	}
}

func dialSocket(t *testing.T, e *testEdge) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "wss://"+testHost, &websocket.DialOptions{HTTPClient: e.client(t, false)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(10 << 20)
	return conn
}

func echo(t *testing.T, conn *websocket.Conn, message string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := conn.Read(ctx); err != nil || string(got) != message {
		t.Fatalf("said %d bytes, heard %d, %v", len(message), len(got), err)
	}
}

// closeCode waits for the end of a WebSocket and tells how it ended; -1 if
// without a close frame.
func closeCode(t *testing.T, conn *websocket.Conn) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, _, err := conn.Read(ctx)
	if ctx.Err() != nil {
		t.Fatal("the WebSocket did not end")
	}
	return int(websocket.CloseStatus(err))
}

func TestAWebSocketPassesAndIsCountedAsAStream(t *testing.T) {
	e := startEdge(t)
	route := routeTo(socketInstance(t, "web-1-a", nil))
	route.Concurrency = 1
	e.route(t, route)
	first, second := dialSocket(t, e), dialSocket(t, e)
	for _, message := range []string{"hello", strings.Repeat("x", 200), strings.Repeat("y", 3<<20)} {
		echo(t, first, message)
		echo(t, second, message)
	}
	eventually(t, "the streams to be reported", func() bool {
		load, d := e.control.load("web-1-a"), e.control.demand(groupOf(1))
		return load.Streams == 2 && load.Requests == 0 && d.Streams == 2 && d.Busy == 0
	})
	first.Close(websocket.StatusNormalClosure, "bye")
	second.CloseNow()
	eventually(t, "the streams to be over", func() bool {
		return e.control.load("web-1-a").Streams == 0 && e.control.demand(groupOf(1)).Streams == 0
	})
}

func TestAWebSocketThatCountsAsARequestTakesASlot(t *testing.T) {
	e := startEdge(t)
	route := routeTo(socketInstance(t, "web-1-a", nil))
	route.FinishStreams = true
	e.route(t, route)
	echo(t, dialSocket(t, e), "hello")
	eventually(t, "the stream to be reported as a request", func() bool {
		load, d := e.control.load("web-1-a"), e.control.demand(groupOf(1))
		return load.Requests == 1 && load.Streams == 0 && d.Busy == 1 && d.Streams == 0
	})
}

func TestAWebSocketOfAClosingInstanceIsClosedPolitely(t *testing.T) {
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprint("removed=", gone), func(t *testing.T) {
			e := startEdge(t)
			backend := socketInstance(t, "web-1-a", nil)
			e.route(t, routeTo(backend))
			conn := dialSocket(t, e)
			echo(t, conn, "hello")
			e.route(t, routeTo(inState(springtide.BackendRetiring, backend)))
			echo(t, conn, "still there")
			if gone {
				e.route(t, routeTo())
			} else {
				e.route(t, routeTo(inState(springtide.BackendClosing, backend)))
			}
			if code := closeCode(t, conn); code != closeGoingAway {
				t.Errorf("closed with %d", code)
			}
		})
	}
}

func TestAWebSocketWhoseInstanceEndsIsToldWhy(t *testing.T) {
	for state, want := range map[springtide.BackendState]int{springtide.BackendReady: closeBadGateway, springtide.BackendRetiring: closeGoingAway} {
		t.Run(string(state), func(t *testing.T) {
			e := startEdge(t)
			stop := make(chan struct{})
			backend := socketInstance(t, "web-1-a", stop)
			e.route(t, routeTo(backend))
			conn := dialSocket(t, e)
			echo(t, conn, "hello")
			e.route(t, routeTo(inState(state, backend)))
			close(stop)
			if code := closeCode(t, conn); code != want {
				t.Errorf("closed with %d, want %d", code, want)
			}
		})
	}
}

func TestACloseFrameOfTheInstanceIsLeftAlone(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		if conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
			conn.Close(4321, "its own reason")
		}
	})))
	conn := dialSocket(t, e)
	_, _, err := conn.Read(t.Context())
	if closed, ok := errors.AsType[websocket.CloseError](err); !ok || closed.Code != 4321 || closed.Reason != "its own reason" {
		t.Errorf("ended with %v", err)
	}
}

func TestNoCloseFrameIsPutIntoAnother(t *testing.T) {
	e := startEdge(t)
	upgraded := make(chan net.Conn, 1)
	backend := rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		upgraded <- conn
		io.Copy(io.Discard, requests)
	})
	for _, finishes := range []bool{true, false} {
		e.route(t, routeTo(backend))
		client := e.dial(t)
		fmt.Fprintf(client, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", testHost)
		answer := bufio.NewReader(client)
		if response, err := http.ReadResponse(answer, nil); err != nil || response.StatusCode != 101 {
			t.Fatal(response, err)
		}
		instance := <-upgraded
		message := frame(2, []byte("0123456789"))
		instance.Write(message[:5])
		if _, err := io.ReadFull(answer, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		e.route(t, routeTo(inState(springtide.BackendClosing, backend)))
		if finishes {
			instance.Write(message[5:])
			want := string(message[5:]) + string(closeFrame(closeGoingAway))
			rest := make([]byte, len(want))
			if n, err := io.ReadFull(answer, rest); string(rest) != want {
				t.Errorf("after half a frame came %q, %v, want %q", rest[:n], err, want)
			}
			instance.Write(frame(1, []byte("too late")))
		}
		if rest, _ := io.ReadAll(answer); len(rest) > 0 {
			t.Errorf("finishes=%v: then came %q", finishes, rest)
		}
	}
}
