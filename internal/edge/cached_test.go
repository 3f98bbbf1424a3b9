package edge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// cachedApp is an app behind an edge that caches what it says may be cached.
type cachedApp struct {
	edge  *testEdge
	asked atomic.Int64 // how many requests reached the app
}

func startCached(t *testing.T, handler http.HandlerFunc, change ...func(*Options)) *cachedApp {
	t.Helper()
	a := &cachedApp{edge: startEdge(t, change...)}
	a.edge.route(t, a.routed(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		handler(w, r)
	})))
	return a
}

// routed is the app's route, with a cache.
func (a *cachedApp) routed(backends ...springtide.Backend) springtide.Route {
	route := routeTo(backends...)
	route.Cache = []springtide.CacheRule{{Match: "/bypass/*", Bypass: true}, {Match: "*"}}
	return route
}

// expectAsked checks how many requests have reached the app, and counts anew.
func (a *cachedApp) expectAsked(t *testing.T, want int64) {
	t.Helper()
	if asked := a.asked.Swap(0); asked != want {
		t.Errorf("the app was asked %d times, want %d", asked, want)
	}
}

func TestARequestThatTheCacheDoesNotHaveTakesOneTokenOfALimit(t *testing.T) {
	app := startCached(t, fresh)
	const limit = 6
	route := app.routed(serveInstance(t, "web-1-b", fresh))
	route.Protection.RateLimits = []springtide.RateLimit{{Match: "/*", Per: springtide.RatePerRoute, Requests: 1, Within: time.Minute, Burst: limit}}
	app.edge.route(t, route)
	client := app.edge.client(t, true)
	for i := range limit + 1 {
		want := http.StatusOK
		if i == limit {
			want = http.StatusTooManyRequests
		}
		path := fmt.Sprintf("/%d", i%(limit-1)) // the last but one is a hit
		if response, _ := ask(t, client, "GET", path); response.StatusCode != want {
			t.Errorf("request %d is answered with %d, want %d", i, response.StatusCode, want)
		}
	}
}

// ask sends a request with some fields, "Name: value".
func ask(t *testing.T, client *http.Client, method, path string, lines ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "https://"+testHost+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	return do(t, client, request)
}

// fresh answers with something that is fresh for a while.
func fresh(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "max-age=600")
	w.Header().Set("ETag", `"one"`)
	io.WriteString(w, "what is at "+r.URL.Path)
}

func TestWhatIsStoredAsksNoInstanceAndIsNoDemand(t *testing.T) {
	app := startCached(t, fresh)
	client := app.edge.client(t, false)
	if response, _ := get(t, client, "/first"); !strings.Contains(response.Header.Get("Cache-Status"), "fwd=uri-miss; stored") {
		t.Errorf("a miss says %v", response.Header)
	}
	both(t, func(t *testing.T, http2 bool) {
		for range 3 {
			response, body := ask(t, app.edge.client(t, http2), "GET", "/first", "X-Request-ID: mine")
			head := response.Header
			if body != "what is at /first" || !strings.Contains(head.Get("Cache-Status"), "; hit; ttl=") || head.Get("Age") == "" ||
				head.Get("X-Request-ID") != "mine" || len(head.Values("Date")) != 1 || response.ContentLength != int64(len(body)) {
				t.Errorf("got %q with %v", body, head)
			}
		}
	})
	app.expectAsked(t, 1)
	eventually(t, "one request to be demand", func() bool { return app.edge.control.demand(groupOf(1)).Completed == 1 })
	if arrived := app.edge.control.demand(groupOf(1)).Arrived; arrived != 1 {
		t.Errorf("%d requests count as demand, want 1", arrived)
	}
	log := filepath.Join(app.edge.folder, "edge", "access.log")
	eventually(t, "the access log to tell hits from the miss", func() bool {
		lines, _ := os.ReadFile(log)
		return strings.Count(string(lines), `"cache":"hit"`) == 9 && strings.Count(string(lines), `"cache":"miss"`) == 1
	})
}

