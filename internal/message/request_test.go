package message

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"
)

// parse reads the head at the front of data.
func parse(data []byte) (head *RequestHead, rest []byte, err error) {
	end, err := HeadEnd(data, 0)
	if err != nil || end == 0 {
		return nil, nil, err
	}
	head = new(RequestHead)
	return head, data[end:], head.Parse(data[:end])
}

func TestARequestIsReadAsItWasWritten(t *testing.T) {
	head, rest, err := parse([]byte("POST /a%20b?c=d HTTP/1.1\r\nhost: Shop.Example:8080\r\nX-Empty:\r\nX-Two:  a\tb \t\r\nX-Two: ü\r\nContent-Length: 3\r\nConnection: keep-alive, X-Mine\r\nExpect: 100-Continue\r\n\r\nabcGET"))
	if err != nil {
		t.Fatal(err)
	}
	if head.Method != "POST" || head.Target != "/a%20b?c=d" || head.Host != "shop.example:8080" || head.Minor != 1 {
		t.Errorf("read %+v", head)
	}
	if head.Length != 3 || !head.Persistent || !head.Continue || !slices.Equal(head.Options, []string{"X-Mine"}) || string(rest) != "abcGET" {
		t.Errorf("read %+v, then %q", head, rest)
	}
	if two := slices.Collect(head.Fields.All("x-two")); !slices.Equal(two, []string{"a\tb", "ü"}) || !head.Fields.Has("X-EMPTY") || len(head.Fields) != 7 {
		t.Errorf("the fields are %q", head.Fields)
	}
}

