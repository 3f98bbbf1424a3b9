package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// RFC 9111, section 3: what may be stored.
func TestOnlyWhatMayBeStoredIsStored(t *testing.T) {
	const cookie = "Set-Cookie: a=b"
	for _, c := range []struct {
		name   string
		reply  reply
		asked  string
		stored bool
	}{
		{"3 max-age", reply{status: 200, fields: pairs("Cache-Control: max-age=60")}, "", true},
		{"3 s-maxage", reply{status: 200, fields: pairs("Cache-Control: s-maxage=60")}, "", true},
		{"3 nothing at all", reply{status: 200}, "", false},
		{"3 a status that nobody knows, with a lifetime", reply{status: 299, fields: pairs("Cache-Control: max-age=60")}, "", true},
		{"3 an error that nobody knows, with a lifetime", reply{status: 599, fields: pairs("Cache-Control: max-age=60")}, "", true},
		{"3 a redirect that is not cacheable by itself", reply{status: 302}, "", false},
		{"3 a redirect with a lifetime", reply{status: 302, fields: pairs("Cache-Control: max-age=60")}, "", true},
		{"3 404 with a lifetime", reply{status: 404, fields: pairs("Cache-Control: max-age=60")}, "", true},
		{"5.2.2.5 no-store", reply{status: 200, fields: pairs("Cache-Control: max-age=60, no-store")}, "", false},
		{"5.2.2.5 NO-STORE", reply{status: 200, fields: pairs("Cache-Control: MAX-AGE=60, NO-STORE")}, "", false},
		{"5.2.2.5 no-store on a line of its own", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Cache-Control: no-store")}, "", false},
		{"5.2.1.5 no-store of the request", reply{status: 200, fields: pairs("Cache-Control: max-age=60")}, "Cache-Control: no-store", false},
		{"5.2.2.7 private", reply{status: 200, fields: pairs("Cache-Control: max-age=60, private")}, "", false},
		{"5.2.2.7 private for a field", reply{status: 200, fields: pairs(`Cache-Control: max-age=60, private="set-cookie"`, cookie)}, "", true},
		{"5.2.2.3 must-understand what is understood", reply{status: 200, fields: pairs("Cache-Control: max-age=60, must-understand, no-store")}, "", true},
		{"5.2.2.3 must-understand what is not", reply{status: 299, fields: pairs("Cache-Control: max-age=60, must-understand")}, "", false},
		{"4.1 Vary: *", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Vary: *")}, "", false},
		{"4.1 * among others", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Vary: Accept, *")}, "", false},
		{"3.5 Authorization", reply{status: 200, fields: pairs("Cache-Control: max-age=60")}, "Authorization: x", false},
		{"3.5 Authorization, public", reply{status: 200, fields: pairs("Cache-Control: max-age=60, public")}, "Authorization: x", true},
		{"3.5 Authorization, s-maxage", reply{status: 200, fields: pairs("Cache-Control: s-maxage=60")}, "Authorization: x", true},
		{"3.5 Authorization, must-revalidate", reply{status: 200, fields: pairs("Cache-Control: max-age=60, must-revalidate")}, "Authorization: x", true},
		{"cookies are not for everybody", reply{status: 200, fields: pairs("Cache-Control: max-age=60, public", cookie)}, "", false},
		{"4.2.1 max-age=0", reply{status: 200, fields: pairs("Cache-Control: max-age=0")}, "", false},
		{"4.2.1 what is no number", reply{status: 200, fields: pairs("Cache-Control: max-age=abc")}, "", false},
		{"4.2.1 a fraction", reply{status: 200, fields: pairs("Cache-Control: max-age=60.5")}, "", false},
		{"4.2.1 a negative number", reply{status: 200, fields: pairs("Cache-Control: max-age=-60")}, "", false},
		{"4.2.1 white space before the number", reply{status: 200, fields: pairs("Cache-Control: max-age= 60")}, "", false},
		{"5.2 a quoted argument", reply{status: 200, fields: pairs(`Cache-Control: max-age="60"`)}, "", true},
		{"5.2 a directive within quotes is none", reply{status: 200, fields: pairs(`Cache-Control: other="max-age=60", no-cache`)}, "", false},
		{"5.2 a comma within quotes", reply{status: 200, fields: pairs(`Cache-Control: other="a, no-store, b", max-age=60`)}, "", true},
		{"1.2.2 more than can be counted", reply{status: 200, fields: pairs("Cache-Control: max-age=99999999999999999999")}, "", true},
		{"5.2.3 what is not known is ignored", reply{status: 200, fields: pairs("Cache-Control: something, max-age=60, other=1")}, "", true},
		{"4.2.1 s-maxage before max-age", reply{status: 200, fields: pairs("Cache-Control: max-age=60, s-maxage=0")}, "", false},
		{"4.2.1 the first of two", reply{status: 200, fields: pairs("Cache-Control: max-age=0, max-age=60")}, "", false},
		{"5.3 Expires that is no date", reply{status: 200, fields: pairs("Expires: 0")}, "", false},
		{"5.3 max-age before Expires", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Expires: 0")}, "", true},
		{"RFC 9213 CDN-Cache-Control first", reply{status: 200, fields: pairs("Cache-Control: no-store", "CDN-Cache-Control: max-age=60")}, "", true},
		{"RFC 9213 it forbids too", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "CDN-Cache-Control: no-store")}, "", false},
		{"RFC 9213 it is no dictionary", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "CDN-Cache-Control: no-store,,")}, "", true},
		{"RFC 9213 it is empty", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "CDN-Cache-Control: ")}, "", true},
		{"Surrogate-Control", reply{status: 200, fields: pairs("Cache-Control: no-store", `Surrogate-Control: max-age=60, content="ESI/1.0"`)}, "", true},
		{"RFC 9213 a string is no number", reply{status: 200, fields: pairs("Cache-Control: max-age=60", `CDN-Cache-Control: max-age="60"`)}, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			c.reply.body = "body"
			c.reply.fields = append(c.reply.fields, message.Field{Name: "Date", Value: p.date(0)})
			p.serve(c.reply)
			var lines []string
			if c.asked != "" {
				lines = append(lines, c.asked)
			}
			p.get("/", lines...)
			p.forwarded()
			p.expect(p.get("/"), c.reply.status, "body")
			if stored := len(p.forwarded()) == 0; stored != c.stored {
				t.Errorf("stored: %v, want %v", stored, c.stored)
			}
		})
	}
}