func TestARouteWithoutRulesIsNotCached(t *testing.T) {
	e := startEdge(t)
	var asked atomic.Int64
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fresh(w, r)
	})))
	for range 2 {
		if response, _ := get(t, e.client(t, false), "/"); response.Header.Get("Cache-Status") != "" || response.Header.Get("Age") != "" {
			t.Errorf("the cache had to do with it: %v", response.Header)
		}
	}
	if asked.Load() != 2 {
		t.Errorf("the app was asked %d times, want 2", asked.Load())
	}
}

func TestStoredAnswersAreCutAndComparedForTheClient(t *testing.T) {
	app := startCached(t, fresh)
	get(t, app.edge.client(t, false), "/text")
	app.expectAsked(t, 1)
	both(t, func(t *testing.T, http2 bool) {
		client := app.edge.client(t, http2)
		for _, test := range []struct {
			method, field string
			status        int
			body, length  string
		}{
			{"HEAD", "X-Nothing: 1", 200, "", "16"},
			{"GET", "Range: bytes=5-6", 206, "is", "2"},
			{"GET", "Range: bytes=0-1,14-15", 206, "", ""},
			{"GET", "Range: bytes=100-", 416, "", "0"},
			{"GET", `If-None-Match: "one"`, 304, "", ""},
			{"GET", `If-None-Match: "two"`, 200, "what is at /text", "16"},
			{"GET", "Cache-Control: only-if-cached", 200, "what is at /text", "16"},
		} {
			response, body := ask(t, client, test.method, "/text", test.field)
			if response.StatusCode != test.status || test.body != "" && body != test.body || test.length != "" && response.Header.Get("Content-Length") != test.length {
				t.Errorf("%s with %s: %d, %q, %v", test.method, test.field, response.StatusCode, body, response.Header)
			}
		}
		if response, _ := ask(t, client, "GET", "/never", "Cache-Control: only-if-cached"); response.StatusCode != 504 {
			t.Errorf("what is not stored was found: %d", response.StatusCode)
		}
	})
	app.expectAsked(t, 0)
}

func TestAMissIsCutAndComparedForTheClientToo(t *testing.T) {
	app := startCached(t, fresh)
	for i, test := range []struct {
		field, body string
		status      int
	}{{`If-None-Match: "one"`, "", 304}, {"Range: bytes=5-6", "is", 206}} {
		path := "/miss-" + strconv.Itoa(i)
		response, body := ask(t, app.edge.client(t, i == 0), "GET", path, test.field)
		if response.StatusCode != test.status || body != test.body {
			t.Errorf("%s: %d %q", test.field, response.StatusCode, body)
		}
	}
	if _, body := get(t, app.edge.client(t, false), "/miss-0"); body != "what is at /miss-0" {
		t.Errorf("what was stored meanwhile is %q", body)
	}
	app.expectAsked(t, 2)
}

func TestWhatIsNotForAllIsNotStored(t *testing.T) {
	large := strings.Repeat("x", 200<<10)
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/private":
			w.Header().Set("Cache-Control", "private, max-age=60")
		case "/session":
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Set-Cookie", "id=1")
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "public, max-age=60")
		case "/bypass/x":
			w.Header().Set("Cache-Control", "max-age=60")
		case "/long":
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Length", strconv.Itoa(len(large)))
			io.WriteString(w, large)
			return
		}
		io.WriteString(w, large[:10])
	})
	both(t, func(t *testing.T, http2 bool) {
		for _, path := range []string{"/private", "/session", "/events", "/bypass/x", "/long"} {
			for range 2 {
				if response, body := get(t, app.edge.client(t, http2), path); len(body) != 10 && body != large || response.Header.Get("Age") != "" {
					t.Errorf("%s: %d bytes, %v", path, len(body), response.Header)
				}
			}
		}
	})
	app.expectAsked(t, 30)
}

