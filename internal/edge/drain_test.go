package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func fine(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") }

func TestTwentySwapsLoseNoRequest(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	var asked, failed atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	load := func(client *http.Client, fresh bool) {
		for ctx.Err() == nil {
			request, _ := http.NewRequest("GET", "https://"+testHost, nil)
			request.Close = fresh
			response, err := client.Do(request)
			asked.Add(1)
			if err == nil {
				var body []byte
				body, err = io.ReadAll(response.Body)
				response.Body.Close()
				if err == nil && (response.StatusCode != 200 || string(body) != "fine") {
					err = fmt.Errorf("%d %q", response.StatusCode, body)
				}
			}
			if err != nil {
				failed.Add(1)
				t.Error(err)
			}
		}
	}
	for _, http2 := range []bool{false, true} {
		for _, fresh := range []bool{false, true} {
			client := e.client(t, http2)
			for range 3 {
				clients.Go(func() { load(client, fresh) })
			}
		}
	}
	current := e.process
	for range 20 {
		next := e.start(t)
		close(current.drain)
		current = next
		before := asked.Load()
		eventually(t, "some requests", func() bool { return asked.Load() > before+50 })
	}
	stop()
	clients.Wait()
	t.Logf("%d requests, %d failed", asked.Load(), failed.Load())
}

func TestADrainingEdgeLetsItsConnectionsEnd(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	kept := e.dial(t)
	answers := bufio.NewReader(kept)
	ask := func() *http.Response {
		t.Helper()
		fmt.Fprintf(kept, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", testHost)
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, response.Body)
		return response
	}
	if ask().Close {
		t.Error("the connection was ended before there was need")
	}
	close(e.process.drain)
	e.control.await(t, "the edge to be leaving", func(reports []springtide.EdgeReport) bool { return reports[len(reports)-1].Leaving })
	select {
	case <-e.process.ended:
		t.Fatal("the edge ended under an idle connection")
	case <-time.After(100 * time.Millisecond):
	}
	if _, err := os.Stat(handbackPath(e.folder)); !os.IsNotExist(err) {
		t.Errorf("it still offers its listeners: %v", err)
	}
	leaving := filepath.Join(e.folder, "run", fmt.Sprintf("leaving-%d.sock", os.Getpid()))
	if listeners, err := Reclaim(t.Context(), leaving); err != nil || len(listeners) != 0 {
		t.Errorf("the next supervisor does not find it: %v, %v", listeners, err)
	}
	if !ask().Close {
		t.Error("the connection was not asked to end")
	}
	<-e.process.ended
}

func TestAnIdleConnectionIsClosedAfterTheLimit(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		e := startEdge(t, func(o *Options) { o.IdleLimit = 200 * time.Millisecond })
		e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
		get(t, e.client(t, http2), "/")
		began := time.Now()
		close(e.process.drain)
		<-e.process.ended
		if took := time.Since(began); took < 200*time.Millisecond && !http2 || took > 30*time.Second { // of 60 that it would be
			t.Errorf("it drained in %v", took)
		}
	})
}

func TestADrainEndsAtItsLimit(t *testing.T) {
	e := startEdge(t, func(o *Options) { o.DrainLimit = 200 * time.Millisecond })
	events := eventInstance(t, "web-1-a", nil)
	e.route(t, routeTo(events))
	_, stream := openEvents(t, e.client(t, true))
	close(e.process.drain)
	if rest, err := io.ReadAll(stream); err != nil {
		t.Errorf("the stream ended with %q, %v", rest, err)
	}
	<-e.process.ended
}

func TestADrainingEdgeKeepsStreamsForAsLongAsTheirProcessIsGiven(t *testing.T) {
	const limit = 100 * time.Millisecond
	e := startEdge(t, func(o *Options) { o.DrainLimit = limit })
	route := routeTo(socketInstance(t, "web-1-a", nil))
	route.Drain = time.Hour
	e.route(t, route)
	socket := dialSocket(t, e)
	echo(t, socket, "hello")
	close(e.process.drain)
	for began := time.Now(); time.Since(began) < 5*limit; time.Sleep(limit / 2) {
		echo(t, socket, "still there")
	}
	socket.CloseNow()
	<-e.process.ended
}