// RFC 9111, section 3.1.
func TestFieldsOfTheConnectionAreNotStored(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=60, no-cache=\"x-user\", private=\"x-own\"", "Connection: close, X-Hop", "X-Hop: a", "Keep-Alive: 5",
		"Proxy-Authenticate: b", "X-Kept: c", "X-User: d", "X-Own: e", "Surrogate-Key: t"))
	p.get("/")
	fields := p.get("/").fields
	p.expectForwarded(1)
	for _, gone := range []string{"Connection", "X-Hop", "Keep-Alive", "Proxy-Authenticate", "X-User", "X-Own", "Surrogate-Key"} {
		if fields.Has(gone) {
			t.Errorf("%s was stored", gone)
		}
	}
	if fields.Get("X-Kept") != "c" || fields.Get("Content-Length") != "1" {
		t.Errorf("fields are %v", fields)
	}
}

// RFC 9111, section 3.3.
func TestWhatDidNotComeWholeIsNotServedAsWhole(t *testing.T) {
	p := newProxy(t)
	whole := p.ok("0123456789", "Cache-Control: max-age=60", `ETag: "a"`)
	short := whole
	short.short = 4
	p.serve(short)
	if g := p.get("/"); !g.broken {
		t.Fatal("the client does not see that the body broke off")
	}
	p.serve(whole)
	p.expect(p.get("/"), 200, "0123456789")
	p.expectForwarded(2)
}

// RFC 9111, section 4.2.3.
func TestTheAgeCountsAllTheTimeSinceTheOrigin(t *testing.T) {
	for _, c := range []struct {
		name, date, age string
		want            string
	}{
		{"time in the cache", "0s", "", "5"},
		{"what caches before said", "0s", "30", "35"},
		{"what the date says", "-40s", "30", "45"},
		{"a date in the future is no age", "1h", "", "5"},
		{"5.1 a list: the first", "0s", "30, 10", "35"},
		{"5.1 no number: ignored", "0s", "x", "5"},
		{"5.1 negative: ignored", "0s", "-3", "5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			offset, _ := time.ParseDuration(c.date)
			r := p.ok("x", "Cache-Control: max-age=4000", "Date: "+p.date(offset))
			if c.age != "" {
				r.fields = append(r.fields, message.Field{Name: "Age", Value: c.age})
			}
			p.serve(r)
			p.get("/")
			p.wait(5 * time.Second)
			if age := p.get("/").fields.Get("Age"); age != c.want {
				t.Errorf("Age is %s, want %s", age, c.want)
			}
		})
	}
}

func TestTheTimeThatTheOriginTookCountsAsAge(t *testing.T) {
	p := newProxy(t)
	p.origin = func(*message.Request) reply {
		r := p.ok("x", "Cache-Control: max-age=60", "Age: 10")
		p.wait(7 * time.Second)
		return r
	}
	p.get("/")
	if age := p.get("/").fields.Get("Age"); age != "17" {
		t.Errorf("Age is %s", age)
	}
}