func TestAHundredRequestsAreOneFetchOverBothProtocols(t *testing.T) {
	release := make(chan struct{})
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		fresh(w, r)
	})
	clients := []*http.Client{app.edge.client(t, false), app.edge.client(t, true)}
	var all sync.WaitGroup
	var good atomic.Int64
	for i := range 100 {
		all.Go(func() {
			response, err := clients[i%2].Get("https://" + testHost + "/popular")
			if err != nil {
				t.Error(err)
				return
			}
			defer response.Body.Close()
			if body, err := io.ReadAll(response.Body); err == nil && string(body) == "what is at /popular" {
				good.Add(1)
			}
		})
	}
	eventually(t, "the app to be asked", func() bool { return app.asked.Load() > 0 })
	close(release)
	all.Wait()
	if good.Load() != 100 {
		t.Errorf("%d of 100 were answered well", good.Load())
	}
	app.expectAsked(t, 1)
}

func TestWhatIsStaleIsServedWhileItIsFetchedAnew(t *testing.T) {
	var version atomic.Int64
	release := make(chan struct{}, 1)
	app := startCached(t, func(w http.ResponseWriter, _ *http.Request) {
		if version.Add(1) > 1 {
			<-release
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-while-revalidate=600")
		fmt.Fprintf(w, "version %d", version.Load())
	})
	client := app.edge.client(t, false)
	get(t, client, "/")
	if _, body := get(t, client, "/"); body != "version 1" {
		t.Errorf("while it is fetched anew it is %q", body)
	}
	release <- struct{}{}
	close(release)
	eventually(t, "the new version", func() bool {
		_, body := get(t, client, "/")
		return body != "version 1"
	})
}

func TestWhatIsStaleIsServedWhileTheAppFails(t *testing.T) {
	var broken atomic.Bool
	app := startCached(t, func(w http.ResponseWriter, _ *http.Request) {
		if broken.Load() {
			w.WriteHeader(503)
			io.WriteString(w, strings.Repeat("down ", 40000))
			return
		}
		w.Header().Set("Cache-Control", "max-age=0, stale-if-error=600")
		w.Header().Set("ETag", `"one"`)
		io.WriteString(w, "good")
	})
	get(t, app.edge.client(t, false), "/")
	broken.Store(true)
	both(t, func(t *testing.T, http2 bool) {
		for range 2 {
			if response, body := get(t, app.edge.client(t, http2), "/"); response.StatusCode != 200 || body != "good" {
				t.Errorf("of an app that says 503: %d %.20q", response.StatusCode, body)
			}
		}
		if response, _ := get(t, app.edge.client(t, http2), "/other"); response.StatusCode != 503 {
			t.Errorf("what is not stored: %d", response.StatusCode)
		}
	})
	app.edge.route(t, app.routed(readyBackend("web-1-b", deadAddress(t))))
	both(t, func(t *testing.T, http2 bool) {
		if response, body := get(t, app.edge.client(t, http2), "/"); response.StatusCode != 200 || body != "good" {
			t.Errorf("of an app that is gone: %d %.20q", response.StatusCode, body)
		}
	})
}

func TestAnAppAtZeroIsServedFromTheCacheWithoutBeingWoken(t *testing.T) {
	app := startCached(t, fresh)
	get(t, app.edge.client(t, false), "/")
	app.edge.route(t, app.routed())
	before := app.edge.control.demand(groupOf(1))
	both(t, func(t *testing.T, http2 bool) {
		if response, body := get(t, app.edge.client(t, http2), "/"); response.StatusCode != 200 || body != "what is at /" {
			t.Errorf("got %d %q", response.StatusCode, body)
		}
	})
	after := app.edge.control.demand(groupOf(1))
	if after.Arrived > before.Arrived && after.Arrived > 1 || after.Waited > 0 || after.Held > 0 {
		t.Errorf("the app was wanted: %+v", after)
	}
}

func TestAnUnsafeRequestInvalidatesWhatIsStored(t *testing.T) {
	app := startCached(t, fresh)
	client := app.edge.client(t, true)
	get(t, client, "/thing")
	ask(t, client, "POST", "/thing")
	get(t, client, "/thing")
	app.expectAsked(t, 3)
	ask(t, app.edge.client(t, false), "POST", "/thing", "Connection: Upgrade", "Upgrade: something") // that the app does not go along with
	get(t, client, "/thing")
	app.expectAsked(t, 2)
}

func TestTheAnswerToAGETWithABodyIsNotStored(t *testing.T) {
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		io.Copy(w, r.Body)
	})
	both(t, func(t *testing.T, http2 bool) {
		path := fmt.Sprintf("/%v", http2)
		for _, length := range []int64{-1, 4} {
			for _, want := range []string{"mine", ""} { // not for those without, nor what they get for it
				request, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+path, strings.NewReader(want))
				if err != nil {
					t.Fatal(err)
				}
				if request.ContentLength = length; want == "" {
					request.Body, request.ContentLength = nil, 0
				}
				if _, body := do(t, app.edge.client(t, http2), request); body != want {
					t.Errorf("with a length of %d: got %q, want %q", length, body, want)
				}
			}
		}
	})
}

