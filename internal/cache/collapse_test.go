package cache

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// crowd has many ask for the same at the same time, in a bubble, of an origin that
// takes a while.
func crowd(p *proxy, count int) (answers []got, forwarded int32) {
	answers = make([]got, count)
	origin := p.origin
	var seen atomic.Int32
	p.origin = func(r *message.Request) reply {
		seen.Add(1)
		time.Sleep(time.Second)
		return origin(r)
	}
	var asking sync.WaitGroup
	for i := range count {
		asking.Go(func() { answers[i] = p.get("/") })
	}
	asking.Wait()
	p.origin = origin
	return answers, seen.Load()
}

func TestOneFetchIsEnoughForAllWhoAskForTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		defer p.cache.entries.StopAllGoroutines()
		p.serve(p.ok("x", "Cache-Control: max-age=60"))
		answers, forwarded := crowd(p, 50)
		collapsed := 0
		for _, g := range answers {
			p.expect(g, 200, "x")
			if strings.HasPrefix(g.fields.Get("Cache-Status"), "Springtide; fwd=miss; collapsed") {
				collapsed++
			}
		}
		if forwarded != 1 || collapsed != 49 {
			t.Errorf("%d requests were forwarded, %d collapsed", forwarded, collapsed)
		}
	})
}

func TestNobodyWaitsForWhatIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		p.serve(p.ok("x", "Cache-Control: no-store", `ETag: "a"`))
		began := time.Now()
		answers, forwarded := crowd(p, 50)
		for _, g := range answers {
			p.expect(g, 200, "x")
		}
		if took := time.Since(began); forwarded != 50 || took > 2*time.Second {
			t.Errorf("%d requests were forwarded in %v", forwarded, took)
		}
		// It is known now, so that the next do not wait at all.
		began = time.Now()
		if crowd(p, 50); time.Since(began) > time.Second {
			t.Errorf("they waited: %v", time.Since(began))
		}
		// The client's own conditions are the origin's business then.
		p.forwarded()
		p.get("/", `If-None-Match: "a"`)
		if seen := p.expectForwarded(1); !seen[0].Fields.Has("If-None-Match") {
			t.Error("the condition was not forwarded")
		}
		// What has become cacheable is stored again.
		p.serve(p.ok("y", "Cache-Control: max-age=60"))
		p.get("/")
		p.forwarded()
		p.expect(p.get("/"), 200, "y")
		p.expectForwarded(0)
	})
}

func TestOneValidationIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		p.serve(p.ok("x", "Cache-Control: max-age=60", `ETag: "a"`))
		p.get("/")
		p.wait(61 * time.Second)
		p.serve(reply{status: 304, fields: pairs(`ETag: "a"`, "Cache-Control: max-age=60")})
		answers, forwarded := crowd(p, 20)
		for _, g := range answers {
			p.expect(g, 200, "x")
		}
		if forwarded != 1 {
			t.Errorf("%d requests were forwarded", forwarded)
		}
	})
}

func TestALeaderThatFailsLeavesTheOthersToThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		var first atomic.Bool
		p.origin = func(*message.Request) reply {
			if first.CompareAndSwap(false, true) {
				return reply{dead: true}
			}
			return p.ok("x", "Cache-Control: max-age=60")
		}
		failed := 0
		answers, _ := crowd(p, 20)
		for _, g := range answers {
			if g.status != 200 {
				failed++
			}
		}
		if failed != 1 {
			t.Errorf("%d requests failed", failed)
		}
	})
}

func TestACrowdDownloadsALargeBodyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProxy(t)
		body := text(big)
		p.origin = p.file(body, "Cache-Control: max-age=60", `ETag: "a"`)
		answers, forwarded := crowd(p, 10)
		for _, g := range answers {
			p.expect(g, 200, body)
		}
		if forwarded > 3 {
			t.Errorf("%d requests were forwarded", forwarded)
		}
	})
}

func TestManyAtOnceGetWhatIsTheirs(t *testing.T) {
	t.Run("from memory", func(t *testing.T) { manyAtOnce(t, newProxy(t)) })
	t.Run("from disk", func(t *testing.T) {
		p, _ := onDisk(t, t.TempDir(), Options{Memory: 16 << 10, Disk: 64 << 10})
		ready(t, p)
		manyAtOnce(t, p)
	})
}

func manyAtOnce(t *testing.T, p *proxy) {
	p.rules.List = []springtide.CacheRule{{Match: "/cookie/*", Cookies: []string{"lang"}}}
	p.origin = func(r *message.Request) reply {
		if r.Method == "POST" {
			return reply{status: 204}
		}
		return p.ok(r.Target+r.Fields.Get("Foo")+r.Fields.Get("Cookie"), "Cache-Control: max-age=1", "Vary: Foo", `ETag: "a"`, "Cache-Tag: all")
	}
	var asking sync.WaitGroup
	for worker := range 8 {
		asking.Go(func() {
			for i := range 300 {
				switch {
				case i%50 == 0:
					p.do("POST", "/1")
				case i%70 == 0:
					if err := purgeNow(p.cache, springtide.Purge{Tag: "all"}); err != nil {
						t.Error(err)
					}
				case i%30 == 0:
					p.wait(time.Second)
				}
				target, foo, cookie := fmt.Sprintf("/%d", i%7), fmt.Sprint(i%3), fmt.Sprintf("lang=%d", worker%2)
				p.expect(p.get(target, "Foo: "+foo), 200, target+foo)
				p.expect(p.get("/cookie"+target, "Foo: "+foo, "Cookie: "+cookie), 200, "/cookie"+target+foo+cookie)
			}
		})
	}
	asking.Wait()
}
