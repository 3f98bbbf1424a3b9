package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// talk sends text over a connection of its own and gives it for the answers.
func talk(t *testing.T, address, text string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

// heard reads one answer: its status and body.
func heard(t *testing.T, answers *bufio.Reader) string {
	t.Helper()
	response, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(response.StatusCode, " ", string(body))
}

func echoBody(w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, r.URL.Path+" ")
	io.Copy(w, r.Body)
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", echoBody).Address)
	_, answers := talk(t, address, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\ntwo"+
		"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthree\r\n0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n")
	for _, want := range []string{"200 /1 ", "200 /2 two", "200 /3 three", "200 /4 "} {
		if got := heard(t, answers); got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	}
}

func TestARequestMayArriveByteByByte(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", echoBody).Address)
	conn, answers := talk(t, address, "")
	for _, b := range []byte("POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none" + "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\nX: y\r\n\r\n") {
		conn.Write([]byte{b})
	}
	if first, second := heard(t, answers), heard(t, answers); first != "200 /1 one" || second != "200 /2 two" {
		t.Errorf("heard %q and %q", first, second)
	}
}

func TestAClientThatEndsItsDirectionIsStillAnswered(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(2 * tick) // the work
		echoBody(w, r)
	}).Address)
	conn, answers := talk(t, address, "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none")
	conn.CloseWrite()
	if got := heard(t, answers); got != "200 /1 one" {
		t.Errorf("heard %q", got)
	}
}

// beginning is as much of a body as has to be there for its request to go on.
var beginning = strings.Repeat("x", headBuffer)

func TestABodyThatComesSlowlyTakesNoInstanceBeforeItsBeginningIsThere(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	conn := e.dial(t)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n%s", testHost, beginning[:headBuffer/2])
	other := e.dial(t)
	fmt.Fprintf(other, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", testHost)
	eventually(t, "another request to be held", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
	fmt.Fprint(conn, beginning[headBuffer/2:])
	eventually(t, "both to be held", func() bool { return e.control.demand(groupOf(1)).Held == 2 })
	conn.Close()
	eventually(t, "the one to be given up", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
}

func TestAClientThatLeavesIsNoticedWhileItsRequestIsHeld(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	conn := e.dial(t)
	fmt.Fprintf(conn, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Length: 100000\r\n\r\n%s", testHost, beginning)
	eventually(t, "the request to be held", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
	conn.Close()
	eventually(t, "the request to be given up", func() bool { return e.control.demand(groupOf(1)).Held == 0 })
}

func TestAClientThatLeavesInTheMiddleOfItsBodyEndsTheExchange(t *testing.T) {
	gone := make(chan error, 1)
	address := startPlain(t, serveInstance(t, "a", func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		gone <- err
	}).Address)
	conn, _ := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"+beginning)
	conn.CloseWrite()
	if err := <-gone; err == nil {
		t.Error("the instance took half a body for a whole one")
	}
}

func TestABodyThatIsNotProperIsRefusedWhereverItGoesWrong(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }).Address)
	_, answers := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nrubbish\r\n")
	if got := heard(t, answers); !strings.HasPrefix(got, "400 ") {
		t.Errorf("heard %q", got)
	}
}

func TestAnOldClientGetsAnAnswerOfUnknownLengthUntilTheEnd(t *testing.T) {
	address := startPlain(t, serveInstance(t, "a", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "one ")
		http.NewResponseController(w).Flush()
		io.WriteString(w, "two")
	}).Address)
	conn, _ := talk(t, address, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if head, body, _ := strings.Cut(string(answer), "\r\n\r\n"); err != nil || body != "one two" || strings.Contains(head, "chunked") || !strings.Contains(head, "Connection: close") {
		t.Errorf("heard %q, %v", answer, err)
	}
}

func TestABodyIsAskedForAfterAWhileIfTheInstanceSaysNothing(t *testing.T) {
	address := startPlain(t, rawInstance(t, "a", func(conn net.Conn, requests *bufio.Reader) {
		if request, err := http.ReadRequest(requests); err == nil {
			body, _ := io.ReadAll(request.Body)
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}
	}).Address)
	conn, answers := talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("heard %q, %v", line, err)
	}
	answers.ReadString('\n')
	io.WriteString(conn, "body")
	if got := heard(t, answers); got != "200 body" {
		t.Errorf("heard %q", got)
	}
}