func TestABodyThatBreaksOffIsNotStored(t *testing.T) {
	var whole atomic.Bool
	app := startCached(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, strings.Repeat("x", 50))
		_ = http.NewResponseController(w).Flush()
		if !whole.Load() {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, strings.Repeat("y", 50))
	})
	both(t, func(t *testing.T, http2 bool) {
		whole.Store(false)
		path := "/" + t.Name()
		if response, err := app.edge.client(t, http2).Get("https://" + testHost + path); err == nil {
			if body, err := io.ReadAll(response.Body); err == nil {
				t.Errorf("half an answer was taken for a whole one: %q", body)
			}
			response.Body.Close()
		}
		whole.Store(true)
		if _, body := get(t, app.edge.client(t, http2), path); len(body) != 100 {
			t.Errorf("then there were %d bytes", len(body))
		}
	})
}

func TestWhoWaitsGoesOnWhenTheFirstClientLeaves(t *testing.T) {
	var asked atomic.Int64
	leave := make(chan struct{})
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			close(leave)
			<-r.Context().Done()
			return
		}
		fresh(w, r)
	})
	conn := app.edge.dial(t)
	fmt.Fprintf(conn, "GET /shared HTTP/1.1\r\nHost: %s\r\n\r\n", testHost)
	<-leave
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, body := get(t, app.edge.client(t, i%2 == 0), "/shared"); body != "what is at /shared" {
				t.Errorf("got %q", body)
			}
		})
	}
	conn.Close()
	all.Wait()
	if asked.Load() != 2 {
		t.Errorf("the app was asked %d times, want 2", asked.Load())
	}
}

// hollow is a large file of which byte i is i/997, modulo 256.
type hollow struct{ at, size int64 }

func (h *hollow) Read(p []byte) (int, error) {
	n := int(min(int64(len(p)), h.size-h.at))
	if n == 0 {
		return 0, io.EOF
	}
	for i := range n {
		p[i] = byte((h.at + int64(i)) / 997)
	}
	h.at += int64(n)
	return n, nil
}

func (h *hollow) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		h.at = offset
	case io.SeekEnd:
		h.at = h.size + offset
	}
	return h.at, nil
}

