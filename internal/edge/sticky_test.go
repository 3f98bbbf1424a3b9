package edge

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

// stickyRoute gives a route with sessions to instances that answer their name.
func stickyRoute(t *testing.T, names ...string) springtide.Route {
	var backends []springtide.Backend
	for _, name := range names {
		backends = append(backends, serveInstance(t, name, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/shared" {
				w.Header().Set("Cache-Control", "max-age=60, Public")
			}
			io.WriteString(w, name)
		}))
	}
	route := routeTo(backends...)
	route.Sticky, route.SessionKey = &springtide.Sticky{Cookie: "tide_session"}, []byte("a key")
	return route
}

// visit asks as a client that has the cookie, if it is not empty, and gives the
// answer and the cookie that the client has then.
func visit(t *testing.T, client *http.Client, path, cookie string) (body, kept string, set *http.Cookie) {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+testHost+path, nil)
	request.Header.Add("Cookie", "other=1; more=2")
	if cookie != "" {
		request.AddCookie(&http.Cookie{Name: "tide_session", Value: cookie})
	}
	response, body := do(t, client, request)
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got %d %q", response.StatusCode, body)
	}
	for _, c := range response.Cookies() {
		return body, c.Value, c
	}
	return body, cookie, nil
}

func TestAClientStaysWithItsInstance(t *testing.T) {
	e := startEdge(t)
	e.route(t, stickyRoute(t, "web-1-a", "web-1-b", "web-1-c"))
	both(t, func(t *testing.T, http2 bool) {
		client := e.client(t, http2)
		seen := map[string]bool{}
		for range 30 {
			first, cookie, set := visit(t, client, "/", "")
			if set == nil || !set.HttpOnly || !set.Secure || set.SameSite != http.SameSiteLaxMode || set.Path != "/" || set.MaxAge != 0 || len(set.Value) != 22 {
				t.Fatalf("the cookie is %v", set)
			}
			seen[first] = true
			for range 5 {
				if again, _, set := visit(t, client, "/", cookie); again != first || set != nil {
					t.Fatalf("%s came to %s, with the cookie %v", first, again, set)
				}
			}
		}
		if len(seen) != 3 {
			t.Errorf("new clients came to %v only", seen)
		}
	})
}

func TestAForgedCookieIsWorthNothing(t *testing.T) {
	e := startEdge(t)
	e.route(t, stickyRoute(t, "web-1-a", "web-1-b"))
	client := e.client(t, true)
	for _, forged := range []string{"web-1-a", "x", tokenOf([]byte("another key"), "web-1-a"), tokenOf(nil, "web-1-a"), strings.Repeat("A", 2000)} {
		if _, _, set := visit(t, client, "/", forged); set == nil {
			t.Errorf("%.30s is taken for a cookie of the edge's", forged)
		}
	}
}

func TestASessionMovesWhenItsInstanceRetires(t *testing.T) {
	e := startEdge(t)
	route := stickyRoute(t, "web-1-a", "web-1-b")
	e.route(t, route)
	both(t, func(t *testing.T, http2 bool) {
		client := e.client(t, http2)
		first, cookie, _ := visit(t, client, "/", "")
		retired := route
		retired.Backends = nil
		for _, backend := range route.Backends {
			if string(backend.Instance) == first {
				backend.State = springtide.BackendRetiring
			}
			retired.Backends = append(retired.Backends, backend)
		}
		e.route(t, retired)
		second, moved, set := visit(t, client, "/", cookie)
		if second == first || set == nil {
			t.Fatalf("it came to %s again, with the cookie %v", second, set)
		}
		e.route(t, route)
		if third, _, _ := visit(t, client, "/", moved); third != second {
			t.Errorf("it moved to %s, and then came to %s", second, third)
		}
	})
}

func TestASessionMovesWhenItsInstanceCannotBeReachedOrIsEjected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := routeTo(readyBackend("own", "a:1"), readyBackend("other", "b:1"))
		route.Sticky, route.SessionKey = &springtide.Sticky{Cookie: "s"}, []byte("a key")
		g := newTestGate(route)
		comes := func() springtide.InstanceID {
			ticket := newTicket(g)
			ticket.session = tokenOf(route.SessionKey, "own")
			l, err := g.enter(t.Context(), ticket)
			if err != nil {
				t.Fatal(err)
			}
			defer l.done()
			return l.backend.Instance
		}
		for range 5 {
			if id := comes(); id != "own" {
				t.Fatalf("it came to %s", id)
			}
		}
		ticket := newTicket(g)
		ticket.session = tokenOf(route.SessionKey, "own")
		l, _ := g.enter(t.Context(), ticket)
		g.failed(ticket, l, &failure{cause: errStale, unsent: true})
		l.done()
		if id := comes(); id != "other" {
			t.Errorf("it came to %s, which cannot be reached", id)
		}
		time.Sleep(2 * avoidFor)
		spoil(g, "own", ejectAfter)
		if id := comes(); id != "other" {
			t.Errorf("it came to %s, which is ejected", id)
		}
	})
}

