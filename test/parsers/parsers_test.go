// Package parsers compares how the edge reads requests with how others do. What
// the edge accepts it passes on, so whoever stands in front of it or behind it has
// to read the same: another meaning is how requests are smuggled. What another
// one refuses is none. It is a module of its own since what it compares with is
// nothing that the platform needs.
package parsers

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/springtide/springtide/internal/message"
)

// read is what a parser takes the front of a stream for.
type read struct {
	method, target, host, body string
	rest                       string // what is behind it
}

// edge reads as the edge does.
func edge(data []byte) (read, bool) {
	for bytes.HasPrefix(data, []byte("\r\n")) {
		data = data[2:]
	}
	end, err := message.HeadEnd(data, 0)
	var head message.RequestHead
	if err != nil || end == 0 || head.Parse(data[:end:end]) != nil {
		return read{}, false
	}
	r := read{method: head.Method, target: head.Target, host: head.Host}
	rest := data[end:]
	if head.Length != message.Chunked {
		if int64(len(rest)) < head.Length {
			return read{}, false
		}
		r.body, r.rest = string(rest[:head.Length]), string(rest[head.Length:])
		return r, true
	}
	var chunks message.Chunks
	for !chunks.Done {
		piece, used, err := chunks.Next(rest)
		if err != nil || used == 0 && !chunks.Done {
			return read{}, false
		}
		r.body += string(piece)
		rest = rest[used:]
	}
	r.rest = string(rest)
	return r, true
}

// standard reads as net/http does.
func standard(data []byte) (read, bool) {
	reader := bufio.NewReader(bytes.NewReader(data))
	request, err := http.ReadRequest(reader)
	if err != nil {
		return read{}, false
	}
	body, err := io.ReadAll(request.Body)
	rest, _ := io.ReadAll(reader)
	return read{request.Method, request.RequestURI, strings.ToLower(request.Host), string(body), string(rest)}, err == nil
}

// fast reads as fasthttp does.
func fast(data []byte) (read, bool) {
	reader := bufio.NewReader(bytes.NewReader(data))
	var request fasthttp.Request
	if request.Read(reader) != nil {
		return read{}, false
	}
	rest, _ := io.ReadAll(reader)
	return read{string(request.Header.Method()), string(request.Header.RequestURI()), strings.ToLower(string(request.Header.Host())), string(request.Body()), string(rest)}, true
}

func FuzzWhatTheEdgeAcceptsOthersReadAlike(f *testing.F) {
	for _, seed := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabcGET",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0000000000000003\r\nabc\r\n0\r\n\r\n",
		"PUT http://A:80/x HTTP/1.1\r\nHost: a:80\r\nContent-Length: 0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\nGET /%41 HTTP/1.0\r\nX:\t y \r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, ok := edge(data)
		if !ok || ours.method == http.MethodConnect {
			return
		}
		if theirs, ok := standard(data); ok && !alike(ours, theirs) {
			t.Errorf("%q is %+v to us, and to net/http %+v", data, ours, theirs)
		}
		// fasthttp leaves the body of a GET or a HEAD for the next request's head: no
		// other server does.
		if ours.body != "" && (ours.method == http.MethodGet || ours.method == http.MethodHead) {
			return
		}
		if theirs, ok := fast(data); ok && !alike(ours, theirs) {
			t.Errorf("%q is %+v to us, and to fasthttp %+v", data, ours, theirs)
		}
	})
}

// alike compares two readings. A target may have the host in it, of which the edge
// passes on what is behind.
func alike(ours, theirs read) bool {
	if scheme, behind, absolute := strings.Cut(theirs.target, "://"); absolute && !strings.Contains(scheme, "/") {
		end := len(behind)
		if i := strings.IndexAny(behind, "/?"); i >= 0 {
			end = i
		}
		theirs.host, theirs.target = strings.ToLower(behind[:end]), "/"+strings.TrimPrefix(behind[end:], "/")
	}
	return ours == theirs
}
