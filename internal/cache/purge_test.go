package cache

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

func TestAPurgeIsOfWhatItSays(t *testing.T) {
	all := []string{"/", "/a", "/a?x=1", "/a/b", "/%61/b", "/c"}
	for _, c := range []struct {
		purge springtide.Purge
		gone  []string
	}{
		{springtide.Purge{}, all},
		{springtide.Purge{Environment: shop("production")}, all},
		{springtide.Purge{Environment: shop("staging")}, nil},
		{springtide.Purge{Path: "/a"}, []string{"/a", "/a?x=1"}},
		{springtide.Purge{Path: "/a", Environment: shop("staging")}, nil},
		{springtide.Purge{Path: "/a/*"}, []string{"/a/b", "/%61/b"}},
		{springtide.Purge{Path: "/a/b"}, []string{"/a/b", "/%61/b"}},
		{springtide.Purge{Path: "/*"}, all},
		{springtide.Purge{Tag: "letters"}, []string{"/a", "/a?x=1", "/a/b", "/%61/b", "/c"}},
		{springtide.Purge{Tag: "root"}, []string{"/"}},
		{springtide.Purge{Tag: "release-7"}, all},
		{springtide.Purge{Tag: "other"}, nil},
	} {
		t.Run(fmt.Sprint(c.purge), func(t *testing.T) {
			p := newProxy(t)
			p.rules.Tags = []string{"release-7"}
			p.origin = func(r *message.Request) reply {
				if r.Target == "/" {
					return p.ok("x", "Cache-Control: max-age=60", "Cache-Tag: root, page")
				}
				return p.ok("x", "Cache-Control: max-age=60", "Surrogate-Key: letters other-things", "Vary: Foo")
			}
			for _, target := range all {
				p.get(target)
			}
			p.forwarded()
			if err := purgeNow(p.cache, c.purge); err != nil {
				t.Fatal(err)
			}
			var gone []string
			for _, target := range all {
				if p.get(target); len(p.forwarded()) > 0 {
					gone = append(gone, target)
				}
			}
			if !slices.Equal(gone, c.gone) {
				t.Errorf("gone are %v, want %v", gone, c.gone)
			}
			for _, target := range all { // what came after the purge stays
				p.get(target)
			}
			p.expectForwarded(0)
		})
	}
}

func shop(environment springtide.EnvironmentName) springtide.EnvironmentID {
	return springtide.EnvironmentID{App: "shop", Name: environment}
}

// purgeNow purges with the next number.
func purgeNow(c *Cache, purge springtide.Purge) error {
	purge.Number = int64(c.purges.number.Load()) + 1
	return c.Purge(0, []springtide.Purge{purge})
}

func TestAPurgeThatIsToldAgainMakesNoDifference(t *testing.T) {
	p := newProxy(t)
	list := []springtide.Purge{{Number: 7, Path: "/"}}
	if err := p.cache.Purge(0, list); err != nil {
		t.Fatal(err)
	}
	p.serve(p.ok("x", "Cache-Control: max-age=60"))
	p.get("/")
	if err := p.cache.Purge(0, list); err != nil {
		t.Fatal(err)
	}
	p.get("/")
	p.expectForwarded(1)
}

func TestWhoMissesPurgesForgetsAllThatIsAsOld(t *testing.T) {
	folder := t.TempDir()
	p, stop := onDisk(t, folder, Options{})
	ready(t, p)
	p.serve(p.ok("old", "Cache-Control: max-age=600"))
	if err := p.cache.Purge(0, []springtide.Purge{{Number: 5, Path: "/none"}}); err != nil {
		t.Fatal(err)
	}
	p.get("/")
	stop()
	for _, test := range []struct {
		since, number int64
		want          string
	}{{5, 11, "old"}, {15, 20, "new"}} {
		p, stop = onDisk(t, folder, Options{})
		if err := p.cache.Purge(test.since, []springtide.Purge{{Number: test.number, Path: "/none"}}); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		p.serve(p.ok("new", "Cache-Control: max-age=600"))
		p.expect(p.get("/"), 200, test.want)
		stop()
	}
}

func TestWhatWasAskedForBeforeAPurgeIsPurgedToo(t *testing.T) {
	p := newProxy(t)
	p.origin = func(*message.Request) reply {
		if err := purgeNow(p.cache, springtide.Purge{Path: "/"}); err != nil {
			t.Error(err)
		}
		return p.ok("old", "Cache-Control: max-age=60")
	}
	p.get("/")
	p.serve(p.ok("new", "Cache-Control: max-age=60"))
	p.expect(p.get("/"), 200, "new")
}

