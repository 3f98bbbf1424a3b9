package edge

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestARequestIsRoutedByItsHost(t *testing.T) {
	e := startEdge(t)
	named := func(name string, hosts ...string) springtide.Route {
		route := routeTo(serveInstance(t, name, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
		route.Hosts = hosts
		route.Environment.Name = springtide.EnvironmentName(name)
		route.Group.Environment = route.Environment
		return route
	}
	e.publish(t, springtide.Table{
		Routes: []springtide.Route{
			named("exact", "demo.localhost", "www.demo.localhost"),
			named("wild", "*.demo.localhost", "demo.localhost"),
		},
		Certificates: []springtide.Certificate{testCertificate(t)},
	})
	client := e.client(t, true)
	for host, want := range map[string]string{
		"demo.localhost": "exact", "DEMO.Localhost:8443": "exact", "demo.localhost.": "exact", "www.demo.localhost": "exact",
		"other.demo.localhost": "wild", "a.b.demo.localhost": "404", "localhost": "404", "*.demo.localhost": "400", "": "404",
	} {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "https://demo.localhost", nil)
		request.Host = host
		if host == "" {
			request.Host = "unknown.example"
		}
		response, body := do(t, client, request)
		if response.StatusCode == 404 && strings.Contains(body, hostOf(request.Host)) {
			body = "404"
		}
		if response.StatusCode == 400 { // it is not the name of a host
			body = "400"
		}
		if body != want {
			t.Errorf("%q was served by %q, want %q", host, body, want)
		}
	}
}

func TestPlainHTTPIsSentToHTTPS(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo())
	port := e.https.Addr().String()[strings.LastIndex(e.https.Addr().String(), ":"):]
	for target, want := range map[string]struct {
		status   int
		location string
	}{
		"http://" + testHost + "/a%2Fb?c":                          {308, "https://" + testHost + port + "/a%2Fb?c"},
		"http://" + testHost + ":8080/":                            {308, "https://" + testHost + port + "/"},
		"http://" + testHost + "/.well-known/acme-challenge/token": {404, ""},
		"http://unknown.example/":                                  {404, ""},
	} {
		request, _ := http.NewRequestWithContext(t.Context(), "GET", target, nil)
		client := e.client(t, false)
		client.Transport.(*http.Transport).DialContext = dialAlways(e.http.Addr().String())
		response, _ := do(t, client, request)
		if response.StatusCode != want.status || response.Header.Get("Location") != want.location {
			t.Errorf("%s: got %d %q, want %d %q", target, response.StatusCode, response.Header.Get("Location"), want.status, want.location)
		}
	}
}

func TestBeforeItHasATableTheEdgeIsUnavailable(t *testing.T) {
	e := startEdge(t)
	client := e.client(t, false)
	client.Transport.(*http.Transport).DialContext = dialAlways(e.http.Addr().String())
	request, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+testHost, nil)
	if response, body := do(t, client, request); response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
		t.Errorf("got %d %q", response.StatusCode, body)
	}
}

func TestAnOlderTableIsIgnored(t *testing.T) {
	r := newRouter(newBell(), testLogger())
	for _, step := range []struct {
		version int64
		applied bool
	}{{5, true}, {4, false}, {5, false}, {6, true}} {
		if applied := r.apply(springtide.Table{Version: step.version}); applied != step.applied {
			t.Errorf("version %d: applied %v", step.version, applied)
		}
	}
}

