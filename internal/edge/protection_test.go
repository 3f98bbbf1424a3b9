package edge

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// protected starts an edge with a route that is protected so.
func protected(t *testing.T, route springtide.Route, handler http.HandlerFunc, change ...func(*Options)) *testEdge {
	t.Helper()
	e := startEdge(t, change...)
	whole := routeTo(serveInstance(t, "i-1", handler))
	whole.Protection, whole.Maintenance = route.Protection, route.Maintenance
	e.route(t, whole)
	return e
}

func plainly(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }

// request makes a request with header lines like "Accept: text/html", and gives the
// answer with its body.
func request(t *testing.T, client *http.Client, method, path string, body io.Reader, lines ...string) (*http.Response, string) {
	t.Helper()
	asked, err := http.NewRequestWithContext(t.Context(), method, "https://"+testHost+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		asked.Header.Add(name, value)
	}
	response, err := client.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func TestAClientThatAsksTooOftenIsToldWhenToComeAgain(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		limits := []springtide.RateLimit{{Match: "/login", Per: springtide.RatePerClient, Requests: 2, Within: time.Hour, Burst: 2}}
		e := protected(t, springtide.Route{Protection: springtide.Protection{RateLimits: limits}}, plainly)
		client := e.client(t, http2)
		for range 2 {
			if response, _ := request(t, client, "GET", "/login", nil); response.StatusCode != http.StatusOK {
				t.Fatalf("within the limit the status is %d", response.StatusCode)
			}
		}
		response, body := request(t, client, "GET", "/%6Cogin?again", nil)
		after, err := strconv.Atoi(response.Header.Get("Retry-After")) // half an hour since the first
		if response.StatusCode != http.StatusTooManyRequests || err != nil || after > 1800 || after < 1740 {
			t.Errorf("got %d, Retry-After %q", response.StatusCode, response.Header.Get("Retry-After"))
		}
		e.control.await(t, "it to be counted", func(reports []springtide.EdgeReport) bool {
			limited := 0
			for _, report := range reports {
				for _, demand := range report.Demand {
					limited += demand.Limited[springtide.RatePerClient]
				}
			}
			return limited == 1
		})
		if strings.Contains(body, "login") || strings.Contains(body, string(testEnvironment.App)) {
			t.Errorf("the answer tells what is nobody's business: %q", body)
		}
		if response, _ := request(t, client, "GET", "/", nil); response.StatusCode != http.StatusOK {
			t.Errorf("elsewhere the status is %d", response.StatusCode)
		}
	})
}

func TestABodyThatIsTooLongIsRefused(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		e := protected(t, springtide.Route{Protection: springtide.Protection{MaxBody: 1 << 20}}, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil || n > 1<<20 {
				t.Errorf("the instance read %d bytes, %v", n, err)
			}
			plainly(w, r)
		})
		client := e.client(t, http2)
		if response, _ := request(t, client, "POST", "/", strings.NewReader(strings.Repeat("x", 1<<20))); response.StatusCode != http.StatusOK {
			t.Errorf("as long as it may be: %d", response.StatusCode)
		}
		response, body := request(t, client, "POST", "/", strings.NewReader(strings.Repeat("x", 1<<20+1)))
		if response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(body, "1048576 bytes") {
			t.Errorf("one byte more: %d %q", response.StatusCode, body)
		}
	})
}

func TestABodyOfUnknownLengthIsCutWhenItIsTooLong(t *testing.T) {
	e := protected(t, springtide.Route{Protection: springtide.Protection{MaxBody: 1000}}, func(_ http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil || n > 1000 {
			t.Errorf("the instance read %d bytes, %v", n, err)
		}
	})
	response, _ := request(t, e.client(t, false), "POST", "/", io.MultiReader(strings.NewReader(strings.Repeat("x", 5000))))
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d", response.StatusCode)
	}
}

func TestAnswersHaveHeadersThatProtectUnlessTheAppOrItsManifestSaysOtherwise(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		own := map[string]string{"X-Frame-Options": "DENY", "Server": "", "X-Powered-By": ""}
		e := protected(t, springtide.Route{Protection: springtide.Protection{Headers: own}}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", "mine")
			w.Header().Set("X-Frame-Options", "SAMEORIGIN")
			w.Header().Set("Referrer-Policy", "no-referrer")
			plainly(w, r)
		})
		response, _ := request(t, e.client(t, http2), "GET", "/", nil)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY", "Server": "",
			"Strict-Transport-Security": "", // the certificate is one that nobody else knows
		} {
			if got := strings.Join(response.Header.Values(name), " and "); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	})
}

