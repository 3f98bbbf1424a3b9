package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// eventInstance sends one event, and then what it is told; it hangs up in the
// middle of the chunks when events is closed.
func eventInstance(t *testing.T, id string, events <-chan string) springtide.Backend {
	return rawInstance(t, id, func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err != nil {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
		chunk := func(event string) { fmt.Fprintf(conn, "%x\r\n%s\r\n", len(event), event) }
		chunk("data: first\n\n")
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			io.Copy(io.Discard, requests)
		}()
		for {
			select {
			case event, ok := <-events:
				if !ok {
					return
				}
				chunk(event)
			case <-gone:
				return
			}
		}
	})
}

func openEvents(t *testing.T, client *http.Client) (*http.Response, *bufio.Reader) {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+"/events", nil)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	events := bufio.NewReader(response.Body)
	if event, err := events.ReadString('\n'); event != "data: first\n" {
		t.Fatalf("the first event is %q, %v", event, err)
	}
	events.ReadString('\n')
	return response, events
}

func TestEventsArriveAsTheyAreSent(t *testing.T) {
	e := startEdge(t)
	sent := make(chan string)
	route := routeTo(eventInstance(t, "web-1-a", sent))
	route.Concurrency = 1
	e.route(t, route)
	both(t, func(t *testing.T, http2 bool) {
		response, events := openEvents(t, e.client(t, http2))
		for i := range 5 {
			sent <- fmt.Sprintf("data: %d\n\n", i)
			if event, err := events.ReadString('\n'); event != fmt.Sprintf("data: %d\n", i) {
				t.Fatalf("heard %q, %v", event, err)
			}
			events.ReadString('\n')
		}
		eventually(t, "the stream to be reported", func() bool {
			load := e.control.load("web-1-a")
			return load.Streams == 1 && load.Requests == 0
		})
		response.Body.Close()
		eventually(t, "the stream to be over", func() bool { return e.control.load("web-1-a").Streams == 0 })
	})
}

func TestAnEventStreamOfAClosingInstanceEndsCleanly(t *testing.T) {
	e := startEdge(t)
	backend := eventInstance(t, "web-1-a", nil)
	both(t, func(t *testing.T, http2 bool) {
		for _, removed := range []bool{false, true} {
			e.route(t, routeTo(backend))
			_, events := openEvents(t, e.client(t, http2))
			e.route(t, routeTo(inState(springtide.BackendRetiring, backend)))
			eventually(t, "the stream to go on", func() bool { return e.control.load("web-1-a").Streams == 1 })
			if removed {
				e.route(t, routeTo())
			} else {
				e.route(t, routeTo(inState(springtide.BackendClosing, backend)))
			}
			if rest, err := io.ReadAll(events); err != nil || len(rest) > 0 {
				t.Errorf("removed=%v: ended with %q, %v", removed, rest, err)
			}
		}
	})
	eventually(t, "nothing to be open", func() bool { return e.control.load("web-1-a").Streams == 0 })
}

func TestAnEventStreamEndsCleanlyOnlyIfItsInstanceIsLetGo(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		for _, state := range []springtide.BackendState{springtide.BackendReady, springtide.BackendRetiring} {
			e := startEdge(t)
			sent := make(chan string)
			backend := eventInstance(t, "web-1-a", sent)
			e.route(t, routeTo(backend))
			_, events := openEvents(t, e.client(t, http2))
			e.route(t, routeTo(inState(state, backend)))
			close(sent)
			if _, err := io.ReadAll(events); (err == nil) != (state == springtide.BackendRetiring) {
				t.Errorf("%s: ended with %v", state, err)
			}
		}
	})
}

func TestAPlainAnswerOfAClosingInstanceIsBrokenOff(t *testing.T) {
	e := startEdge(t)
	backend := serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the beginning")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	both(t, func(t *testing.T, http2 bool) {
		e.route(t, routeTo(backend))
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost, nil)
		response, err := e.client(t, http2).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		e.route(t, routeTo(inState(springtide.BackendClosing, backend)))
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("read %q as if it were whole", body)
		}
	})
}

func TestALongAnswerGoesOnWhileItsInstanceRetires(t *testing.T) {
	e := startEdge(t)
	goOn := make(chan struct{})
	backend := serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "begin ")
		http.NewResponseController(w).Flush()
		<-goOn
		io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	e.route(t, routeTo(backend))
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost, nil)
	response, err := e.client(t, true).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	other := serveInstance(t, "web-1-b", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "the other") })
	e.route(t, routeTo(inState(springtide.BackendRetiring, backend), other))
	for range 10 {
		if _, body := get(t, e.client(t, false), "/"); body != "the other" {
			t.Fatalf("a new request got %q", body)
		}
	}
	if load := e.control.load("web-1-a"); load.Requests != 1 {
		t.Errorf("reported %+v", load)
	}
	close(goOn)
	if body, err := io.ReadAll(response.Body); err != nil || len(body) != 6+1<<20 {
		t.Errorf("read %d bytes, %v", len(body), err)
	}
	eventually(t, "the instance to be free", func() bool { return e.control.load("web-1-a").Requests == 0 })
}

func TestALongPollIsNotCutShort(t *testing.T) {
	e := startEdge(t)
	goOn := make(chan struct{})
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) {
		<-goOn
		io.WriteString(w, "news")
	})))
	time.AfterFunc(300*time.Millisecond, func() { close(goOn) })
	if _, body := get(t, e.client(t, false), "/"); body != "news" {
		t.Errorf("got %q", body)
	}
}
