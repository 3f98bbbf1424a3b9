package load

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func discard() *log.Logger { return log.New(io.Discard, "", 0) }

// runStreams runs long-lived clients against a handler until enough is seen.
func runStreams(t *testing.T, handler http.HandlerFunc, options Options, enough func(Result) bool) Result {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.Config.ErrorLog = discard()
	server.StartTLS()
	defer server.Close()
	options.Target = server.URL
	options.CA = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if err := options.Validate(); err != nil {
		t.Fatal(err)
	}
	sender, err := newSender(options)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.transports.close()
	r := newRecord(options, time.Now())
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var streams sync.WaitGroup
	startStreams(ctx, &streams, sender, r)
	for !enough(r.finish()) && wait(ctx, 10*time.Millisecond) {
	}
	stop()
	streams.Wait()
	return r.finish()
}

// socket accepts a WebSocket, sends back one message, and then ends it.
func socket(end func(*websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Instance", "web-1-aaaaa")
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		kind, message, err := conn.Read(context.WithoutCancel(r.Context()))
		if err != nil {
			return
		}
		conn.Write(r.Context(), kind, message)
		end(conn)
	}
}

func TestEveryEndOfAWebSocketIsCountedAsWhatItIs(t *testing.T) {
	for name, try := range map[string]struct {
		handler http.HandlerFunc
		drained bool
		reason  string
	}{
		"going away": {socket(func(c *websocket.Conn) { c.Close(websocket.StatusGoingAway, "") }), true, "close 1001"},
		"restart":    {socket(func(c *websocket.Conn) { c.Close(websocket.StatusServiceRestart, "") }), true, "close 1012"},
		"error":      {socket(func(c *websocket.Conn) { c.Close(websocket.StatusInternalError, "") }), false, "close 1011"},
		"dropped":    {socket(func(c *websocket.Conn) { c.CloseNow() }), false, "dropped without a close frame"},
		"wrong echo": {socket(func(c *websocket.Conn) {
			c.Read(context.Background())
			c.Write(context.Background(), websocket.MessageText, []byte("something else"))
			c.Read(context.Background())
		}), false, "heard"},
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			for err == nil {
				_, _, err = conn.Read(r.Context())
			}
		}, false, "silent"},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, false, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streams := Streams{Clients: 1, Path: "/live/{client}"}
			if name == "silent" {
				streams.Silence = 700 * time.Millisecond
			}
			result := runStreams(t, try.handler, Options{WebSockets: streams}, func(r Result) bool { return len(r.WebSockets.Ends) > 0 }).WebSockets
			if len(result.Ends) == 0 {
				t.Fatalf("no end: %+v", result)
			}
			if end := result.Ends[0]; end.Drained != try.drained || !strings.Contains(end.Reason, try.reason) {
				t.Errorf("got %+v", end)
			}
			if got := result.Drained > 0; got != try.drained || result.Drained+result.Errors != len(result.Ends) {
				t.Errorf("got %+v", result)
			}
		})
	}
}

// events sends two events and then ends.
func events(end func(http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Instance", "web-1-aaaaa")
		io.WriteString(w, "id: 1\ndata: a\n\nid: 2\ndata: b\n\n")
		http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond) // as a stream that lives for a while
		end(w)
	}
}

func TestEveryEndOfAnEventStreamIsCountedAsWhatItIs(t *testing.T) {
	for name, try := range map[string]struct {
		handler http.HandlerFunc
		drained bool
		reason  string
	}{
		"clean end":     {events(func(http.ResponseWriter) {}), true, "clean end"},
		"with a bye":    {events(func(w http.ResponseWriter) { io.WriteString(w, "event: bye\ndata: x\n\n") }), true, "clean end"},
		"aborted":       {events(func(http.ResponseWriter) { panic(http.ErrAbortHandler) }), false, ""},
		"half an event": {events(func(w http.ResponseWriter) { io.WriteString(w, "id: 3\nda") }), false, "middle of an event"},
		"a gap":         {events(func(w http.ResponseWriter) { io.WriteString(w, "id: 4\ndata: d\n\n") }), false, "after event 2"},
		"silent": {func(w http.ResponseWriter, r *http.Request) {
			events(func(http.ResponseWriter) { <-r.Context().Done() })(w, r)
		}, false, "silent"},
		"refused": {http.NotFound, false, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streams := Streams{Clients: 2, Path: "/scores"}
			if name == "silent" {
				streams.Silence = 300 * time.Millisecond
			}
			result := runStreams(t, try.handler, Options{EventStreams: streams}, func(r Result) bool { return len(r.EventStreams.Ends) > 1 }).EventStreams
			if len(result.Ends) < 2 {
				t.Fatalf("too few ends: %+v", result)
			}
			for _, end := range result.Ends {
				if end.Drained != try.drained || !strings.Contains(end.Reason, try.reason) {
					t.Errorf("got %+v", end)
				}
			}
			if name != "refused" && (result.Opened == 0 || result.Messages < 2*result.Opened/2) {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func TestStreamsThatGoOnHaveNoEnd(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil {
				return
			}
			conn.Write(r.Context(), kind, message)
		}
	}
	tick := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 1; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "id: %d\ndata: x\n\n", i)
			http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond) // the pace of the stream
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/live/{room}", echo)
	mux.HandleFunc("/scores", tick)
	result := runStreams(t, mux.ServeHTTP, Options{
		WebSockets:   Streams{Clients: 3, Path: "/live/{client}"},
		EventStreams: Streams{Clients: 4, Path: "/scores"},
	}, func(r Result) bool {
		return r.WebSockets.Opened >= 3 && r.WebSockets.Messages >= 3 && r.EventStreams.Opened >= 4 && r.EventStreams.Messages >= 40
	})
	if got := result.WebSockets; got.Opened != 3 || got.Drained+got.Errors != 0 || got.Messages < 3 {
		t.Errorf("WebSockets %+v", got)
	}
	if got := result.EventStreams; got.Opened != 4 || got.Drained+got.Errors != 0 || got.Messages < 40 {
		t.Errorf("event streams %+v", got)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("id: 1\ndata: x\n\n")
	f.Add("id: 1\r\n\r\nid: 3\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		events := 0
		if err := readEvents(strings.NewReader(body), func() { events++ }); err == nil && body != "" && !strings.HasSuffix(body, "\n") {
			t.Errorf("%q ended cleanly", body)
		}
		if events > strings.Count(body, "\n") {
			t.Errorf("%d events in %q", events, body)
		}
	})
}