func TestATableThatIsOldOrBrokenLeavesTheOneInForce(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	e.route(t, routeTo(serveInstance(t, "web-1-b", fine)))
	version := e.control.table.Version
	for _, line := range []string{
		`{"version":1,"routes":[]}`, `{"version":9,"routes":"none"}`, `{"version":9,"routes":[{"hosts":7}]}`, `{{{`, `null`, `{"version":-1}`,
	} {
		e.control.mu.Lock()
		for conn := range e.control.open {
			io.WriteString(conn, line+"\n")
		}
		before := len(e.control.reports)
		e.control.mu.Unlock()
		e.control.await(t, "another report", func(reports []springtide.EdgeReport) bool { return len(reports) > before })
		if _, body := get(t, e.client(t, true), "/"); body != "fine" {
			t.Errorf("%s: got %q", line, body)
		}
	}
	for _, report := range e.control.seen()[1:] {
		if report.Acknowledged > version {
			t.Fatalf("it acknowledged %d", report.Acknowledged)
		}
	}
	e.route(t, routeTo(inState(springtide.BackendReady, springtide.Backend{Instance: "web-1-nowhere"})))
	next := routeTo(serveInstance(t, "web-1-c", fine))
	answered := make(chan string, 1)
	go func() {
		_, body := get(t, e.client(t, true), "/")
		answered <- body
	}()
	eventually(t, "the request to be held", func() bool { return e.control.demand(groupOf(1)).Held == 1 })
	e.route(t, next)
	if body := <-answered; body != "fine" {
		t.Errorf("got %q", body)
	}
}

func TestOnceATableIsAcknowledgedARetiredInstanceGetsNothing(t *testing.T) {
	e := startEdge(t)
	var mu sync.Mutex
	retired := map[string]time.Time{}
	instance := func(name string) springtide.Backend {
		return serveInstance(t, name, func(w http.ResponseWriter, _ *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if since, ok := retired[name]; ok {
				t.Errorf("%s got a request %v after it was let go", name, time.Since(since))
			}
			io.WriteString(w, "fine")
		})
	}
	current := instance("web-1-0")
	e.route(t, routeTo(current))
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	client := e.client(t, true)
	for range 8 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if response, body := get(t, client, "/"); response.StatusCode != 200 || body != "fine" {
					t.Errorf("got %d %q", response.StatusCode, body)
				}
			}
		})
	}
	for i := range 20 {
		next := instance(fmt.Sprint("web-1-", i+1))
		e.route(t, routeTo(next, inState(springtide.BackendRetiring, current)))
		eventually(t, "the instance to be free", func() bool { return e.control.load(string(current.Instance)).Requests == 0 })
		mu.Lock()
		retired[string(current.Instance)] = time.Now()
		mu.Unlock()
		current = next
	}
	stop()
	clients.Wait()
}

func TestTheEdgeStartsFromItsKeptTable(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	path := filepath.Join(e.folder, "edge", "table.json")
	eventually(t, "the table to be kept", func() bool {
		info, err := os.Stat(path)
		return err == nil && info.Mode().Perm() == 0o600
	})
	e.control.stop()
	e.process.cancel()
	<-e.process.ended
	e.start(t)
	if _, body := get(t, e.client(t, true), "/"); body != "fine" {
		t.Errorf("got %q", body)
	}
}

func TestAKeptTableThatCannotBeReadIsPassedOver(t *testing.T) {
	e := startEdge(t)
	e.process.cancel()
	<-e.process.ended
	if err := os.WriteFile(filepath.Join(e.folder, "edge", "table.json"), []byte(`{"version": 7, "routes": [{`), 0o600); err != nil {
		t.Fatal(err)
	}
	e.start(t, func(o *Options) { o.Logger = testLogger() })
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	if _, body := get(t, e.client(t, true), "/"); body != "fine" {
		t.Errorf("got %q", body)
	}
}

func FuzzHostsAreNormal(f *testing.F) {
	for _, host := range []string{"Example.COM:443", "[::1]:80", "::1", "a.", ":", "[", "*.x", "x:y:z"} {
		f.Add(host)
	}
	f.Fuzz(func(t *testing.T, header string) {
		host := hostOf(header)
		if host != strings.ToLower(host) {
			t.Errorf("%q became %q", header, host)
		}
		if wildcard := wildcardOf(host); wildcard != "" && !strings.HasPrefix(wildcard, "*.") {
			t.Errorf("%q has the wildcard %q", host, wildcard)
		}
	})
}
