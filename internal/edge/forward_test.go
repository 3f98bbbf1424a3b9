package edge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestARequestIsAnsweredByAnInstance(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Host, r.RequestURI)
	})))
	both(t, func(t *testing.T, http2 bool) {
		response, body := get(t, e.client(t, http2), "/a%2Fb?c=d;e&f")
		if want := "GET " + testHost + " /a%2Fb?c=d;e&f"; response.StatusCode != 200 || body != want {
			t.Errorf("got %d %q, want 200 %q", response.StatusCode, body, want)
		}
		if (response.ProtoMajor >= 2) != http2 {
			t.Errorf("answered over %s", response.Proto)
		}
	})
	eventually(t, "the demand to be reported", func() bool {
		d := e.control.demand(groupOf(1))
		return d.Arrived == 3 && d.Completed == 3 && d.Busy == 0 && d.Latencies.Count() == 3 && d.Service > 0 && d.BusyTime > 0 && d.BytesOut > 0
	})
}

func TestTheTargetReachesTheInstanceAsItWasWritten(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) })))
	for _, target := range []string{"/", "/a|b", "/%7euser/%2e%2E/x", "/a//b", "//a/b", "/?", "/x?a=%zz&b=;", "/ü", "/a'b(c)"} {
		conn := e.dial(t)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, testHost)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := io.ReadAll(response.Body); string(body) != target {
			t.Errorf("%s arrived as %s", target, body)
		}
	}
}

func TestWhatAClientClaimsAboutItselfIsReplaced(t *testing.T) {
	e := startEdge(t)
	heads := make(chan http.Header, 1)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(_ http.ResponseWriter, r *http.Request) { heads <- r.Header })))
	_, port, _ := net.SplitHostPort(e.https.Addr().String())
	both(t, func(t *testing.T, http2 bool) {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+":8443/", nil)
		for name, value := range map[string]string{
			"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil", "X-Forwarded-Port": "1",
			"X_Forwarded_For": "6.6.6.6", "X-Forwarded-Scheme": "http", "X_Forwarded_Ssl": "on", "X-Real-IP": "6.6.6.6", "Forwarded": "for=6.6.6.6", "Proxy": "evil",
			"X-Request-ID": "not\tsane", "Te": "trailers", "X-Kept": "yes", "User-Agent": "",
		} {
			request.Header.Set(name, value)
		}
		if response, body := do(t, e.client(t, http2), request); response.StatusCode != 200 {
			t.Fatalf("got %d %q", response.StatusCode, body)
		}
		got := <-heads
		for name, want := range map[string]string{
			"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": testHost + ":8443", "X-Forwarded-Port": port,
			"X_forwarded_for": "", "X-Forwarded-Scheme": "", "X_forwarded_ssl": "", "X-Real-Ip": "", "Forwarded": "", "Proxy": "", "Te": "trailers", "X-Kept": "yes", "User-Agent": "",
		} {
			if value := strings.Join(got[name], "|"); value != want {
				t.Errorf("%s is %q, want %q", name, value, want)
			}
		}
		if id := got.Get("X-Request-Id"); len(id) != 32 {
			t.Errorf("the request ID is %q, want a new one", id)
		}
	})
}

func TestHopByHopFieldsAreNotPassedOn(t *testing.T) {
	e := startEdge(t)
	heads := make(chan http.Header, 1)
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		request, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		heads <- request.Header
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: X-Private\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 2\r\nContent-Length: 0\r\n\r\n")
	})))
	conn := e.dial(t)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nProxy-Authorization: x\r\nTransfer_Encoding: chunked\r\nContent_Length: 7\r\nX-Theirs: 2\r\n\r\n", testHost)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	got := <-heads
	for _, name := range []string{"X-Mine", "Keep-Alive", "Proxy-Authorization", "Connection", "Transfer_encoding", "Content_length"} {
		if got[name] != nil {
			t.Errorf("the instance got %s: %q", name, got[name])
		}
	}
	for _, name := range []string{"X-Private", "Keep-Alive", "Connection", "Content-Type"} {
		if response.Header[name] != nil {
			t.Errorf("the client got %s: %q", name, response.Header[name])
		}
	}
	if got.Get("X-Theirs") != "2" || response.Header.Get("X-Public") != "2" || response.Close {
		t.Errorf("too much was left out: %v, %v", got, response.Header)
	}
}

