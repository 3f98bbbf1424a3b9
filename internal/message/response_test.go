package message

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"
)

func parseResponse(data []byte, method string) (head *ResponseHead, rest []byte, err error) {
	end, err := HeadEnd(data, 0)
	if err != nil || end == 0 {
		return nil, nil, err
	}
	head = new(ResponseHead)
	return head, data[end:], head.Parse(data[:end], method)
}

func TestAnAnswersBodyIsDelimitedByOneRule(t *testing.T) {
	for _, c := range []struct {
		method, head string
		length       int64
		persistent   bool
	}{
		{"GET", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", 7, true},
		{"GET", "HTTP/1.1 200\r\nContent-Length: 7\r\nConnection: close\r\n", 7, false},
		{"GET", "HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n", Chunked, true},
		{"GET", "HTTP/1.1 404 Not there\r\n", UntilClose, false},
		{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", UntilClose, false},
		{"GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n", 1, true},
		{"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", 0, true},
		{"HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", 0, true},
		{"GET", "HTTP/1.1 204 No Content\r\n", 0, true},
		{"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n", 0, true},
		{"GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n", 0, true},
	} {
		head, _, err := parseResponse([]byte(c.head+"\r\n"), c.method)
		if err != nil || head.Length != c.length || head.Persistent != c.persistent {
			t.Errorf("%s %q: %+v, %v", c.method, c.head, head, err)
		}
	}
}

func TestAnAnswerWithoutOneMeaningIsRefused(t *testing.T) {
	for _, head := range []string{
		"rubbish\r\n", "HTTP/1.1\r\n", "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 Odd\r\n", "HTTP/1.1 600 Odd\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/1.2 200 OK\r\n", "HTTP/1.1  200 OK\r\n",
		"HTTP/1.1 +20 OK\r\n", "HTTP/1.1 200 O\x00K\r\n", "HTTP/1.1 200 OK\nX: y\r\n", "HTTP/1.1 200 OK\r\nX : y\r\n", "HTTP/1.1 200 OK\r\n X: y\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
	} {
		if got, _, err := parseResponse([]byte(head+"\r\n"), "GET"); err == nil {
			t.Errorf("%q became %+v", head, got)
		}
	}
}

// FuzzResponse compares with net/http, as [FuzzRequest] does.
func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1"), false)
	f.Add([]byte("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\nrest"), false)
	f.Add([]byte("HTTP/1.0 304 Not Modified\r\nConnection: keep-alive\r\n\r\n"), true)
	f.Fuzz(func(t *testing.T, data []byte, toHead bool) {
		method := http.MethodGet
		if toHead {
			method = http.MethodHead
		}
		head, rest, err := parseResponse(data, method)
		if err != nil || head == nil {
			return
		}
		reader := bufio.NewReader(bytes.NewReader(data))
		theirs, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			return
		}
		defer theirs.Body.Close()
		if theirs.StatusCode != head.Status || theirs.ProtoMinor != head.Minor {
			t.Fatalf("%q: we read %+v, net/http %+v", data, head, theirs)
		}
		compareFields(t, head.Fields, theirs.Header)
		if head.Length == UntilClose || theirs.StatusCode < 200 {
			return
		}
		body, rest, ok := readBody(head.Length, rest)
		if !ok {
			return
		}
		their, err := io.ReadAll(theirs.Body)
		left, _ := io.ReadAll(reader)
		if err != nil || !bytes.Equal(body, their) || !bytes.Equal(rest, left) {
			t.Fatalf("%q: the body is %q or %q (%v), then comes %q or %q", data, body, their, err, rest, left)
		}
	})
}