func TestTLSIsInsistedOnWhereTheCertificateIsKnownToEverybody(t *testing.T) {
	p := newProtection(springtide.Route{})
	for vouched, want := range map[bool]bool{true: true, false: false} {
		x, a := &exchange{guarded: guarded{vouched: vouched}}, &answer{}
		a.Status = http.StatusOK
		if p.dress(x, a); a.Fields.Has("Strict-Transport-Security") != want {
			t.Errorf("with a certificate that is known (%v) the fields are %v", vouched, a.Fields)
		}
	}
}

func TestMaintenanceAnswersEverybodyButThoseWhoAreAllowed(t *testing.T) {
	both(t, func(t *testing.T, http2 bool) {
		m := &springtide.Maintenance{Since: time.Now(), Page: "<p>soon, {request_id}", RetryAfter: 90 * time.Second}
		e := protected(t, springtide.Route{Maintenance: m}, plainly)
		client := e.client(t, http2)
		response, body := request(t, client, "GET", "/", nil, "X-Request-ID: r-1")
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "90" || body != "<p>soon, r-1" {
			t.Errorf("got %d, %q, %q", response.StatusCode, response.Header.Get("Retry-After"), body)
		}
		if _, body = request(t, client, "GET", "/", nil, "Accept: application/json"); !strings.HasPrefix(body, `{ "status":503,`) {
			t.Errorf("a program is told %q", body)
		}
		route := routeTo(serveInstance(t, "i-2", plainly))
		route.Maintenance = &springtide.Maintenance{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		e.route(t, route)
		if response, _ := request(t, client, "GET", "/", nil); response.StatusCode != http.StatusOK {
			t.Errorf("who is allowed gets %d", response.StatusCode)
		}
	})
}

func TestAnAppHasPagesOfItsOwnForTheEdgesAnswers(t *testing.T) {
	e := startEdge(t)
	route := routeTo(readyBackend("i-1", deadAddress(t)))
	route.HoldFor = 10 * time.Millisecond
	route.Protection.ErrorPages = map[int]string{http.StatusServiceUnavailable: "<h1>back soon"}
	e.route(t, route)
	if response, body := request(t, e.client(t, false), "GET", "/", nil, "Accept: text/html"); response.StatusCode != http.StatusServiceUnavailable || body != "<h1>back soon" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
	response, body := request(t, e.client(t, false), "GET", "/", nil, "Accept: application/json", "X-Request-ID: <\"&>")
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" || !strings.Contains(body, `"request_id":"<\"&>"`) {
		t.Errorf("a program is told %s %q", kind, body)
	}
}

func TestAPageCannotBeMadeToHoldWhatTheRequestSays(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	request := "GET / HTTP/1.1\r\nHost: nobody.localhost\r\nAccept: text/html\r\nX-Request-ID: <script>x</script>\r\nConnection: close\r\n\r\n"
	conn := e.dial(t)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if _, body, _ := strings.Cut(string(answer), "\r\n\r\n"); err != nil || strings.Contains(body, "<script>") || !strings.Contains(body, "&lt;script&gt;") {
		t.Errorf("%v, the page is %q", err, body)
	}
}

// proxied gives a connection of a client that comes by way of a proxy.
func (e *testEdge) proxied(t *testing.T, client string) (net.Conn, error) {
	t.Helper()
	conn, err := net.Dial("tcp", e.https.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(conn, "PROXY TCP4 "+client+" 192.0.2.200 4711 443\r\n")
	return conn, err
}

// fromProxy gives one that is secured.
func (e *testEdge) fromProxy(t *testing.T, client string, protocols ...string) (*tls.Conn, error) {
	t.Helper()
	conn, err := e.proxied(t, client)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(conn, &tls.Config{RootCAs: e.roots, ServerName: testHost, NextProtos: protocols})
	return secured, secured.Handshake()
}

func behindProxy(o *Options) {
	o.TrustedProxies, o.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, true
}

func TestAClientHasSoManyConnectionsAndNoMoreAndAnotherHasItsOwn(t *testing.T) {
	e := protected(t, springtide.Route{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("X-Forwarded-Port"))
	}, behindProxy, func(o *Options) { o.MaxConnectionsPerAddress = 3 })
	var first *tls.Conn
	for i := range 3 {
		conn, err := e.fromProxy(t, "192.0.2.1")
		if err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		first = conn
	}
	if _, err := e.fromProxy(t, "192.0.2.1"); err == nil {
		t.Error("a fourth is served")
	}
	if _, err := e.fromProxy(t, "192.0.2.2"); err != nil {
		t.Errorf("another client is not served: %v", err)
	}
	if _, err := io.WriteString(first, "GET / HTTP/1.1\r\nHost: "+testHost+"\r\nX-Forwarded-For: 192.0.2.99\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(first), nil)
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, response.ContentLength)
	if _, err := io.ReadFull(response.Body, body); err != nil || string(body) != "192.0.2.1 443" {
		t.Errorf("the instance takes the client for %q, %v", body, err)
	}
	first.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := e.fromProxy(t, "192.0.2.1"); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("when one has ended, another is not served: %v", err)
		}
	}
}

func TestAProxyThatDoesNotSayWhoTheClientIsIsNotServed(t *testing.T) {
	e := protected(t, springtide.Route{}, plainly, behindProxy)
	conn, err := net.Dial("tcp", e.https.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, &tls.Config{RootCAs: e.roots, ServerName: testHost}).Handshake(); err == nil {
		t.Error("it is served")
	}
}

func TestForwardedFieldsAreBelievedOfTrustedProxiesAlone(t *testing.T) {
	for _, trusted := range []bool{true, false} {
		e := protected(t, springtide.Route{}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, strings.Join([]string{r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"), r.Host, r.Header.Get("X-Forwarded-Prefix")}, " "))
		}, func(o *Options) {
			if trusted {
				o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		client := e.client(t, false)
		request, err := http.NewRequestWithContext(t.Context(), "GET", "http://front.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header = http.Header{"X-Forwarded-For": {"192.0.2.9, 192.0.2.1"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {testHost}, "X-Forwarded-Prefix": {"/shop"}}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if trusted && string(body) != "192.0.2.1 https "+testHost+" /shop" {
			t.Errorf("of a trusted proxy: %d %q", response.StatusCode, body)
		}
		if !trusted && response.StatusCode != http.StatusNotFound {
			t.Errorf("of anybody: %d %q", response.StatusCode, body)
		}
	}
}

func TestTheLastGoodCertificateStaysWhenTheNextIsNone(t *testing.T) {
	good, err := certify("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	other, err := certify("a.localhost")
	if err != nil {
		t.Fatal(err)
	}
	before := newCertificates([]springtide.Certificate{good}, &certificates{}, testLogger())
	for what, next := range map[string]springtide.Certificate{
		"one that cannot be read":         {Names: []string{"a.localhost"}, Chain: "x", Key: "y"},
		"one that does not match its key": {Names: []string{"a.localhost"}, Chain: good.Chain, Key: other.Key},
	} {
		now := newCertificates([]springtide.Certificate{next}, before, testLogger())
		want, _ := before.find("a.localhost")
		if got, err := now.find("a.localhost"); err != nil || got != want {
			t.Errorf("in place of %s %v is served, %v", what, got, err)
		}
		again := newCertificates([]springtide.Certificate{next}, now, testLogger())
		if got, err := again.find("a.localhost"); err != nil || got != want {
			t.Errorf("when the table with %s is followed by another, %v is served, %v", what, got, err)
		}
	}
}

func TestAStaticTableProtectsToo(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "table.json")
	for name, text := range map[string]string{"503.html": "<p>soon", "table.json": `{"routes": [{
		"backends": ["127.0.0.1:9000"], "max_body": 1000, "headers": {"X-Frame-Options": "DENY"}, "error_pages": {"503": "503.html"},
		"rate_limits": [{"match": "/api/*", "per": "token", "requests": 10, "within": "1m"}],
		"maintenance": {"page": "503.html", "allow": ["10.0.0.0/8"]}
	}]}`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	table, err := ReadTable(path, 1)
	if err != nil {
		t.Fatal(err)
	}
	route := table.Routes[0]
	limit := springtide.RateLimit{Match: "/api/*", Per: springtide.RatePerToken, Header: "Authorization", Requests: 10, Within: time.Minute, Burst: 10}
	if p := route.Protection; p.MaxBody != 1000 || p.Headers["X-Frame-Options"] != "DENY" || p.ErrorPages[503] != "<p>soon" || len(p.RateLimits) != 1 || p.RateLimits[0] != limit {
		t.Errorf("got %+v", p)
	}
	if m := route.Maintenance; m == nil || m.Page != "<p>soon" || m.RetryAfter != 10*time.Minute || len(m.Allow) != 1 {
		t.Errorf("got %+v", m)
	}
	for _, wrong := range []string{
		`"max_body": -1`, `"headers": {"Content-Length": "1"}`, `"headers": {"X-A": "a\r\nb"}`, `"error_pages": {"404": "503.html"}`, `"error_pages": {"503": "none.html"}`,
		`"rate_limits": [{"requests": 0, "within": "1m"}]`, `"rate_limits": [{"match": "login", "requests": 1, "within": "1m"}]`, `"rate_limits": [{"per": "me", "requests": 1, "within": "1m"}]`,
		`"maintenance": {"page": "none.html"}`, `"maintenance": {"allow": ["here"]}`,
	} {
		if err := os.WriteFile(path, []byte(`{"routes": [{"backends": ["127.0.0.1:9000"], `+wrong+`}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadTable(path, 1); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