func TestASessionWaitsForItsFullInstanceAndThenMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := routeTo(readyBackend("own", "a:1"), readyBackend("other", "b:1"))
		route.Concurrency, route.Sticky, route.SessionKey = 1, &springtide.Sticky{Cookie: "s"}, []byte("a key")
		g := newTestGate(route)
		enter := func() (*lease, time.Duration) {
			began := time.Now()
			ticket := newTicket(g)
			ticket.session = tokenOf(route.SessionKey, "own")
			l, err := g.enter(t.Context(), ticket)
			if err != nil {
				t.Fatal(err)
			}
			return l, time.Since(began)
		}
		first, _ := enter()
		time.AfterFunc(time.Second, first.done)
		second, waited := enter()
		if second.backend.Instance != "own" || waited != time.Second {
			t.Errorf("it came to %s after %v", second.backend.Instance, waited)
		}
		third, waited := enter()
		if third.backend.Instance != "other" || waited != sessionPatience {
			t.Errorf("it came to %s after %v", third.backend.Instance, waited)
		}
		second.done()
		third.done()
	})
}

func TestASessionThatLastsIsProlongedByEachAnswer(t *testing.T) {
	e := startEdge(t)
	route := stickyRoute(t, "web-1-a", "web-1-b")
	route.Sticky.For = time.Hour
	e.route(t, route)
	client := e.client(t, true)
	first, cookie, set := visit(t, client, "/", "")
	again, same, prolonged := visit(t, client, "/", cookie)
	if set.MaxAge != 3600 || prolonged == nil || prolonged.MaxAge != 3600 || again != first || same != cookie {
		t.Errorf("the cookies are %v and %v", set, prolonged)
	}
}

func TestAnAnswerForEverybodyHasNoCookie(t *testing.T) {
	e := startEdge(t)
	e.route(t, stickyRoute(t, "web-1-a"))
	if _, _, set := visit(t, e.client(t, true), "/shared", ""); set != nil {
		t.Errorf("it has %v", set)
	}
}

func TestTheCacheKeepsNoCookieOfASession(t *testing.T) {
	app := startCached(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/own" {
			w.Header().Set("Cache-Control", "private")
			return
		}
		fresh(w, r)
	})
	route := app.edge.control.table.Routes[0]
	route.Sticky = &springtide.Sticky{Cookie: "tide_session"}
	app.edge.route(t, route)
	client := app.edge.client(t, true)
	for range 3 {
		if _, _, set := visit(t, client, "/for/all", ""); set != nil {
			t.Errorf("what is kept has %v", set)
		}
	}
	app.expectAsked(t, 1)
	if _, _, set := visit(t, client, "/bypass/x", ""); set == nil {
		t.Error("what passes by the cache has no cookie")
	}
	if _, _, set := visit(t, client, "/own", ""); set == nil {
		t.Error("what the cache does not keep has no cookie")
	}
}

func TestAWebSocketGetsTheCookieToo(t *testing.T) {
	e := startEdge(t)
	route := routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
		conn.Close()
	}))
	route.Sticky = &springtide.Sticky{Cookie: "tide_session"}
	e.route(t, route)
	conn := e.dial(t)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+testHost+"\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || response.StatusCode != 101 || len(response.Cookies()) != 1 {
		t.Errorf("got %+v, %v", response, err)
	}
}

func FuzzCookie(f *testing.F) {
	for _, line := range []string{"s=1", "a=b; s=2", "s=;s=3", "ss=1; s =4", ";;=;", "s"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		value := cookie(message.Fields{{Name: "Cookie", Value: line}}, "s")
		if strings.Contains(value, ";") || !strings.Contains(line, value) || value != "" && !strings.Contains(line, "s=") {
			t.Errorf("%q has the value %q", line, value)
		}
	})
}
