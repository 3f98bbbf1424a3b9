package cache

import (
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

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
		{"5.1 a fraction: ignored", "0s", "3.0", "5"},
		{"5.1 with a parameter: ignored", "0s", "3;a=b", "5"},
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

// RFC 9111, sections 1.2.2 and 4.2.3: what is too much to count is old, not young.
func TestWhatIsImmenselyOldIsNotFresh(t *testing.T) {
	for _, old := range []string{"Date: Mon, 01 Jan 0001 00:00:00 GMT", "Age: 2147483648", "Age: 99999999999999999999"} {
		p := newProxy(t)
		p.serve(p.ok("x", "Cache-Control: max-age=99999999999", `ETag: "a"`, old))
		p.get("/")
		p.wait(time.Second)
		p.get("/")
		p.expectForwarded(2)
	}
}

// RFC 9111, section 4.2; RFC 9110, section 5.6.7.
func TestADateHasOneOfThreeFormsAndNoOther(t *testing.T) {
	for text, want := range map[string]bool{
		"Sun, 22 Nov 2026 12:01:40 GMT": true, "sun, 22 NOV 2026 12:01:40 gmt": true,
		"Sunday, 22-Nov-26 12:01:40 GMT": true, "Sun Nov 22 12:01:40 2026": true, "Sun Nov  1 12:01:40 2026": true,
		"Sun, 22 Nov 2026 12:01:40 UTC": false, "Sun, 22 Nov 2026 12:01:40 +0000": false, "Sunday, 22-Nov-26 12:01:40 CET": false,
		"Sun, 22 Nov 2026 12:01:40": false, "Sun, 22 Nov 2026 9:01:40 GMT": false, "Sun, 22 Nov 2026  9:01:40 GMT": false,
		"Sun, 22 Nov 26 12:01:40 GMT": false, "Sun, 1 Nov 2026 12:01:40 GMT": false, "Sun, 22 Nov 2026 12:01:40.5 GMT": false,
		"Sun 22 Nov 2026 12:01:40 GMT": false, "22 Nov 2026 12:01:40 GMT": false, "Sun, 22  Nov 2026 12:01:40 GMT": false,
		"Sun, 22-Nov-2026 12:01:40 GMT": false, "Sun, 22 Nov 2026 12.01.40 GMT": false, "Sun, 31 Nov 2026 12:01:40 GMT": false,
		"2026-11-22T12:01:40Z": false, "1795348900": false, "-1": false, "": false,
	} {
		if at, ok := parseDate(text); ok != want || ok && at.Day() == 22 && at.Unix() != 1795348900 {
			t.Errorf("%q: %v, %v", text, at, ok)
		}
	}
}

func TestAGuessIsNotForThoseWithCookies(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("x", "Last-Modified: "+p.date(-time.Hour), `ETag: "a"`))
	p.get("/")
	p.serve(p.ok("yours", `ETag: "b"`))
	p.expect(p.get("/", "Cookie: a=b"), 200, "yours")
	p.expectForwarded(2)
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
	p.wait(20 * time.Second)
	p.serve(p.ok("new", "Cache-Control: max-age=10, stale-while-revalidate=30", `ETag: "b"`))
	p.get("/", "Cache-Control: max-age=30") // wants nothing stale: RFC 9111, section 5.2.1.1
	if p.expectForwarded(1); p.get("/").fields.Get("Age") != "0" {
		t.Error("it was not validated first")
	}
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
	p := newProxy(t, springtide.CacheRule{Match: "/bypass", Bypass: true})
	p.expect(p.get("/", "Cache-Control: only-if-cached"), 504, "")
	p.expect(p.get("/", "Cache-Control: only-if-cached", `If-Match: "a"`), 504, "")
	p.expect(p.get("/bypass", "Cache-Control: only-if-cached"), 504, "")
	p.serve(p.ok("x", "Cache-Control: max-age=10, must-revalidate"))
	p.get("/")
	p.wait(11 * time.Second)
	p.get("/", "Cache-Control: max-stale=100") // section 5.2.2.2
	p.expectForwarded(2)
}
