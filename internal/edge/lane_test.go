package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTheConformanceSuiteOfHTTP2FindsNothing(t *testing.T) {
	e := startEdge(t)
	route := routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, strings.Repeat("x", 100))
	}))
	route.Hosts = []string{"127.0.0.1"}
	e.route(t, route)
	_, port, err := net.SplitHostPort(e.https.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	suite := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../../tools/go.mod", "h2spec", "-h", "127.0.0.1", "-p", port, "-t", "-k", "-o", "5")
	output, err := suite.CombinedOutput()
	if err != nil || !regexp.MustCompile(`\b(\d+) tests, (\d+) passed, 0 skipped, 0 failed`).Match(output) {
		t.Errorf("%v: %s", err, output)
	}
}

// TestCallsOfGRPCPass has a client and a server speak as gRPC does: messages both
// ways at the same time, and a status behind the last one.
func TestCallsOfGRPCPass(t *testing.T) {
	e := startEdge(t)
	backend := rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		if request.URL.Path == "/service/refused" { // a trailer alone, as gRPC calls it
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 7\r\nContent-Length: 0\r\n\r\n")
			return
		}
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nX-Te: %s\r\nConnection: close\r\nTrailer: Grpc-Status\r\nTransfer-Encoding: chunked\r\n\r\n", request.Header.Get("Te"))
		message := make([]byte, 10)
		for {
			if _, err := io.ReadFull(request.Body, message); err != nil {
				break
			}
			fmt.Fprintf(conn, "a\r\n%s\r\n", message)
		}
		fmt.Fprintf(conn, "0\r\nGrpc-Status: 0\r\nGrpc-Message: %s\r\n\r\n", request.Trailer.Get("X-Sum"))
	})
	e.route(t, routeTo(backend))
	client := e.client(t, true)
	call := func(method string, body io.Reader) *http.Response {
		t.Helper()
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost+"/service/"+method, body)
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("Te", "trailers")
		request.Trailer = http.Header{"X-Sum": {"sum"}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	messages, send := io.Pipe()
	response := call("talk", messages)
	if response.Header.Get("X-Te") != "trailers" {
		t.Errorf("the instance was not told that the client takes trailers: %v", response.Header)
	}
	heard := make([]byte, 10)
	for i := range 20 {
		said := fmt.Sprintf("\x00\x00\x00\x00\x05msg%02d", i)
		io.WriteString(send, said)
		if _, err := io.ReadFull(response.Body, heard); err != nil || string(heard) != said {
			t.Fatalf("heard %q, %v", heard, err)
		}
	}
	send.Close()
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
		t.Errorf("heard %q, %v", rest, err)
	}
	if response.Trailer.Get("Grpc-Status") != "0" || response.Trailer.Get("Grpc-Message") != "sum" {
		t.Errorf("the trailer is %v", response.Trailer)
	}
	if response := call("refused", nil); response.Header.Get("Grpc-Status") != "7" {
		t.Errorf("the refusal has %v", response.Header)
	}
}

func TestWeAnswerOverHTTP2AsNetHTTPDoes(t *testing.T) {
	instance := httptest.NewServer(http.HandlerFunc(describe))
	t.Cleanup(func() {
		instance.CloseClientConnections()
		instance.Close()
	})
	e := startEdge(t)
	e.route(t, routeTo(readyBackend("web-1-a", instance.Listener.Addr().String())))
	theirs := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	t.Cleanup(theirs.CloseIdleConnections)
	ours, address := e.client(t, true), oracle(t, instance.Listener.Addr().String())
	for _, stream := range oracleStreams {
		for rest := bufio.NewReader(strings.NewReader(stream)); ; {
			request, err := http.ReadRequest(rest)
			if err != nil {
				break
			}
			body, _ := io.ReadAll(request.Body)
			answers := [2]string{}
			for i, client := range []*http.Client{ours, theirs} {
				url := map[int]string{0: "https://" + testHost, 1: "http://" + address}[i] + request.URL.RequestURI()
				again, err := http.NewRequestWithContext(t.Context(), request.Method, url, bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if len(request.TransferEncoding) > 0 {
					again.Body, again.ContentLength, again.GetBody = io.NopCloser(bytes.NewReader(body)), -1, nil
				}
				again.Host, again.Header = testHost, request.Header.Clone()
				for _, name := range []string{"Connection", "Keep-Alive", "X-Mine", "Expect", "Te"} {
					again.Header.Del(name)
				}
				again.Header.Set("User-Agent", "x")
				again.Header["Cookie"] = slices.Compact([]string{strings.Join(request.Header["Cookie"], "; ")})
				if len(request.Header["Cookie"]) == 0 {
					again.Header.Del("Cookie")
				}
				response, err := client.Do(again)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(response.Body)
				response.Body.Close()
				for _, name := range []string{"Date", "X-Request-Id", "Content-Length", "Alt-Svc", "Trailer", "Referrer-Policy", "X-Content-Type-Options", "Strict-Transport-Security"} {
					response.Header.Del(name)
				}
				answers[i] = fmt.Sprintf("%d %v %v %q %v", response.StatusCode, response.Header, response.Trailer, got, err)
			}
			if answers[0] != answers[1] {
				t.Errorf("%s %s:\nwe answer %.500s\n net/http %.500s", request.Method, request.URL, answers[0], answers[1])
			}
		}
	}
}