func TestASaneRequestIDIsKept(t *testing.T) {
	e := startEdge(t)
	ids := make(chan string, 1)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		ids <- r.Header.Get("X-Request-Id")
		w.Header().Set("X-Request-Id", "the instance's own")
	})))
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost, nil)
	request.Header.Set("X-Request-Id", "abc/123")
	response, _ := do(t, e.client(t, true), request)
	if id, echo := <-ids, response.Header["X-Request-Id"]; id != "abc/123" || len(echo) != 1 || echo[0] != "abc/123" {
		t.Errorf("the instance got %q, the client %q", id, echo)
	}
}

func TestLargeBodiesPassUnchangedBothWays(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/known" {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		}
		w.Write(body)
	})))
	sent := make([]byte, 5<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	both(t, func(t *testing.T, http2 bool) {
		for _, path := range []string{"/known", "/chunked"} {
			request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost+path, bytes.NewReader(sent))
			if path == "/chunked" {
				request.ContentLength = -1
			}
			if _, got := do(t, e.client(t, http2), request); sha256.Sum256([]byte(got)) != sha256.Sum256(sent) {
				t.Errorf("%s: %d bytes came back changed as %d", path, len(sent), len(got))
			}
		}
	})
}

func TestBothDirectionsStreamAtTheSameTime(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		control.EnableFullDuplex()
		control.Flush()
		buffer := make([]byte, 100)
		for {
			n, err := r.Body.Read(buffer)
			w.Write(buffer[:n])
			control.Flush()
			if err != nil {
				return
			}
		}
	})))
	both(t, func(t *testing.T, http2 bool) {
		reader, writer := io.Pipe()
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, reader)
		response, err := e.client(t, http2).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		buffer := make([]byte, 5)
		for _, word := range []string{"hello", "there", "again"} {
			io.WriteString(writer, word)
			if _, err := io.ReadFull(response.Body, buffer); err != nil || string(buffer) != word {
				t.Fatalf("said %q, heard %q, %v", word, buffer, err)
			}
		}
		writer.Close()
		if rest, err := io.ReadAll(response.Body); err != nil || len(rest) > 0 {
			t.Errorf("the end was %q, %v", rest, err)
		}
	})
}

func TestAnAnswerThatComesBeforeTheBodyIsPassedOn(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			io.WriteString(conn, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!")
		}
	})))
	both(t, func(t *testing.T, http2 bool) {
		reader, writer := io.Pipe()
		defer writer.Close()
		go io.WriteString(writer, "the beginning")
		request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, reader)
		if response, body := do(t, e.client(t, http2), request); response.StatusCode != 413 || body != "no!" {
			t.Errorf("got %d %q", response.StatusCode, body)
		}
	})
}

func TestTheBodyIsAskedForOnlyIfTheInstanceWantsIt(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/no" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		io.Copy(w, r.Body)
	})))
	for path, want := range map[string]int{"/yes": 200, "/no": 417} {
		var asked atomic.Bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked.Store(true) }})
		request, _ := http.NewRequestWithContext(ctx, "POST", "https://"+testHost+path, strings.NewReader("body"))
		request.Header.Set("Expect", "100-continue")
		began := time.Now()
		response, body := do(t, e.client(t, false), request)
		needless := asked.Load() && want != 200 && time.Since(began) < continueAfter // after that the edge asks
		if response.StatusCode != want || needless || want == 200 && !asked.Load() || want == 200 && body != "body" {
			t.Errorf("%s: got %d %q, asked for the body: %v", path, response.StatusCode, body, asked.Load())
		}
	}
}

func TestEarlyHintsAndTrailersPass(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Sent"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "unannounced")
	})))
	both(t, func(t *testing.T, http2 bool) {
		hints := make(chan string, 1)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			hints <- fmt.Sprint(code, " ", header.Get("Link"))
			return nil
		}})
		request, _ := http.NewRequestWithContext(ctx, "POST", "https://"+testHost, io.MultiReader(strings.NewReader("x")))
		request.Trailer = http.Header{"X-Sent": {"7"}}
		response, body := do(t, e.client(t, http2), request)
		if hint := <-hints; hint != "103 </style.css>; rel=preload" {
			t.Errorf("hinted %q", hint)
		}
		if body != "body" || response.Header.Get("Link") != "" || response.Trailer.Get("X-Sum") != "got 7" || response.Trailer.Get("X-Late") != "unannounced" {
			t.Errorf("got %q, trailer %v, header %v", body, response.Trailer, response.Header)
		}
	})
}

