package cache

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// RFC 9110, section 14; RFC 9111, section 3.3: parts of what is stored.
func TestRangesAreCutOutOfWhatIsStored(t *testing.T) {
	p := newProxy(t)
	modified := p.date(-time.Hour)
	p.serve(p.ok("0123456789", "Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: "+modified))
	p.get("/")
	for _, c := range []struct {
		asked        string
		status       int
		body, extent string
	}{
		{"Range: bytes=0-3", 206, "0123", "bytes 0-3/10"},
		{"Range: bytes=4-", 206, "456789", "bytes 4-9/10"},
		{"Range: bytes=-3", 206, "789", "bytes 7-9/10"},
		{"Range: bytes=-30", 206, "0123456789", "bytes 0-9/10"},
		{"Range: bytes=5-500", 206, "56789", "bytes 5-9/10"},
		{"Range: bytes=5-99999999999999999999999", 206, "56789", "bytes 5-9/10"},
		{"Range: BYTES=5-5", 206, "5", "bytes 5-5/10"},
		{"Range: bytes=10-", 416, "", "bytes */10"},
		{"Range: bytes=-0", 416, "", "bytes */10"},
		{"Range: bytes=5-4", 200, "0123456789", ""},
		{"Range: bytes=a-b", 200, "0123456789", ""},
		{"Range: bytes=", 200, "0123456789", ""},
		{"Range: bytes=-", 200, "0123456789", ""},
		{"Range: lines=1-2", 200, "0123456789", ""},
		{"Range: bytes=0-9,0-9,0-9", 200, "0123456789", ""},
		{`Range: bytes=0-3|If-Range: "a"`, 206, "0123", "bytes 0-3/10"},
		{`Range: bytes=0-3|If-Range: W/"a"`, 200, "0123456789", ""},
		{`Range: bytes=0-3|If-Range: "b"`, 200, "0123456789", ""},
		{"Range: bytes=0-3|If-Range: " + modified, 206, "0123", "bytes 0-3/10"},
		{"Range: bytes=0-3|If-Range: " + p.date(0), 200, "0123456789", ""},
		{`Range: bytes=0-3|If-None-Match: "a"`, 304, "", ""},
		{`Range: bytes=0-3|If-None-Match: "b"`, 206, "0123", "bytes 0-3/10"},
	} {
		t.Run(c.asked, func(t *testing.T) {
			g := p.get("/", strings.Split(c.asked, "|")...)
			p.expect(g, c.status, c.body)
			if extent := g.fields.Get("Content-Range"); extent != c.extent {
				t.Errorf("Content-Range is %q", extent)
			}
			if length := g.fields.Get("Content-Length"); c.status != 304 && length != fmt.Sprint(len(c.body)) {
				t.Errorf("Content-Length is %q", length)
			}
			if c.status == 416 && (g.fields.Has("Cache-Control") || g.fields.Has("ETag")) {
				t.Errorf("another cache may store a 416 with %v", g.fields)
			}
			if c.status == 206 && !g.fields.Has("ETag") { // RFC 9110, section 15.3.7
				t.Error("the 206 has no ETag")
			}
		})
	}
	p.expect(p.do("HEAD", "/", "Range: bytes=0-3"), 200, "") // only GET has ranges
	p.expectForwarded(1)
}

