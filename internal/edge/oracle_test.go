package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// describe answers with what reached the instance, in the shape that the query
// asks for. Trailers of requests are left out: ReverseProxy loses them.
func describe(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var lines []string
	for name, values := range r.Header {
		if !isClaim(name) && name != "Connection" && name != "Expect" && name != "Content-Length" { // our own, or told below
			lines = append(lines, fmt.Sprintf("%s: %q", name, values))
		}
	}
	slices.Sort(lines)
	text := fmt.Sprintf("%s %s at %s, %d long\n%s\n%q", r.Method, r.RequestURI, strings.ToLower(r.Host), r.ContentLength, strings.Join(lines, "\n"), body)
	w.Header().Set("X-Answer", "yes")
	w.Header()["X-Twice"] = []string{"1", "2"}
	switch r.URL.RawQuery {
	case "chunked":
		io.WriteString(w, text[:10])
		http.NewResponseController(w).Flush()
		io.WriteString(w, text[10:])
	case "trailer":
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, text)
		w.Header().Set("X-Sum", "7")
	case "204":
		w.WriteHeader(http.StatusNoContent)
	case "304":
		w.Header().Set("ETag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	case "close":
		w.Header().Set("Connection", "close")
		io.WriteString(w, text)
	case "large":
		io.WriteString(w, strings.Repeat(text, 1+100_000/len(text)))
	default:
		io.WriteString(w, text)
	}
}

// oracle is a proxy that does all by net/http: what our path is compared with.
func oracle(t testing.TB, instance string) (address string) {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: instance})
			r.Out.Host, r.Out.URL.RawQuery = r.In.Host, r.In.URL.RawQuery // also if it cannot be parsed
			r.Out.URL.Opaque = ""
			if path, _, _ := strings.Cut(r.In.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") || path == "*" {
				r.Out.URL.Opaque = path
			}
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return server.Listener.Addr().String()
}

// requestsIn gives the methods of the requests that a stream begins with, if all
// of them are proper and whole.
func requestsIn(stream []byte) (methods []string, whole bool) {
	for len(stream) > 0 {
		var head message.RequestHead
		end, err := message.HeadEnd(stream, 0)
		if err != nil || end == 0 || head.Parse(stream[:end]) != nil || head.Host == "" { // net/http makes a host up
			return methods, false
		}
		stream = stream[end:]
		for chunks := (message.Chunks{}); head.Length == message.Chunked && !chunks.Done; {
			_, used, err := chunks.Next(stream)
			if err != nil || used == 0 {
				return methods, false
			}
			stream = stream[used:]
		}
		if head.Length > int64(len(stream)) {
			return methods, false
		}
		stream = stream[max(head.Length, 0):]
		methods = append(methods, strings.Clone(head.Method))
		if !head.Persistent {
			return methods, true
		}
	}
	return methods, true
}

// converse sends a stream of requests and describes the answers.
func converse(t testing.TB, address string, stream []byte, methods []string) (answers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	go conn.Write(stream)
	reader := bufio.NewReader(conn)
	for _, method := range methods {
		response, err := http.ReadResponse(reader, &http.Request{Method: method})
		for err == nil && response.StatusCode < 200 {
			response, err = http.ReadResponse(reader, &http.Request{Method: method})
		}
		if err != nil {
			return append(answers, "none")
		}
		body, err := io.ReadAll(response.Body)
		for _, name := range []string{"Date", "Connection", "X-Request-Id", "Content-Length", "X-Content-Type-Options", "Referrer-Policy"} {
			response.Header.Del(name)
		}
		answers = append(answers, fmt.Sprintf("%d %v %v %q %v", response.StatusCode, response.Header, response.Trailer, body, err))
		if response.Close {
			break
		}
	}
	return answers
}

var oracleStreams = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a%2Fb//c?chunked HTTP/1.1\r\nHost: A.example:80\r\nUser-Agent: x\r\nCookie: a=b\r\nCookie: c=d\r\nX-Empty:\r\n\r\n",
	"HEAD /?chunked HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET /?304 HTTP/1.1\r\nHost: a\r\n\r\nDELETE /?204 HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST /?chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET /?large HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nTE: trailers\r\n\r\n0\r\nX-T: v\r\n\r\nGET /?trailer HTTP/1.1\r\nHost: a\r\n\r\n",
	"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: X-Mine\r\nX-Mine: 1\r\nX-Yours: 2\r\nKeep-Alive: 5\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"GET /?close HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /?chunked HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
	"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx",
	"GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\nX-ODD /y HTTP/1.1\r\nHost: a\r\n\r\n",
}

func compareWithOracle(t *testing.T, ours, theirs string, stream []byte) {
	t.Helper()
	methods, whole := requestsIn(stream)
	if !whole || len(methods) == 0 || slices.Contains(methods, http.MethodConnect) {
		return
	}
	want := converse(t, theirs, stream, methods)
	if len(want) > 0 && (strings.HasPrefix(want[0], "400 ") || strings.HasPrefix(want[0], "501 ")) {
		return // net/http does not know what it is
	}
	if got := converse(t, ours, stream, methods); !slices.Equal(got, want) {
		t.Errorf("%q:\nwe answer %s\n net/http %s", stream, strings.Join(got, "\n          "), strings.Join(want, "\n          "))
	}
}

func TestWeAnswerAsNetHTTPDoes(t *testing.T) {
	instance := httptest.NewServer(http.HandlerFunc(describe))
	t.Cleanup(func() {
		instance.CloseClientConnections()
		instance.Close()
	})
	address := instance.Listener.Addr().String()
	ours, theirs := startPlain(t, address), oracle(t, address)
	for _, stream := range oracleStreams {
		compareWithOracle(t, ours, theirs, []byte(stream))
	}
}

// FuzzWeAnswerAsNetHTTPDoes sends the same requests through our path and through
// net/http's. It leaves alone what we refuse; see the parser's own comparison.
func FuzzWeAnswerAsNetHTTPDoes(f *testing.F) {
	instance := httptest.NewServer(http.HandlerFunc(describe))
	f.Cleanup(func() {
		instance.CloseClientConnections()
		instance.Close()
	})
	address := instance.Listener.Addr().String()
	ours, theirs := startPlain(f, address), oracle(f, address)
	for _, stream := range oracleStreams {
		f.Add([]byte(stream))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		if len(stream) < 16<<10 && !bytes.Contains(bytes.ToLower(stream), []byte("upgrade")) {
			compareWithOracle(t, ours, theirs, stream)
		}
	})
}
