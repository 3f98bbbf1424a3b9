package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// RFC 9111, section 4.3.1 and 4.3.4.
func TestWhatIsStaleIsValidatedAndFreshened(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`, "Last-Modified: "+p.date(-time.Hour), "X-Old: 1", "X-Both: 1", "Content-Type: text/a"))
	p.get("/")
	p.forwarded()
	p.wait(11 * time.Second)
	p.origin = func(r *message.Request) reply {
		if r.Fields.Get("If-None-Match") != `"a"` || r.Fields.Get("If-Modified-Since") == "" {
			t.Errorf("validated by %v", r.Fields)
		}
		return reply{status: 304, fields: pairs("Cache-Control: max-age=100", `ETag: "a"`, "Date: "+p.date(0), "X-Both: 2", "X-New: 2", "Content-Length: 0")}
	}
	g := p.get("/")
	p.expect(g, 200, "x")
	p.expectForwarded(1)
	if g.fields.Get("X-Old") != "1" || g.fields.Get("X-Both") != "2" || g.fields.Get("X-New") != "2" || g.fields.Get("Content-Length") != "1" {
		t.Errorf("fields are %v", g.fields)
	}
	if status := g.fields.Get("Cache-Status"); !strings.Contains(status, "fwd=stale; fwd-status=304") {
		t.Errorf("Cache-Status is %s", status)
	}
	p.wait(90 * time.Second)
	p.expect(p.get("/"), 200, "x")
	p.expectForwarded(0)
}

func TestA304ForSomethingElseIsNotUsed(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	p.forwarded()
	p.wait(11 * time.Second)
	p.origin = func(r *message.Request) reply {
		if r.Fields.Has("If-None-Match") {
			return reply{status: 304, fields: pairs(`ETag: "b"`)}
		}
		return p.ok("y", `ETag: "b"`)
	}
	p.expect(p.get("/"), 200, "y")
	p.expectForwarded(2)
}

// RFC 9111, sections 3.5 and 5.2.1.5.
func TestA304ThatMustNotBeStoredIsForTheOneWhoAskedAlone(t *testing.T) {
	for _, asked := range []string{"Cache-Control: no-store", "Authorization: x"} {
		for _, method := range []string{"GET", "HEAD"} {
			p := newProxy(t)
			p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
			p.get("/")
			p.wait(11 * time.Second)
			status := map[string]int{"GET": 304, "HEAD": 200}[method]
			p.serve(reply{status: status, fields: pairs("Cache-Control: max-age=10", `ETag: "a"`, "X-Yours: 1", "Date: "+p.date(0))})
			if g := p.do(method, "/", asked); g.status != 200 || g.fields.Get("X-Yours") != "1" {
				t.Errorf("%s with %s gets %d, %v", method, asked, g.status, g.fields)
			}
			p.forwarded()
			if g := p.get("/"); g.fields.Get("X-Yours") != "1" || len(p.forwarded()) != 1 {
				t.Errorf("%s with %s: others got %v without a request of their own", method, asked, g.fields)
			}
		}
	}
}

// RFC 9111, sections 3.2 and 4.1.
func TestA304MayChangeWhatAResponseVariesBy(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	p.wait(11 * time.Second)
	p.serve(reply{status: 304, fields: pairs("Cache-Control: max-age=10", `ETag: "a"`, "Vary: Foo", "Date: "+p.date(0))})
	p.expect(p.get("/", "Foo: 1"), 200, "x")
	p.expect(p.get("/", "Foo: 1"), 200, "x")
	p.serve(p.ok("y", "Cache-Control: max-age=10", "Vary: Foo"))
	p.expect(p.get("/", "Foo: 2"), 200, "y")
	p.expect(p.get("/", "Foo: 1"), 200, "x")
	p.expectForwarded(3)
}

// RFC 9111, section 4.3.3.
func TestANewResponseReplacesWhatWasValidated(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	p.wait(11 * time.Second)
	p.serve(p.ok("y", "Cache-Control: max-age=10", `ETag: "b"`))
	p.expect(p.get("/"), 200, "y")
	p.expect(p.get("/"), 200, "y")
	p.expectForwarded(2)
	p.wait(11 * time.Second)
	p.serve(p.ok("z", "Cache-Control: no-store"))
	p.expect(p.get("/"), 200, "z")
	p.serve(reply{dead: true})
	if g := p.get("/"); g.status != 502 {
		t.Errorf("what was replaced is served: %v", g)
	}
}

// RFC 9111, section 4.3.2; RFC 9110, section 13.
func TestAClientThatHasItIsToldSo(t *testing.T) {
	p := newProxy(t)
	modified := p.date(-time.Hour)
	p.serve(p.ok("x", "Cache-Control: max-age=60", `ETag: "a,b"`, "Last-Modified: "+modified, "Content-Type: text/plain", "Vary: Foo", "Expires: "+p.date(time.Hour), "Content-Location: /y"))
	for _, c := range []struct {
		name   string
		asked  []string
		status int
	}{
		{"the tag", []string{`If-None-Match: "a,b"`}, 304},
		{"weakly", []string{`If-None-Match: W/"a,b"`}, 304},
		{"among others", []string{`If-None-Match: "x", "a,b"`}, 304},
		{"any", []string{"If-None-Match: *"}, 304},
		{"another", []string{`If-None-Match: "a"`}, 200},
		{"another, whatever the date", []string{`If-None-Match: "a"`, "If-Modified-Since: " + modified}, 200},
		{"the date", []string{"If-Modified-Since: " + modified}, 304},
		{"a later date", []string{"If-Modified-Since: " + p.date(0)}, 304},
		{"an earlier date", []string{"If-Modified-Since: " + p.date(-2*time.Hour)}, 200},
		{"no date", []string{"If-Modified-Since: yesterday"}, 200},
	} {
		for _, when := range []string{"when it is fetched", "when it is stored"} {
			t.Run(c.name+" "+when, func(t *testing.T) {
				g := p.get("/"+strings.ReplaceAll(c.name, " ", "-"), c.asked...)
				if g.status != c.status || (g.body == "") != (c.status == 304) {
					t.Errorf("got %d %q", g.status, g.body)
				}
				if c.status == 304 {
					for _, name := range []string{"ETag", "Cache-Control", "Date", "Vary", "Expires", "Content-Location"} { // RFC 9110, section 15.4.5
						if !g.fields.Has(name) {
							t.Errorf("the 304 has no %s: %v", name, g.fields)
						}
					}
					if g.fields.Has("Content-Type") || g.fields.Has("Content-Length") {
						t.Errorf("the 304 describes a body: %v", g.fields)
					}
				}
			})
		}
	}
	p.expectForwarded(10)
	// Only the origin may evaluate these.
	p.get("/the-tag", `If-Match: "a,b"`)
	p.get("/the-tag", "If-Unmodified-Since: "+modified)
	p.expectForwarded(2)
}

// RFC 9111, section 4: HEAD from a stored GET; section 4.3.5.
func TestHEADIsAnsweredByAStoredGET(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("body", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	g := p.do("HEAD", "/")
	p.expect(g, 200, "")
	p.expectForwarded(1)
	if g.fields.Get("Content-Length") != "4" {
		t.Errorf("fields are %v", g.fields)
	}
}

func TestHEADFreshensOrForgetsAStoredGET(t *testing.T) {
	for _, c := range []struct {
		name, tag, length string
		kept              bool
	}{{"the same", `"a"`, "4", true}, {"another tag", `"b"`, "4", false}, {"another length", `"a"`, "5", false}} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("body", "Cache-Control: max-age=10", `ETag: "a"`))
			p.get("/")
			p.wait(5 * time.Second)
			p.serve(reply{status: 200, fields: pairs("Cache-Control: max-age=10", "ETag: "+c.tag, "Content-Length: "+c.length, "Date: "+p.date(0))})
			p.do("HEAD", "/", "Cache-Control: no-cache")
			p.forwarded()
			p.wait(7 * time.Second)
			p.serve(p.ok("body"))
			p.get("/")
			if kept := len(p.forwarded()) == 0; kept != c.kept {
				t.Errorf("kept: %v", kept)
			}
		})
	}
}

func TestAResponseToHEADIsNotStored(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("body", "Cache-Control: max-age=10"))
	p.do("HEAD", "/")
	p.expect(p.get("/"), 200, "body")
	p.expectForwarded(2)
}

// RFC 9111, section 4.4.
func TestAnUnsafeRequestInvalidatesWhatItChanged(t *testing.T) {
	for _, c := range []struct {
		name, method string
		status       int
		fields       []string
		gone         []string
	}{
		{"POST", "POST", 200, nil, []string{"/a"}},
		{"PUT", "PUT", 204, nil, []string{"/a"}},
		{"DELETE", "DELETE", 202, nil, []string{"/a"}},
		{"a redirect", "POST", 303, nil, []string{"/a"}},
		{"a method that nobody knows", "SHUFFLE", 200, nil, []string{"/a"}},
		{"a safe method", "OPTIONS", 200, nil, nil},
		{"an error of the client", "POST", 404, nil, nil},
		{"an error of the server", "POST", 500, nil, nil},
		{"Location", "POST", 201, []string{"Location: /b"}, []string{"/a", "/b"}},
		{"Content-Location", "POST", 200, []string{"Content-Location: https://shop.example/c?x=1"}, []string{"/a", "/c?x=1"}},
		{"another origin's Location", "POST", 201, []string{"Location: https://other.example/b", "Content-Location: http://shop.example/c?x=1"}, []string{"/a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			all := []string{"/a", "/b", "/c?x=1"}
			p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: Foo"))
			for _, target := range all {
				p.get(target)
			}
			p.serve(reply{status: c.status, fields: pairs(c.fields...)})
			p.do(c.method, "/a", "Content-Length: 3")
			p.forwarded()
			p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: Foo"))
			var gone []string
			for _, target := range all {
				if p.get(target); len(p.forwarded()) > 0 {
					gone = append(gone, target)
				}
			}
			if strings.Join(gone, " ") != strings.Join(c.gone, " ") {
				t.Errorf("gone are %v, want %v", gone, c.gone)
			}
		})
	}
}

func TestAResponseThatWasAskedForBeforeAnInvalidationIsNotStored(t *testing.T) {
	p := newProxy(t)
	p.origin = func(r *message.Request) reply {
		if r.Method == "POST" {
			return reply{status: 200}
		}
		stale := p.ok("old", "Cache-Control: max-age=60")
		p.do("POST", "/")
		return stale
	}
	p.get("/")
	p.serve(p.ok("new", "Cache-Control: max-age=60"))
	p.expect(p.get("/"), 200, "new")
}

// RFC 9111, section 5.2.2.4.
func TestNoCacheIsValidatedEachTime(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=60, no-cache", `ETag: "a"`))
	p.get("/")
	p.serve(reply{status: 304, fields: pairs(`ETag: "a"`)})
	p.expect(p.get("/"), 200, "x")
	p.expect(p.get("/", "Cache-Control: max-stale"), 200, "x")
	p.expectForwarded(3)
}

func TestA304SetsNobodyElsesCookies(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	p.wait(11 * time.Second)
	p.serve(reply{status: 304, fields: pairs(`ETag: "a"`, "Set-Cookie: session=1", "Date: "+p.date(0))})
	p.get("/")
	if g := p.get("/"); g.fields.Has("Set-Cookie") || g.body != "x" {
		t.Errorf("got %v", g)
	}
}

func TestA304MayForbidFurtherUse(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10", `ETag: "a"`))
	p.get("/")
	p.wait(11 * time.Second)
	p.serve(reply{status: 304, fields: pairs(`ETag: "a"`, "Cache-Control: private")})
	p.expect(p.get("/"), 200, "x")
	p.serve(p.ok("y"))
	p.expect(p.get("/"), 200, "y")
}

// RFC 9110, section 4.2.3.
func TestThePortThatIsMeantAnyhowMakesNoDifference(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=10"))
	for _, host := range []string{"shop.example", "shop.example:443", "shop.example:444"} {
		request := &message.Request{Method: "GET", Scheme: "https", Host: host, Target: "/"}
		if verdict := p.cache.Lookup(p.now, request, p.rules, 0); verdict.Do == Forward {
			p.forward(verdict.Fetch, false)
		}
	}
	p.expectForwarded(2)
}

func TestWhatIsWrittenAgainAndAgainIsPreparedOnce(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=60", "X-Some: y"))
	p.get("/")
	request := &message.Request{Method: "GET", Scheme: "https", Host: "shop.example", Target: "/"}
	encoded := 0
	encode := func(fields message.Fields) []byte {
		encoded++
		if fields.Get("X-Some") != "y" || fields.Get("Content-Length") != "1" || fields.Has("Age") {
			t.Errorf("prepared is %v", fields)
		}
		return []byte("block")
	}
	for range 3 {
		verdict := p.cache.Lookup(p.now, request, p.rules, 0)
		block, rest, ok := verdict.Answer.Prepared(encode, nil)
		if !ok || string(block) != "block" || !rest.Has("Age") || !rest.Has("Cache-Status") {
			t.Errorf("got %s and %v", block, rest)
		}
	}
	if encoded != 1 {
		t.Errorf("it was encoded %d times", encoded)
	}
	request.Fields = pairs("Range: bytes=0-0")
	verdict := p.cache.Lookup(p.now, request, p.rules, 0)
	if _, _, ok := verdict.Answer.Prepared(encode, nil); ok {
		t.Error("a part was taken for the whole")
	}
}

// RFC 9111, section 5.4, RFC 9110, section 6.6.1.
func TestAResponseWithoutADateIsGivenOne(t *testing.T) {
	p := newProxy(t)
	p.serve(reply{status: 200, body: "x", fields: pairs("Cache-Control: max-age=60")})
	first := p.get("/").fields.Get("Date")
	p.wait(3 * time.Second)
	if second := p.get("/").fields.Get("Date"); first == "" || first != second {
		t.Errorf("dates are %q and %q", first, second)
	}
}

// RFC 9211.
func TestCacheStatusSaysWhatWasDone(t *testing.T) {
	p := newProxy(t, springtide.CacheRule{Match: "/no/*", Bypass: true})
	p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: Foo", "Cache-Status: origin; hit"))
	for _, c := range []struct {
		want string
		g    got
	}{
		{"origin; hit, Springtide; fwd=uri-miss; stored", p.get("/")},
		{"origin; hit, Springtide; hit; ttl=60", p.get("/")},
		{"origin; hit, Springtide; fwd=vary-miss; stored", p.get("/", "Foo: 1")},
		{"origin; hit, Springtide; fwd=request; stored", p.get("/", "Cache-Control: no-cache")},
		{"origin; hit, Springtide; fwd=method", p.do("POST", "/")},
		{"origin; hit, Springtide; fwd=bypass", p.get("/no/x")},
	} {
		if status := c.g.fields.Get("Cache-Status"); status != c.want {
			t.Errorf("Cache-Status is %q, want %q", status, c.want)
		}
	}
}