// RFC 9110, section 14.6.
func TestSeveralRangesComeAsOneMultipart(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("0123456789", "Cache-Control: max-age=60", "Content-Type: text/plain"))
	p.get("/")
	g := p.get("/", "Range: bytes=0-1, 4-5,-1")
	kind, parameters, err := mime.ParseMediaType(g.fields.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" || g.status != 206 || g.fields.Has("Content-Range") || g.fields.Get("Content-Length") != fmt.Sprint(len(g.body)) {
		t.Fatalf("got %d %v", g.status, g.fields)
	}
	var parts []string
	for reader := multipart.NewReader(strings.NewReader(g.body), parameters["boundary"]); ; {
		part, err := reader.NextPart()
		if err == io.EOF {
			break
		}
		body, readErr := io.ReadAll(part)
		if err != nil || readErr != nil {
			t.Fatal(err, readErr)
		}
		parts = append(parts, part.Header.Get("Content-Range")+"="+string(body)+" "+part.Header.Get("Content-Type"))
	}
	want := []string{"bytes 0-1/10=01 text/plain", "bytes 4-5/10=45 text/plain", "bytes 9-9/10=9 text/plain"}
	if strings.Join(parts, ";") != strings.Join(want, ";") {
		t.Errorf("parts are %q", parts)
	}
}

// text gives a body in which each position can be told.
func text(length int) string {
	b := make([]byte, 0, length+8)
	for len(b) < length {
		digits := []byte("0000000\n")
		for at, rest := 6, len(b); rest > 0 && at >= 0; at, rest = at-1, rest/10 {
			digits[at] = byte('0' + rest%10)
		}
		b = append(b, digits...)
	}
	return string(b[:length])
}

// file is an origin that serves a body by ranges, as a server of files does.
func (p *proxy) file(body string, lines ...string) func(*message.Request) reply {
	return func(r *message.Request) reply {
		whole := p.ok(body, lines...)
		if tag := r.Fields.Get("If-None-Match"); tag != "" && tag == whole.fields.Get("ETag") {
			return reply{status: 304, fields: whole.fields}
		}
		specs, ok := parseRange(r.Fields.Get("Range"))
		condition := r.Fields.Get("If-Range")
		if !ok || condition != "" && condition != whole.fields.Get("ETag") && condition != whole.fields.Get("Last-Modified") {
			return whole
		}
		parts := resolve(specs, int64(len(body)))
		if len(parts) != 1 {
			return reply{status: 416, fields: pairs(fmt.Sprintf("Content-Range: bytes */%d", len(body)))}
		}
		part := parts[0]
		whole.status, whole.body = 206, body[part.from:part.to]
		whole.fields = append(whole.fields, message.Field{Name: "Content-Range", Value: string(appendContentRange(nil, part, int64(len(body))))})
		return whole
	}
}

const big = 5*sliceSize + 1234

func TestALargeBodyIsKeptInSlices(t *testing.T) {
	for _, lines := range [][]string{
		{"Cache-Control: max-age=60", `ETag: "a"`},
		{"Cache-Control: max-age=60", `ETag: W/"a"`},
		{"Cache-Control: max-age=60"},
	} {
		p := newProxy(t)
		body := text(big)
		p.origin = p.file(body, lines...)
		p.expect(p.get("/"), 200, body)
		p.expect(p.get("/"), 200, body)
		p.expect(p.get("/", "Range: bytes=1048570-2097200"), 206, body[1048570:2097201])
		p.expect(p.get("/", "Range: bytes=-5"), 206, body[big-5:])
		p.expect(p.do("HEAD", "/"), 200, "")
		g := p.get("/", "Range: bytes=0-1,2000000-2000001")
		if !strings.Contains(g.body, "\r\n\r\n"+body[2000000:2000002]+"\r\n") {
			t.Errorf("several ranges are %q", g.body)
		}
		p.expectForwarded(1)
	}
}

func TestALargeBodyOfUnknownLengthIsKeptToo(t *testing.T) {
	p := newProxy(t)
	body := text(big)
	r := p.ok(body, "Cache-Control: max-age=60", `ETag: "a"`)
	r.chunked = true
	p.serve(r)
	p.expect(p.get("/"), 200, body)
	p.expect(p.get("/"), 200, body)
	p.expect(p.get("/", "Range: bytes=3000000-3000009"), 206, body[3000000:3000010])
	p.expectForwarded(1)
}