func TestAnswersWithoutABodyKeepTheirHeader(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head":
			w.Header().Set("Content-Length", "12345")
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.Header().Set("ETag", `"x"`)
			w.WriteHeader(304)
		}
	})))
	both(t, func(t *testing.T, http2 bool) {
		client := e.client(t, http2)
		request, _ := http.NewRequestWithContext(t.Context(), "HEAD", "https://"+testHost+"/head", nil)
		if response, _ := do(t, client, request); response.ContentLength != 12345 {
			t.Errorf("HEAD says %d bytes", response.ContentLength)
		}
		if response, _ := get(t, client, "/204"); response.StatusCode != 204 {
			t.Errorf("got %d", response.StatusCode)
		}
		if response, _ := get(t, client, "/304"); response.StatusCode != 304 || response.Header.Get("ETag") != `"x"` {
			t.Errorf("got %d %v", response.StatusCode, response.Header)
		}
	})
}

func TestAnAnswerThatBreaksOffIsNeverTakenForAWholeOne(t *testing.T) {
	e := startEdge(t)
	heads := map[string]string{
		"/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"/length":  "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello",
		"/events":  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	}
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		if request, err := http.ReadRequest(requests); err == nil {
			io.WriteString(conn, heads[request.URL.Path])
		}
	})))
	both(t, func(t *testing.T, http2 bool) {
		for path := range heads {
			request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+path, nil)
			response, err := e.client(t, http2).Do(request)
			quick := strings.Contains(t.Name(), overHTTP3) // there, the end may overtake what was sent
			if err != nil && quick {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil || string(body) != "hello" && !quick {
				t.Errorf("%s: read %q, %v; want an error", path, body, err)
			}
		}
	})
}

func TestRubbishFromAnInstanceIsABadGateway(t *testing.T) {
	e := startEdge(t)
	answers := []string{
		"rubbish\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: surprise\r\n\r\n", "HTTP/1.1 099 Odd\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
	}
	var next atomic.Int64
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		if _, err := http.ReadRequest(requests); err == nil {
			io.WriteString(conn, answers[next.Load()])
		}
	})))
	for i, answer := range answers {
		next.Store(int64(i))
		response, body := get(t, e.client(t, true), "/")
		if response.StatusCode != 502 || response.Header.Get("Retry-After") == "" || !strings.Contains(body, response.Header.Get("X-Request-Id")) {
			t.Errorf("%q became %d %q %v", answer, response.StatusCode, body, response.Header)
		}
	}
	eventually(t, "the refusals to be reported", func() bool { return e.control.demand(groupOf(1)).Refused == len(answers) })
}

func TestAnInstanceThatTakesTooLongIsAGatewayTimeout(t *testing.T) {
	e := startEdge(t)
	goOn := make(chan struct{})
	route := routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" { // what has begun may go on
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-goOn
			io.WriteString(w, "whole")
			return
		}
		<-r.Context().Done()
	}))
	route.AnswerWithin = 8 * time.Second // of which what begins at once needs little, on any machine
	e.route(t, route)
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+"/long", nil)
	long, err := e.client(t, false).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Body.Close()
	if response, body := get(t, e.client(t, false), "/"); response.StatusCode != 504 || response.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
	close(goOn)
	if body, err := io.ReadAll(long.Body); err != nil || long.StatusCode != 200 || string(body) != "whole" {
		t.Errorf("got %d %q, %v", long.StatusCode, body, err)
	}
}