func TestWhatAnInstanceSaysUnaskedReachesNobody(t *testing.T) {
	var connections atomic.Int64
	answered, said := make(chan struct{}), make(chan struct{})
	address := startPlain(t, rawInstance(t, "a", func(conn net.Conn, requests *bufio.Reader) {
		n := connections.Add(1)
		for {
			if _, err := http.ReadRequest(requests); err != nil {
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d", n)
			if _, open := <-answered; open {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				close(said)
			}
		}
	}).Address)
	_, answers := talk(t, address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if got := heard(t, answers); got != "200 1" {
		t.Fatalf("heard %q", got)
	}
	answered <- struct{}{}
	<-said
	close(answered)
	_, answers = talk(t, address, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
	if got := heard(t, answers); got != "200 2" {
		t.Errorf("heard %q", got)
	}
}

func TestAKeptConnectionThatIsDeadCostsNoRequest(t *testing.T) {
	ended := make(chan struct{}, 20)
	address := startPlain(t, rawInstance(t, "a", func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
			conn.Close() // without having said so
			ended <- struct{}{}
		}
	}).Address)
	conn, answers := talk(t, address, "")
	for range 20 {
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		if got := heard(t, answers); got != "200 fine" {
			t.Fatalf("heard %q", got)
		}
		<-ended
	}
}

func TestLongBodiesPassBetweenPlainSockets(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MiB
	address := startPlain(t, serveInstance(t, "a", func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("the instance got %d bytes, %v", len(got), err)
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body)
	}).Address)
	for range 2 {
		request, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+address, bytes.NewReader(body))
		if _, got := do(t, http.DefaultClient, request); got != string(body) {
			t.Errorf("got %d bytes", len(got))
		}
	}
}

// limits starts an edge whose clock a test can push on.
func limits(t *testing.T, backends ...string) (address string, clock *clock) {
	t.Helper()
	listeners, err := Listen([]string{"http://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Tables: make(chan springtide.Table), Listeners: listeners, Logger: testLogger()}
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := newEdge(options)
	if err != nil {
		t.Fatal(err)
	}
	table, err := staticTable{Version: 1, Routes: []staticRoute{{Backends: backends}}}.table("")
	if err != nil {
		t.Fatal(err)
	}
	e.router.apply(table)
	e.accept()
	t.Cleanup(func() {
		e.closeAll()
		e.serving.Wait()
		e.forwarder.pool.close()
	})
	return e.doors[0].Addr().String(), e.clock
}

// pass has so much time pass for all that the clock looks at.
func (c *clock) pass(d time.Duration) {
	for _, w := range c.snapshot(nil) {
		w.look(c.after(d))
	}
}

func TestAClientThatIsTooSlowIsLeft(t *testing.T) {
	instance := serveInstance(t, "a", echoBody).Address
	for _, c := range []struct {
		name, sent, want string
		idle             bool
		served           uint32
		within, after    time.Duration
	}{
		{"with its first request", "", "", true, 0, 9 * time.Second, 11 * time.Second},
		{"with a head", "GET / HTTP/1.1\r\nHos", "HTTP/1.1 408 ", false, 0, 9 * time.Second, 11 * time.Second},
		{"with its next request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 ", true, 2, 110 * time.Second, 130 * time.Second},
		{"with the beginning of a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf", "HTTP/1.1 408 ", false, 0, 29 * time.Second, 31 * time.Second},
		{"with a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + beginning, "HTTP/1.1 408 ", false, 1, 29 * time.Second, 31 * time.Second},
	} {
		address, clock := limits(t, instance)
		conn, answers := talk(t, address, c.sent)
		eventually(t, "the connection to wait "+c.name, func() bool {
			for _, w := range clock.snapshot(nil) {
				if one, ok := w.(*connection); ok { // its limit may be that of what came before
					due := one.reading.due.Load()
					return due > clock.after(c.within) && due <= clock.after(c.after) && one.idle.Load() == c.idle && one.served.Load() == c.served
				}
			}
			return false
		})
		clock.pass(c.within)
		if strings.HasPrefix(c.want, "HTTP/1.1 200") {
			heard(t, answers)
			c.want = ""
		}
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := answers.Peek(1); err == nil || !isTimeout(err) {
			t.Errorf("%s: was left early: %v", c.name, err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		clock.pass(c.after)
		if answer, err := io.ReadAll(answers); err != nil || !strings.HasPrefix(string(answer), c.want) || c.want == "" && len(answer) > 0 {
			t.Errorf("%s: heard %q, %v", c.name, answer, err)
		}
	}
}