// RFC 9111, section 3.4: parts are combined.
func TestOnlyTheSlicesThatARangeNeedsAreFetched(t *testing.T) {
	p := newProxy(t)
	body := text(big)
	p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
	g := p.get("/", "Range: bytes=2500000-2500009")
	p.expect(g, 206, body[2500000:2500010])
	if g.fields.Get("Content-Range") != fmt.Sprintf("bytes 2500000-2500009/%d", big) {
		t.Errorf("fields are %v", g.fields)
	}
	if seen := p.expectForwarded(1); seen[0].Fields.Get("Range") != "bytes=2097152-3145727" {
		t.Errorf("fetched was %v", seen[0].Fields)
	}
	p.expect(p.get("/", "Range: bytes=2097152-2097159"), 206, body[2097152:2097160])
	p.expectForwarded(0)
	// What is there is not fetched again, and what is missing in one piece.
	p.expect(p.get("/", "Range: bytes=1048576-5242000"), 206, body[1048576:5242001])
	seen := p.expectForwarded(2)
	if len(seen) == 2 && (seen[0].Fields.Get("Range") != "bytes=1048576-2097151" || seen[0].Fields.Get("If-Range") != `"a"` ||
		seen[1].Fields.Get("Range") != "bytes=3145728-5242879") {
		t.Errorf("fetched was %v", seen)
	}
	p.expect(p.get("/"), 200, body)
	p.expectForwarded(2)
	p.expect(p.get("/"), 200, body)
	p.expectForwarded(0)
}

func TestALargeBodyThatBrokeOffIsCompletedFromWhereItDid(t *testing.T) {
	p := newProxy(t)
	body := text(big)
	r := p.ok(body, "Cache-Control: max-age=60", `ETag: "a"`)
	r.short = 3*sliceSize + 5
	p.serve(r)
	if g := p.get("/"); !g.broken {
		t.Error("the client does not see that the body broke off")
	}
	p.forwarded()
	p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
	p.expect(p.get("/"), 200, body)
	if seen := p.expectForwarded(1); seen[0].Fields.Get("Range") != fmt.Sprintf("bytes=%d-%d", 3*sliceSize, big-1) {
		t.Errorf("fetched was %v", seen[0].Fields)
	}
}

func TestPartsOfDifferentBodiesAreNeverCombined(t *testing.T) {
	p := newProxy(t)
	old, changed := text(big), strings.ReplaceAll(text(big), "0", "x")
	p.origin = p.file(old, "Cache-Control: max-age=60", `ETag: "a"`)
	p.get("/", "Range: bytes=0-9")
	p.origin = p.file(changed, "Cache-Control: max-age=60", `ETag: "b"`)
	// The first slice is sent already when it is seen that the rest is another's.
	if g := p.get("/"); !g.broken || strings.Contains(g.body, "x") {
		t.Errorf("two bodies were combined")
	}
	p.expect(p.get("/"), 200, changed)
	p.forwarded()
	// Nothing is sent yet: the new one is.
	p.origin = p.file(old, "Cache-Control: max-age=60", `ETag: "a"`)
	p.get("/2", "Range: bytes=0-9")
	p.origin = p.file(changed, "Cache-Control: max-age=60", `ETag: "b"`)
	p.expect(p.get("/2", "Range: bytes=3000000-3000009"), 206, changed[3000000:3000010])
	p.expect(p.get("/2"), 200, changed)
}

func TestASmallBodyThatARangeWasAskedOfIsFetchedWhole(t *testing.T) {
	p := newProxy(t)
	p.origin = p.file("0123456789", "Cache-Control: max-age=60", `ETag: "a"`)
	p.expect(p.get("/", "Range: bytes=2-3"), 206, "23")
	p.expect(p.get("/"), 200, "0123456789")
	p.expectForwarded(1)
}