// RFC 9111, sections 4.2 and 4.2.1.
func TestAResponseIsFreshForAsLongAsItSays(t *testing.T) {
	for _, c := range []struct {
		name   string
		fields []string
		fresh  time.Duration
	}{
		{"max-age", []string{"Cache-Control: max-age=100"}, 100 * time.Second},
		{"max-age less age", []string{"Cache-Control: max-age=100", "Age: 40"}, 60 * time.Second},
		{"s-maxage", []string{"Cache-Control: max-age=10, s-maxage=100"}, 100 * time.Second},
		{"Expires", []string{"Expires: Sun, 22 Nov 2026 12:01:40 GMT"}, 100 * time.Second},
		{"Expires by RFC 850", []string{"Expires: Sunday, 22-Nov-26 12:01:40 GMT"}, 100 * time.Second},
		{"Expires by asctime", []string{"Expires: Sun Nov 22 12:01:40 2026"}, 100 * time.Second},
		{"4.2.2 a tenth of the time since it changed", []string{"Last-Modified: Sun, 22 Nov 2026 11:43:20 GMT"}, 100 * time.Second},
		{"4.2.2 not if there is something explicit", []string{"Cache-Control: max-age=30", "Last-Modified: Sun, 22 Nov 2026 11:43:20 GMT"}, 30 * time.Second},
		{"RFC 9213", []string{"Cache-Control: max-age=10", "Expires: 0", "CDN-Cache-Control: max-age=100"}, 100 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("x", c.fields...))
			p.get("/")
			p.wait(c.fresh - time.Second)
			p.get("/")
			p.expectForwarded(1)
			p.wait(time.Second)
			p.get("/")
			p.expectForwarded(1)
		})
	}
}

// RFC 9111, section 4.2.4 and 5.2.2.2, 5.2.2.8, 5.2.2.10; RFC 5861.
func TestStaleIsServedOnlyWhereThatIsAllowed(t *testing.T) {
	for _, c := range []struct {
		name, control string
		dead          bool
		stale         time.Duration
		served        bool
	}{
		{"the origin is away", "max-age=10", true, time.Hour, true},
		{"the origin is away, must-revalidate", "max-age=10, must-revalidate", true, time.Second, false},
		{"the origin is away, proxy-revalidate", "max-age=10, proxy-revalidate", true, time.Second, false},
		{"the origin is away, s-maxage", "s-maxage=10", true, time.Second, false},
		{"the origin is away, no-cache", "max-age=10, no-cache", true, 0, false},
		{"the origin fails", "max-age=10", false, time.Second, false},
		{"the origin fails, stale-if-error", "max-age=10, stale-if-error=60", false, 59 * time.Second, true},
		{"the origin fails, stale-if-error is over", "max-age=10, stale-if-error=60", false, 61 * time.Second, false},
		{"the origin fails, must-revalidate wins", "max-age=10, stale-if-error=60, must-revalidate", false, time.Second, false},
		{"the origin fails, s-maxage says it too", "s-maxage=10, stale-if-error=60", false, time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("x", "Cache-Control: "+c.control, `ETag: "a"`))
			p.get("/")
			p.wait(10*time.Second + c.stale)
			p.serve(reply{status: 503, dead: c.dead, body: "down"})
			g := p.get("/")
			if served := g.status == 200 && g.body == "x"; served != c.served {
				t.Errorf("got %d %q", g.status, g.body)
			}
			if c.served && g.fields.Get("Age") == "" {
				t.Error("there is no Age")
			}
		})
	}
}

// RFC 5861, section 3.
func TestWhatIsStaleIsServedWhileItIsRevalidated(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("old", "Cache-Control: max-age=10, stale-while-revalidate=30", `ETag: "a"`))
	p.get("/")
	p.forwarded()
	p.wait(20 * time.Second)
	p.serve(p.ok("new", "Cache-Control: max-age=10, stale-while-revalidate=30", `ETag: "b"`))
	p.expect(p.get("/"), 200, "old")
	if seen := p.expectForwarded(1); seen[0].Fields.Get("If-None-Match") != `"a"` {
		t.Errorf("it was not validated: %v", seen[0].Fields)
	}
	p.expect(p.get("/"), 200, "new")
	p.expectForwarded(0)
	p.wait(41 * time.Second)
	p.expect(p.get("/"), 200, "new")
	p.expectForwarded(1)
}