func TestTheFormsOfATarget(t *testing.T) {
	for line, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a":                                  "a /",
		"GET //b/../c? HTTP/1.1\r\nHost: a":                          "a //b/../c?",
		"GET /|\xc3\xbc HTTP/1.1\r\nHost: a":                         "a /|\xc3\xbc",
		"GET http://A.b:80/x?y HTTP/1.1\r\nHost: a.B:80":             "a.b:80 /x?y",
		"GET HTTPS://a?y HTTP/1.1\r\nHost: a":                        "a /?y",
		"GET http://a HTTP/1.1\r\nHost: a":                           "a /",
		"GET http://a HTTP/1.0":                                      "a /",
		"OPTIONS http://a HTTP/1.1\r\nHost: a":                       "a *",
		"OPTIONS * HTTP/1.1\r\nHost: a":                              "a *",
		"CONNECT a:443 HTTP/1.1\r\nHost: a:443":                      "a:443 ",
		"GET / HTTP/1.0":                                             " /",
		"GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443":                 "[2001:db8::1]:8443 /",
		"GET / HTTP/1.1\r\nHost: [::ffff:192.0.2.1]":                 "[::ffff:192.0.2.1] /",
		"GET / HTTP/1.1\r\nHost: under_score.example.":               "under_score.example. /",
		"GET /?a=%zz;b HTTP/1.1\r\nHost: a":                          "a /?a=%zz;b",
		"M-SEARCH / HTTP/1.1\r\nHost: a\r\nExpect:\r\nConnection: ,": "a /",
	} {
		head, _, err := parse([]byte(line + "\r\n\r\n"))
		if err != nil {
			t.Errorf("%q: %v", line, err)
		} else if got := head.Host + " " + head.Target; got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestWhatHasNoOneMeaningIsRefused(t *testing.T) {
	const ok = " HTTP/1.1\r\nHost: a\r\n"
	for status, heads := range map[int][]string{
		400: {
			"rubbish\r\n", " / HTTP/1.1\r\nHost: a\r\n", "GET\r\n", "GET /\r\nHost: a\r\n", "GET  / HTTP/1.1\r\nHost: a\r\n", "GET /  HTTP/1.1\r\nHost: a\r\n",
			"GET / http/1.1\r\nHost: a\r\n", "GET / HTTP/1.1 \r\nHost: a\r\n", "GET / HTTP/1.10\r\nHost: a\r\n", "G\x00T /" + ok, "GE(T /" + ok, "GET x" + ok,
			"GET /a b" + ok, "GET /a\tb" + ok, "GET /\x7f" + ok, "GET /#x" + ok, "GET /%" + ok, "GET /%2" + ok, "GET /%zz" + ok, "GET *" + ok, "GET ftp://a/" + ok, "GET http:///" + ok, "GET a:80" + ok,
			"GET http://b/" + ok, "GET http://u@a/" + ok, "CONNECT /" + ok, "CONNECT a" + ok,
			"GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "GET / HTTP/1.1\r\nHost:\r\n", "GET / HTTP/1.1\r\nHost: a b\r\n", "GET / HTTP/1.1\r\nHost: a/b\r\n",
			"GET / HTTP/1.1\r\nHost: u@a\r\n", "GET / HTTP/1.1\r\nHost: a:b\r\n", "GET / HTTP/1.1\r\nHost: :80\r\n", "GET / HTTP/1.1\r\nHost: [::1\r\n", "GET / HTTP/1.1\r\nHost: [::1]x\r\n",
			"GET / HTTP/1.1\r\nHost: a,b\r\n", "GET / HTTP/1.1\r\nHost: ü\r\n", "GET / HTTP/1.1\r\nHost: a:123456\r\n", "GET / HTTP/1.1\r\nHost: [x]\r\n",
			"GET /" + ok + " folded\r\n", "GET /" + ok + "X : 1\r\n", "GET /" + ok + "X\t: 1\r\n", "GET /" + ok + ": 1\r\n", "GET /" + ok + "X\r\n", "GET /" + ok + "X y: 1\r\n",
			"GET /" + ok + "X: a\x00b\r\n", "GET /" + ok + "X: a\rb\r\n", "GET /" + ok + "X: a\nb: c\r\n", "GET /" + ok + "X: aaaaaaa\x7f\r\n", "GET / HTTP/1.1\nHost: a\r\n",
			"POST /" + ok + "Content-Length: -1\r\n", "POST /" + ok + "Content-Length: +1\r\n", "POST /" + ok + "Content-Length: 0x1\r\n", "POST /" + ok + "Content-Length:\r\n",
			"POST /" + ok + "Content-Length: 1, 2\r\n", "POST /" + ok + "Content-Length: 1\r\nContent-Length: 2\r\n", "POST /" + ok + "Content-Length: 1 1\r\n", "POST /" + ok + "Content-Length: 9999999999999999999\r\n",
			"POST /" + ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "POST /" + ok + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
			"POST /" + ok + "Transfer-Encoding: chunked, chunked\r\n", "POST /" + ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "POST /" + ok + "Transfer-Encoding: chunked, identity\r\n",
			"POST /" + ok + "Transfer-Encoding: chunked,\r\n", "POST /" + ok + "Transfer-Encoding:\r\n", "POST /" + ok + "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
			"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
		},
		414: {"GET /" + strings.Repeat("x", TargetLimit) + ok, "GET /" + strings.Repeat("x", HeadLimit)},
		417: {"POST /" + ok + "Expect: wonders\r\nContent-Length: 1\r\n"},
		431: {"GET /" + ok + "X: " + strings.Repeat("x", HeadLimit) + "\r\n", "GET /" + ok + strings.Repeat("X: y\r\n", FieldLimit)},
		501: {"POST /" + ok + "Transfer-Encoding: gzip\r\n", "POST /" + ok + "Transfer-Encoding: xchunked\r\n", "POST /" + ok + "Transfer-Encoding: gzip, chunked\r\n", strings.Repeat("X", methodLimit+1) + " /" + ok},
		505: {"GET / HTTP/2.0\r\nHost: a\r\n", "GET / HTTP/1.2\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n"},
	} {
		for _, head := range heads {
			_, _, err := parse([]byte(head + "\r\n"))
			if refused, ok := errors.AsType[*Error](err); !ok || refused.Status != status {
				t.Errorf("%.80q: %v, want %d", head, err, status)
			}
		}
	}
}

func TestALengthThatIsRepeatedIsOne(t *testing.T) {
	head, _, err := parse([]byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\nContent-Length: 05\r\n\r\n"))
	if err != nil || head.Length != 5 {
		t.Errorf("read %+v, %v", head, err)
	}
}

func TestAConnectionIsKeptAsItsVersionSays(t *testing.T) {
	for head, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: a\r\n":                                                   true,
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: X, Close\r\n":                           false,
		"GET / HTTP/1.0\r\n":                                                              false,
		"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n":                                    true,
		"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n":               false,
		"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\nExpect: 100-continue\r\n": false,
	} {
		if r, _, err := parse([]byte(head + "\r\n")); err != nil || r.Persistent != want || r.Upgrade != "" || r.Continue {
			t.Errorf("%q: %+v, %v", head, r, err)
		}
	}
}

func TestTheEndOfAHeadIsFoundHoweverItArrives(t *testing.T) {
	head := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\nmore")
	for cut := 1; cut < len(head); cut++ {
		early, err := HeadEnd(head[:cut], 0)
		if err != nil || (early > 0) != (cut >= len(head)-4) {
			t.Errorf("after %d bytes: %d, %v", cut, early, err)
		}
		if end, err := HeadEnd(head, cut); cut < len(head)-4 && (err != nil || end != len(head)-4) {
			t.Errorf("going on from %d: %d, %v", cut, end, err)
		}
	}
}

func TestReadingARequestAllocatesNothing(t *testing.T) {
	data := []byte(browserRequest)
	var head RequestHead
	if n := testing.AllocsPerRun(100, func() {
		end, err := HeadEnd(data, 0)
		if err == nil {
			err = head.Parse(data[:end])
		}
		if err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

const browserRequest = "GET /assets/app.js?v=3 HTTP/1.1\r\nHost: shop.example.com\r\nConnection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\r\n"

func BenchmarkParse(b *testing.B) {
	data := []byte(browserRequest)
	var head RequestHead
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		end, _ := HeadEnd(data, 0)
		if err := head.Parse(data[:end]); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzRequest compares with net/http. Where both take a request they agree on
// what it is and on where the next one begins. We are stricter in this: lines
// end with CR LF, values are not folded, Host is there once and is a name, a
// target in absolute form is of that host, Content-Length and Transfer-Encoding
// are not both there, versions are 1.0 and 1.1, an encoded path is proper, there
// is no fragment, HTTP/1.0 has no Transfer-Encoding.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(browserRequest))
	f.Add([]byte("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n"))
	f.Add([]byte("POST http://a/x HTTP/1.1\r\nHost: A\r\nContent-Length: 3,3\r\nConnection: close\r\n\r\nabcd"))
	f.Add([]byte("OPTIONS * HTTP/1.0\r\nPragma: no-cache\r\nX: \xff\r\n\r\n"))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= HeadLimit {
			return
		}
		head, rest, err := parse(data)
		if err != nil || head == nil {
			return
		}
		reader := bufio.NewReader(bytes.NewReader(data))
		theirs, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if theirs.Method != head.Method || theirs.ProtoMinor != head.Minor || theirs.ContentLength != head.Length || theirs.Close == head.Persistent ||
			!strings.EqualFold(theirs.Host, head.Host) && head.Method != "CONNECT" {
			t.Fatalf("%q: we read %+v, net/http %+v", data, head, theirs)
		}
		if theirs.RequestURI != head.Target && (theirs.RequestURI[0] == '/' || theirs.RequestURI[0] == '*') {
			t.Fatalf("%q: the target is %q or %q", data, head.Target, theirs.RequestURI)
		}
		compareFields(t, head.Fields, theirs.Header)
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

// compareFields compares but what net/http takes out of a header.
func compareFields(t *testing.T, ours Fields, theirs http.Header) {
	t.Helper()
	got := http.Header{}
	for _, field := range ours {
		got.Add(textproto.CanonicalMIMEHeaderKey(field.Name), field.Value)
	}
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Trailer"} {
		got.Del(name)
		theirs.Del(name)
	}
	if got.Get("Pragma") != "" { // net/http adds a field for it
		got.Del("Cache-Control")
		theirs.Del("Cache-Control")
	}
	if len(got) != len(theirs) {
		t.Fatalf("the fields are %q or %q", got, theirs)
	}
	for name, values := range got {
		if !slices.Equal(values, theirs[name]) {
			t.Fatalf("%s is %q or %q", name, values, theirs[name])
		}
	}
}

// readBody takes a body off data, if all of it is there.
func readBody(length int64, data []byte) (body, rest []byte, ok bool) {
	if length >= 0 {
		if int64(len(data)) < length {
			return nil, nil, false
		}
		return data[:length], data[length:], true
	}
	var chunks Chunks
	for !chunks.Done {
		piece, used, err := chunks.Next(data)
		if err != nil || used == 0 && len(data) == 0 {
			return nil, nil, false
		}
		body = append(body, piece...)
		data = data[used:]
	}
	return body, data, true
}