func TestAnOriginWithoutRangesHasThemAllTheSame(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("0123456789", "Cache-Control: max-age=60"))
	p.expect(p.get("/", "Range: bytes=2-3"), 206, "23")
	p.expect(p.get("/", "Range: bytes=4-5"), 206, "45")
	p.expectForwarded(1)
}

func TestRangesThatCannotBeAlignedGoToTheOrigin(t *testing.T) {
	for _, asked := range []string{"bytes=-3", "bytes=0-1,3-4", "lines=1-2"} {
		p := newProxy(t)
		p.origin = p.file("0123456789", "Cache-Control: max-age=60", `ETag: "a"`)
		p.get("/", "Range: "+asked)
		if seen := p.expectForwarded(1); seen[0].Fields.Get("Range") != asked {
			t.Errorf("forwarded was %v", seen[0].Fields)
		}
	}
	p := newProxy(t)
	p.origin = p.file("0123456789", "Cache-Control: max-age=60", `ETag: "a"`)
	g := p.get("/", "Range: bytes=20-30")
	if p.expect(g, 416, ""); g.fields.Has("Cache-Control") || g.fields.Get("Content-Range") != "bytes */10" {
		t.Errorf("the 416 has %v", g.fields)
	}
	p.origin = p.file(text(big), "Cache-Control: no-store", `ETag: "a"`)
	p.expect(p.get("/2", "Range: bytes=20-30"), 206, text(big)[20:31])
	p.expect(p.get("/2", "Range: bytes=20-30"), 206, text(big)[20:31])
	p.expectForwarded(3)
}

func TestALargeBodyThatIsStaleIsValidated(t *testing.T) {
	p := newProxy(t)
	body := text(big)
	p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
	p.get("/")
	p.forwarded()
	p.wait(61 * time.Second)
	p.expect(p.get("/", "Range: bytes=3000000-3000009"), 206, body[3000000:3000010])
	seen := p.expectForwarded(1)
	if seen[0].Fields.Has("Range") || seen[0].Fields.Get("If-None-Match") != `"a"` {
		t.Errorf("forwarded was %v", seen[0].Fields)
	}
	p.expect(p.get("/"), 200, body)
	p.expectForwarded(0)
}

func TestTheSliceThatAnAnswerBeginsWithIsNotEvictedOnceTheHeadIsSent(t *testing.T) {
	p := newProxy(t)
	body := strings.Repeat("x", 2*sliceSize)
	p.serve(p.ok(body, "Cache-Control: max-age=60", `ETag: "a"`))
	p.get("/")
	request := &message.Request{Method: "GET", Scheme: "https", Host: "shop.example", Target: "/"}
	answer := p.cache.Lookup(p.clock(), request, p.rules, 0).Answer
	p.cache.removeSlice(answer.Body.entry.object, 0)
	p.serve(p.ok("another", "Cache-Control: max-age=60", `ETag: "b"`))
	if got, broken := p.read(&answer.Body); broken || got != body {
		t.Errorf("%d bytes of %d were sent", len(got), len(body))
	}
}

func TestWhatIsStaleAndNotWholeIsNotSent(t *testing.T) {
	for name, now := range map[string]func(*proxy) (reply, int, string){
		"the app has another":  func(p *proxy) (reply, int, string) { return p.ok("another", `ETag: "b"`), 200, "another" },
		"the app says nothing": func(*proxy) (reply, int, string) { return reply{dead: true}, 502, "" },
		"the app fails":        func(*proxy) (reply, int, string) { return reply{status: 500, body: "sorry"}, 500, "sorry" },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			part := p.ok(strings.Repeat("x", 2*sliceSize), "Cache-Control: max-age=60, stale-while-revalidate=600, stale-if-error=600", `ETag: "a"`)
			part.short = sliceSize + 1
			p.serve(part)
			p.get("/")
			p.wait(61 * time.Second)
			answer, status, body := now(p)
			p.serve(answer)
			p.expect(p.get("/"), status, body)
		})
	}
}