// RFC 9111, section 5.2.1.
func TestARequestSaysWhatItAccepts(t *testing.T) {
	for _, c := range []struct {
		name, asked string
		age         time.Duration
		hit         bool
		status      int
	}{
		{"5.2.1.1 max-age", "Cache-Control: max-age=10", 5 * time.Second, true, 200},
		{"5.2.1.1 older", "Cache-Control: max-age=10", 15 * time.Second, false, 200},
		{"5.2.1.2 max-stale", "Cache-Control: max-stale=10", 65 * time.Second, true, 200},
		{"5.2.1.2 staler", "Cache-Control: max-stale=10", 75 * time.Second, false, 200},
		{"5.2.1.2 however stale", "Cache-Control: max-stale", 600 * time.Second, true, 200},
		{"5.2.1.3 min-fresh", "Cache-Control: min-fresh=30", 20 * time.Second, true, 200},
		{"5.2.1.3 not so fresh", "Cache-Control: min-fresh=30", 40 * time.Second, false, 200},
		{"5.2.1.4 no-cache", "Cache-Control: no-cache", 0, false, 200},
		{"5.2.1.7 only-if-cached", "Cache-Control: only-if-cached", 0, true, 200},
		{"5.2.1.7 only-if-cached and stale", "Cache-Control: only-if-cached", 70 * time.Second, true, 504},
		{"5.4 Pragma", "Pragma: no-cache", 0, false, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("x", "Cache-Control: max-age=60"))
			p.get("/")
			p.forwarded()
			p.wait(c.age)
			if g := p.get("/", c.asked); g.status != c.status || (len(p.forwarded()) == 0) != c.hit {
				t.Errorf("got %d from the cache: %v", g.status, !c.hit)
			}
		})
	}
	p := newProxy(t)
	p.expect(p.get("/", "Cache-Control: only-if-cached"), 504, "")
	p.serve(p.ok("x", "Cache-Control: max-age=10, must-revalidate"))
	p.get("/")
	p.wait(11 * time.Second)
	p.get("/", "Cache-Control: max-stale=100") // section 5.2.2.2
	p.expectForwarded(2)
}

// RFC 9111, section 4.1.
func TestAVariantIsServedToThoseWhoAskForTheSame(t *testing.T) {
	for _, c := range []struct {
		name, vary, first, second string
		same                      bool
	}{
		{"the same value", "Foo", "Foo: 1", "Foo: 1", true},
		{"another", "Foo", "Foo: 1", "Foo: 2", false},
		{"none, then one", "Foo", "", "Foo: 1", false},
		{"one, then none", "Foo", "Foo: 1", "", false},
		{"neither", "Foo", "", "", true},
		{"an empty value is not none", "Foo", "", "Foo: ", false},
		{"the name in another case", "foo", "FOO: 1", "Foo: 1", true},
		{"white space around commas", "Foo", "Foo: 1,2", "Foo:  1 ,\t2", true},
		{"another order means something", "Foo", "Foo: 1, 2", "Foo: 2, 1", false},
		{"a space in quotes means something", "Foo", `Foo: "1,2"`, `Foo: "1, 2"`, false},
		{"the order of what is accepted means nothing", "Accept-Encoding", "Accept-Encoding: gzip, br", "Accept-Encoding: br, GZIP", true},
		{"weights do", "Accept-Language", "Accept-Language: pl, en;q=0.5", "Accept-Language: pl, en;q=0.6", false},
		{"several fields", "Foo, Bar", "Foo: 1", "Bar: 1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProxy(t)
			p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: "+c.vary))
			ask := func(line string) {
				if line == "" {
					p.get("/")
				} else {
					p.get("/", line)
				}
			}
			ask(c.first)
			p.forwarded()
			ask(c.second)
			if same := len(p.forwarded()) == 0; same != c.same {
				t.Errorf("same: %v", same)
			}
			ask(c.first)
			p.expectForwarded(0)
			ask(c.second)
			p.expectForwarded(0)
		})
	}
}

func TestLinesOfAFieldAreComparedTogether(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Cache-Control: max-age=60", "Vary: Foo"))
	p.get("/", "Foo: 1", "Foo: 2")
	p.get("/", "Foo: 1, 2")
	p.expectForwarded(1)
}

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
		if verdict := p.cache.Lookup(p.now, request, p.rules, false); verdict.Do == Forward {
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
		verdict := p.cache.Lookup(p.now, request, p.rules, false)
		block, rest, ok := verdict.Answer.Prepared(encode, nil)
		if !ok || string(block) != "block" || !rest.Has("Age") || !rest.Has("Cache-Status") {
			t.Errorf("got %s and %v", block, rest)
		}
	}
	if encoded != 1 {
		t.Errorf("it was encoded %d times", encoded)
	}
	request.Fields = pairs("Range: bytes=0-0")
	verdict := p.cache.Lookup(p.now, request, p.rules, false)
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
