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
	if n := connections.Load(); n > 10 { // 100 requests; a slow machine lets one get old
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
	case <-time.After(10 * time.Second):
		t.Fatal("the connection is kept on which something was said unasked")
	}
	for range 5 {
		if heard := ask(); heard != "hello" {
			t.Errorf("heard %q", heard)
		}
	}
}
