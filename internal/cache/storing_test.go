package cache

import (
	"strings"
	"testing"
	"time"

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
		{"3 nothing but a tag", reply{status: 200, fields: pairs(`ETag: W/"a"`)}, "", false},
		{"4.2.2 a guess", reply{status: 200, fields: pairs("Last-Modified: Sun, 22 Nov 2020 11:00:00 GMT")}, "", true},
		{"4.2.2 a guess about one with cookies", reply{status: 200, fields: pairs("Last-Modified: Sun, 22 Nov 2020 11:00:00 GMT")}, "Cookie: a=b", false},
		{"3 cookies, with a lifetime", reply{status: 200, fields: pairs("Cache-Control: max-age=60")}, "Cookie: a=b", true},
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
		{"4.1 Vary on what is in the key", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Vary: Host, X-Forwarded-Proto")}, "X-Forwarded-Proto: x", true},
		{"4.1 Vary on what the edge tells the app", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Vary: X-Forwarded-For")}, "", false},
		{"4.1 a field that the app does not see", reply{status: 200, fields: pairs("Cache-Control: max-age=60", "Vary: Origin")}, "Connection: keep-alive, Origin\nOrigin: x", false},
		{"RFC 9110, 15.5.17 416", reply{status: 416, fields: pairs("Cache-Control: max-age=60", "Content-Range: bytes */4")}, "Range: bytes=9-", false},
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
				lines = strings.Split(c.asked, "\n")
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
		"Proxy-Authenticate: b", "X-Request-ID: f", "X-Kept: c", "X-User: d", "X-Own: e", "Surrogate-Key: t"))
	p.get("/")
	fields := p.get("/").fields
	p.expectForwarded(1)
	for _, gone := range []string{"Connection", "X-Hop", "Keep-Alive", "Proxy-Authenticate", "X-Request-ID", "X-User", "X-Own", "Surrogate-Key"} {
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

// RFC 9111, section 4: the most recent response is the one to use.
func TestWhatWasAskedForEarlierDoesNotTakeThePlaceOfWhatIsNewer(t *testing.T) {
	for name, expired := range map[string]bool{"fetched": false, "validated": true} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t)
			p.now = time.Now().Add(-time.Hour)
			old := p.ok("old", "Cache-Control: max-age=60", `ETag: "old"`)
			if expired {
				p.serve(old)
				p.get("/")
				p.wait(61 * time.Second)
				old = reply{status: 304, fields: old.fields}
			}
			request := &message.Request{Method: "GET", Scheme: "https", Host: "shop.example", Target: "/"}
			slow := p.cache.Lookup(p.clock(), request, p.rules, 0).Fetch
			p.wait(10 * time.Second)
			p.serve(p.ok("new", "Cache-Control: max-age=60", `ETag: "new"`))
			p.expect(p.forward(p.cache.Lookup(p.clock(), request, p.rules, MostWaits).Fetch, false), 200, "new")
			p.serve(old)
			p.expect(p.forward(slow, false), 200, "old")
			p.expect(p.get("/"), 200, "new")
		})
	}
}