func TestRangesOfAVeryLargeFileNeedLittleMemory(t *testing.T) {
	const size, step = 4 << 30, 8 << 20
	var sent atomic.Int64
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/large.bin" {
			fresh(w, r)
			return
		}
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("ETag", `"large"`)
		counted := &countingWriter{ResponseWriter: w, sent: &sent}
		http.ServeContent(counted, r, "large.bin", time.Time{}, &hollow{size: size})
	}, func(o *Options) { o.CacheMemory, o.CacheDisk = 32<<20, 16<<30 })
	// Nothing is on the disk before the folder is the edge's, nor what it is too slow for.
	asked := 0
	onDisk := func(bytes int64) {
		t.Helper()
		eventually(t, "it to be on the disk", func() bool {
			get(t, app.edge.client(t, false), fmt.Sprintf("/small-%d", asked)) // which is reported
			asked++
			reports := app.edge.control.seen()
			return reports[len(reports)-1].Cache.Disk >= bytes
		})
	}
	onDisk(1)
	written := int64(0)
	both(t, func(t *testing.T, http2 bool) {
		client := app.edge.client(t, http2)
		before := inUse()
		for i := range int64(16) {
			from := size / 16 * i
			response, body := ask(t, client, "GET", "/large.bin", fmt.Sprintf("Range: bytes=%d-%d", from, from+step-1))
			if response.StatusCode != 206 || int64(len(body)) != step || body[step-1] != byte((from+step-1)/997) {
				t.Fatalf("range %d: %d, %d bytes", i, response.StatusCode, len(body))
			}
			if written < 16*step {
				written += step
				onDisk(written)
			}
		}
		if more := inUse() - before; more > 128<<20 {
			t.Errorf("%d MiB more are in use for 128 MiB of ranges with a cache of 32 MiB in memory", more>>20)
		}
	})
	if total := sent.Load(); total > 16*step*3/2 {
		t.Errorf("the app sent %d MiB for ranges of %d MiB that were asked for twice", total>>20, 16*step>>20)
	}
}

type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

func inUse() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse)
}

func TestTheNextEdgeServesFromTheDisk(t *testing.T) {
	app := startCached(t, fresh)
	client, control := app.edge.client(t, false), app.edge.control
	onDisk := func(not string) (edge string) { // the edge that told last, if it has something on the disk
		reports := control.seen()
		if last := reports[len(reports)-1]; last.Edge != not && last.Cache.Disk > 0 {
			edge = last.Edge
		}
		return edge
	}
	stored := 0
	first := ""
	eventually(t, "something to be on the disk", func() bool { // nothing is until the folder is the edge's
		get(t, client, fmt.Sprintf("/%d", stored))
		stored++
		first = onDisk("")
		return first != ""
	})
	old := app.edge.process
	app.edge.start(t)
	close(old.drain)
	client.CloseIdleConnections()
	<-old.ended
	next := app.edge.client(t, false)
	eventually(t, "the disk to be taken over", func() bool { // what is asked for before is not looked for there again
		get(t, next, "/bypass/x")
		return onDisk(first) != ""
	})
	for i := range stored {
		if response, _ := get(t, next, fmt.Sprintf("/%d", i)); strings.Contains(response.Header.Get("Cache-Status"), "hit") {
			return
		}
	}
	t.Error("nothing was found on the disk")
}

func TestWhoHasItsPartOfAnAnswerThatBreaksOffKeepsTheConnection(t *testing.T) {
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Content-Length", "200000")
		_, _ = w.Write(make([]byte, 100_000))
		panic(http.ErrAbortHandler)
	})
	client := app.edge.client(t, false)
	for i, field := range []string{`If-None-Match: "one"`, "Range: bytes=10-19", `If-None-Match: "one"`} {
		var kept bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { kept = info.Reused }})
		request, err := http.NewRequestWithContext(ctx, "GET", "https://"+testHost+"/"+strconv.Itoa(i), nil)
		if err != nil {
			t.Fatal(err)
		}
		name, value, _ := strings.Cut(field, ": ")
		request.Header.Set(name, value)
		response, body := do(t, client, request)
		want := http.StatusNotModified
		if i == 1 {
			want = http.StatusPartialContent
		}
		if response.StatusCode != want || len(body) != 10*(i%2) || kept != (i > 0) {
			t.Errorf("request %d: %s, %d bytes, on a kept connection: %t", i, response.Status, len(body), kept)
		}
	}
}