func TestManyPurgesBecomeFewer(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("old", "Cache-Control: max-age=60"))
	p.get("/a")
	for i := range 2 * mostPurges {
		if err := purgeNow(p.cache, springtide.Purge{Path: fmt.Sprintf("/%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	p.get("/b")
	if count := len(p.cache.purges.latest); count > mostPurges {
		t.Errorf("%d purges are remembered", count)
	}
	p.serve(p.ok("new", "Cache-Control: max-age=60"))
	p.expect(p.get("/a"), 200, "new") // more than was asked for, never less
	p.expect(p.get("/b"), 200, "old")
}

func TestRulesOfTheManifestAreFollowed(t *testing.T) {
	p := newProxy(t,
		springtide.CacheRule{Match: "/api/*", Bypass: true},
		springtide.CacheRule{Match: "/assets/*", TTL: 365 * 24 * 3600e9},
		springtide.CacheRule{Match: "*/lang.html", Cookies: []string{"lang"}},
		springtide.CacheRule{Match: "/utm", IgnoreQuery: []string{"utm_*", "ref"}},
		springtide.CacheRule{Match: "/drop", DropSetCookie: true},
		springtide.CacheRule{Match: "/token", Authorized: true},
		springtide.CacheRule{Match: "/calm", IgnoreReload: true},
		springtide.CacheRule{Match: "/stale", Stale: 3600e9},
	)
	const fresh = "Cache-Control: max-age=60"
	for _, c := range []struct {
		name, first, second string
		asked               []string
		fields              []string
		hit                 bool
	}{
		{"bypass", "/api/x", "/api/x", nil, []string{fresh}, false},
		{"bypass however it is written", "/%61pi/x", "/%61pi/x", nil, []string{fresh}, false},
		{"bypass with two slashes", "//api/x", "//api/x", nil, []string{fresh}, false},
		{"what only looks like a path with a lifetime", "/assets/..%2Faccount", "/assets/..%2Faccount", nil, nil, false},
		{"the other way round", "/account/..%2fassets/x", "/account/..%2fassets/x", nil, []string{fresh}, false},
		{"an encoded slash", "/assets%2Fx", "/assets%2Fx", nil, nil, false},
		{"what is encoded but clear", "/assets/a%20b%2fc", "/assets/a%20b%2fc", nil, nil, true},
		{"a lifetime of one's own", "/assets/x", "/assets/x", nil, nil, true},
		{"but private stays private", "/assets/y", "/assets/y", nil, []string{"Cache-Control: private"}, false},
		{"ignored parameters", "/utm?utm_source=a&x=1&ref=b", "/utm?x=1&utm_medium=c", nil, []string{fresh}, true},
		{"other parameters", "/utm?x=1", "/utm?x=2", nil, []string{fresh}, false},
		{"cookies are dropped", "/drop", "/drop", nil, []string{fresh, "Set-Cookie: a=b"}, true},
		{"with Authorization", "/token", "/token", []string{"Authorization: x"}, []string{fresh}, true},
		{"a reload", "/calm", "/calm", []string{"Cache-Control: no-cache"}, []string{fresh}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p.serve(p.ok("x", c.fields...))
			p.get(c.first, c.asked...)
			p.forwarded()
			g := p.get(c.second, c.asked...)
			if hit := len(p.forwarded()) == 0; hit != c.hit {
				t.Errorf("hit: %v", hit)
			}
			if c.hit && g.fields.Has("Set-Cookie") {
				t.Error("a stored cookie is given to everybody")
			}
		})
	}
	p.origin = func(r *message.Request) reply { return p.ok(r.Fields.Get("Cookie"), fresh) }
	p.get("/x/lang.html", "Cookie: session=1; lang=pl")
	p.expect(p.get("/x/lang.html", "Cookie: lang=pl; session=2"), 200, "session=1; lang=pl")
	p.expect(p.get("/x/lang.html", "Cookie: lang=en"), 200, "lang=en")
	p.serve(p.ok("old", fresh))
	p.get("/stale")
	p.wait(61e9)
	p.serve(reply{status: 500})
	p.expect(p.get("/stale"), 200, "old")
}

func TestScopesAreKeptApart(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok("production", "Cache-Control: max-age=60"))
	p.get("/")
	p.rules = &Rules{Scope: "shop/staging"}
	p.serve(p.ok("staging", "Cache-Control: max-age=60"))
	p.expect(p.get("/"), 200, "staging")
}

func TestAPatternMatchesWhatItDescribes(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"/a", "/a", true},
		{"/a", "/ab", false},
		{"/a*", "/ab", true},
		{"*", "", true},
		{"/*.js", "/x/y.js", true},
		{"/*.js", "/x/y.jsx", false},
		{"/a*b*c", "/abc", true},
		{"/a*b*c", "/acb", false},
		{"/aa*aa", "/aaa", false},
		{"*a*a*a*a*b", strings.Repeat("a", 1000), false},
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q matches %.20q: %v", c.pattern, c.text, got)
		}
	}
}
