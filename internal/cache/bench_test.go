package cache

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/message"
)

// filled gives a cache with some pages of 10 KiB, and requests for them as a browser
// makes them.
func filled(b *testing.B, lines ...string) (*Cache, *Rules, []*message.Request) {
	b.Helper()
	c, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	rules := &Rules{Scope: "shop/production"}
	var requests []*message.Request
	for i := range 1000 {
		request := &message.Request{
			Method: "GET", Scheme: "https", Host: "shop.example", Target: fmt.Sprintf("/articles/%d?page=1", i),
			Fields: pairs("User-Agent: Mozilla/5.0", "Accept: text/html", "Accept-Language: en", "Accept-Encoding: gzip, deflate, br, zstd", "Cookie: session=1"),
		}
		requests = append(requests, request)
		fetch := c.Lookup(time.Now(), request, rules, 0).Fetch
		outcome := fetch.Take(time.Now(), &message.Response{Status: 200, Fields: pairs(append(lines,
			"Cache-Control: max-age=3600", "ETag: \"a\"", "Content-Type: image/png", "Content-Length: 10240")...)}, nil)
		outcome.Store.Write([]byte(strings.Repeat("x", 10240)))
		outcome.Store.Commit()
	}
	return c, rules, requests
}

// reportProcessor reports the processor's time, which a busy machine does not change
// as much as the time that passes.
func reportProcessor(b *testing.B) {
	used := func() (usage syscall.Rusage) {
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return usage
	}
	before := used()
	b.Cleanup(func() {
		after := used()
		spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
		b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
	})
}

func benchmarkHits(b *testing.B, lines ...string) {
	c, rules, requests := filled(b, lines...)
	now := time.Now()
	b.ReportAllocs()
	reportProcessor(b)
	b.RunParallel(func(pb *testing.PB) {
		head := make([]byte, 0, 1024)
		for i := 0; pb.Next(); i++ {
			verdict := c.Lookup(now, requests[i%len(requests)], rules, 0)
			if verdict.Do != Send {
				b.Fatal("it is not stored")
			}
			head = verdict.Answer.AppendHead(head[:0])
			if body, whole := verdict.Answer.Body.Bytes(); !whole || len(body) != 10240 {
				b.Fatal("it is not whole")
			}
		}
	})
}

// A hit in memory, with the head that is written to HTTP/1.1.
func BenchmarkHit(b *testing.B) { benchmarkHits(b) }

// The same where the response varies by what browsers accept.
func BenchmarkHitOfAVariant(b *testing.B) { benchmarkHits(b, "Vary: Accept-Encoding") }

// What the cache costs a request that it has nothing to do with.
func BenchmarkPass(b *testing.B) {
	c, rules, requests := filled(b)
	now := time.Now()
	b.ReportAllocs()
	reportProcessor(b)
	b.RunParallel(func(pb *testing.PB) {
		room := make(message.Fields, 0, 32)
		request := *requests[0]
		request.Method = "POST"
		response := message.Response{Status: 404, Fields: pairs("Content-Type: text/plain", "Content-Length: 3", "Date: "+httpDate(now.UnixNano()))}
		for pb.Next() {
			fetch := c.Lookup(now, &request, rules, 0).Fetch
			fetch.Request()
			fetch.Take(now, &response, room)
			fetch.End()
		}
	})
}

// A miss of what is not stored.
func BenchmarkMiss(b *testing.B) {
	c, rules, requests := filled(b)
	now := time.Now()
	b.ReportAllocs()
	reportProcessor(b)
	room := make(message.Fields, 0, 32)
	request := *requests[0]
	request.Target = "/other"
	response := message.Response{Status: 200, Fields: pairs("Cache-Control: private", "Content-Type: text/plain", "Content-Length: 3", "Date: "+httpDate(now.UnixNano()))}
	for b.Loop() {
		fetch := c.Lookup(now, &request, rules, 0).Fetch
		fetch.Request()
		fetch.Take(now, &response, room)
		fetch.End()
	}
}

func TestAHitTakesNoMemory(t *testing.T) {
	p := newProxy(t)
	p.serve(p.ok(text(100), "Cache-Control: max-age=60", "Vary: Accept-Encoding"))
	p.get("/")
	request := &message.Request{Method: "GET", Scheme: "https", Host: "shop.example", Target: "/"}
	head := make([]byte, 0, 1024)
	if allocations := testing.AllocsPerRun(100, func() {
		verdict := p.cache.Lookup(p.now, request, p.rules, 0)
		head = verdict.Answer.AppendHead(head[:0])
	}); allocations > 0 {
		t.Errorf("it takes %v allocations", allocations)
	}
}