func TestAnEdgeWithoutATableWaitsForOneBeforeItAccepts(t *testing.T) {
	e := startEdge(t)
	e.process.cancel() // it was not told anything that it could have kept
	<-e.process.ended
	route := routeTo(serveInstance(t, "web-1-a", fine))
	table := springtide.Table{Routes: []springtide.Route{route}, Certificates: []springtide.Certificate{testCertificate(t)}}
	reports := len(e.control.seen())
	go func() {
		for len(e.control.seen()) == reports && t.Context().Err() == nil { // then it waits
			time.Sleep(time.Millisecond)
		}
		time.Sleep(3 * newerTableTimeout)
		listeners, err := Reclaim(t.Context(), handbackPath(e.folder)) // by the next supervisor
		if err != nil {
			t.Errorf("an edge that waits gives nothing back: %v", err)
		}
		for _, listener := range listeners {
			listener.File.Close()
		}
		e.control.publish(table)
	}()
	e.start(t, func(o *Options) { o.FirstTableLimit = time.Minute })
	if answer, body := get(t, e.client(t, false), "/"); answer.StatusCode != http.StatusOK || body != "fine" {
		t.Errorf("the first request got %d %q", answer.StatusCode, body)
	}
}

func TestAnEdgeThatFinishesEndsStreamsPolitely(t *testing.T) {
	e := startEdge(t)
	sockets, events := socketInstance(t, "web-1-s", nil), eventInstance(t, "web-1-e", nil)
	other := routeTo(events)
	other.Hosts, other.Group.Process = []string{"other.localhost"}, "events"
	e.publish(t, springtide.Table{Routes: []springtide.Route{routeTo(sockets), other}, Certificates: []springtide.Certificate{testCertificate(t)}})
	socket := dialSocket(t, e)
	echo(t, socket, "hello")
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://other.localhost", nil)
	response, err := e.client(t, true).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	began := time.Now()
	close(e.process.finish)
	if code := closeCode(t, socket); code != closeGoingAway {
		t.Errorf("the WebSocket was closed with %d", code)
	}
	if _, err := io.ReadAll(response.Body); err != nil {
		t.Errorf("the event stream ended with %v", err)
	}
	<-e.process.ended
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestClosingAnEdgesListenerLeavesTheOthers(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	close(e.process.drain)
	<-e.process.ended
	// Nobody accepts now, but the kernel does: the connection waits.
	answered := make(chan error, 1)
	go func() {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost, nil)
		response, err := e.client(t, false).Do(request)
		if err == nil {
			response.Body.Close()
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("the connection did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	e.start(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestASocketThatWasMadeBlockingDoesNotHoldUpTheDrain(t *testing.T) {
	e := startEdge(t)
	file, err := e.http.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.Fd() // makes it blocking, for all that share it: what os/exec does
	conn, err := net.Dial("tcp", e.http.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection to be accepted", func() bool {
		fmt.Fprintf(conn, "GET / HTTP/1.0\r\n\r\n")
		_, err := io.ReadAll(conn)
		return err == nil
	})
	conn.Close()
	close(e.process.drain)
	select {
	case <-e.process.ended:
	case <-time.After(30 * time.Second):
		t.Error("the edge waits for one more connection")
		if conn, err := net.Dial("tcp", e.http.Addr().String()); err == nil {
			conn.Close()
		}
	}
}

func TestTheEndOfItsContextEndsTheEdgeAtOnce(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })))
	ended := make(chan error, 1)
	go func() {
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, nil)
		response, err := e.client(t, true).Do(request)
		if err == nil {
			response.Body.Close()
			err = errors.New(response.Status)
		}
		ended <- err
	}()
	eventually(t, "the request to be open", func() bool { return e.control.load("web-1-a").Requests == 1 })
	e.process.cancel()
	<-e.process.ended
	if err := <-ended; err.Error() == "200 OK" {
		t.Error("the request was answered all the same")
	}
}