func TestARequestThatMayNotBeRepeatedIsSentOnce(t *testing.T) {
	e := startEdge(t)
	var seen atomic.Int64
	e.route(t, routeTo(rawInstance(t, "web-1-a", func(conn net.Conn, requests *bufio.Reader) {
		for {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			io.Copy(io.Discard, request.Body)
			if request.Method == "POST" {
				seen.Add(1)
				return
			}
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})))
	client := e.client(t, false)
	for i, header := range []string{"X-None", "Idempotency-Key", "X-Idempotency-Key"} {
		for _, body := range []string{"", "body"} {
			get(t, client, "/") // leaves a connection that is used again
			request, _ := http.NewRequestWithContext(t.Context(), "POST", "https://"+testHost, strings.NewReader(body))
			request.Header.Set(header, "1")
			before := seen.Load()
			response, _ := do(t, client, request)
			if sent := seen.Load() - before; response.StatusCode != 502 || sent != 1 {
				t.Errorf("%d %s %q: answered %d after it was sent %d times", i, header, body, response.StatusCode, sent)
			}
		}
	}
}

func TestAClientThatLeavesEndsTheExchange(t *testing.T) {
	e := startEdge(t)
	began, gone := make(chan struct{}), make(chan struct{})
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	})))
	both(t, func(t *testing.T, http2 bool) {
		ctx, cancel := context.WithCancel(t.Context())
		request, _ := http.NewRequestWithContext(ctx, "GET", "https://"+testHost, nil)
		go func() {
			<-began
			cancel()
		}()
		if _, err := e.client(t, http2).Do(request); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		<-gone
	})
	eventually(t, "nothing to be open", func() bool { return e.control.load("web-1-a").Requests == 0 })
}

func TestAPanicIsThatRequestsFailureOnly(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })))
	inner := &edge{options: Options{Logger: testLogger()}, bell: newBell(), log: newAccessLog(t.TempDir(), testLogger())}
	inner.router = newRouter(inner.bell, testLogger())
	server := serveInstance(t, "x", func(w http.ResponseWriter, r *http.Request) {
		x := newExchange(w, r, newClock())
		defer inner.finish(x)
		panic("a fault")
	})
	response, err := http.Get("http://" + server.Address)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != 502 {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestBadRequestsAreRefusedAndHarmNobody(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })))
	for request, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":              "400",
		"rubbish\r\n\r\n":                     "400",
		"GET / HTTP/1.1\r\nHost: a b\r\n\r\n": "400",
		"GET / HTTP/1.1\r\nHost: demo.localhost\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n": "431",
		"CONNECT demo.localhost:443 HTTP/1.1\r\nHost: demo.localhost:443\r\n\r\n":                  "501",
		"GET / HTTP/1.0\r\n\r\n": "404",
		"POST / HTTP/1.1\r\nHost: demo.localhost\r\nContent-Length: -1\r\n\r\n":     "400",
		"POST / HTTP/1.1\r\nHost: demo.localhost\r\nTransfer-Encoding: odd\r\n\r\n": "501",
		"GET / HTTP/1.1\r\nHost: demo.localhost\r\nExpect: wonders\r\n\r\n":         "417",
		"GET http://demo.localhost/x HTTP/1.1\r\nHost: demo.localhost\r\n\r\n":      "200",
		"OPTIONS * HTTP/1.1\r\nHost: demo.localhost\r\n\r\n":                        "200",
		"OPTIONS / HTTP/1.1\r\nHost: demo.localhost\r\nMax-Forwards: 0\r\n\r\n":     "204",
		"TRACE / HTTP/1.1\r\nHost: demo.localhost\r\nMax-Forwards: 0\r\n\r\n":       "501",
		"OPTIONS / HTTP/1.1\r\nHost: demo.localhost\r\nMax-Forwards: 1x\r\n\r\n":    "400",
		"GET / HTTP/1.1\r\nHost: demo.localhost\r\nMax-Forwards: 0\r\n\r\n":         "200",
		"GET / HTTP/1.0\r\nHost: demo.localhost\r\n\r\n":                            "200",
	} {
		conn := e.dial(t)
		io.WriteString(conn, request)
		line, _ := bufio.NewReader(conn).ReadString('\n')
		if fields := strings.Fields(line); len(fields) < 2 || fields[1] != want {
			t.Errorf("%.60q became %q, want %s", request, line, want)
		}
	}
	if _, body := get(t, e.client(t, true), "/"); body != "fine" {
		t.Errorf("got %q", body)
	}
	conn := e.dial(t)
	io.WriteString(conn, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\nGET / HTTP/1.1\r\nHost: demo.localhost\r\n\r\n")
	if answers, _ := io.ReadAll(conn); strings.Count(string(answers), "HTTP/1.1 ") != 1 {
		t.Errorf("what was meant for a tunnel is taken for a request: %q", answers)
	}
}
