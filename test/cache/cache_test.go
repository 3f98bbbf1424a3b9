// Package cache tells of answers that edges keep.
package cache

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

const manifest = `app: counted
processes:
  web: { command: python3 app.py, health: { path: /healthz }, scale: { min: 1, max: 1 } }
cache:
  - { match: "/page/*", ttl: 1h, per_release: true }
  - { match: "/never/*", bypass: true }
`

// app counts the requests that reach it, over all its instances.
const app = `import http.server, os, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path != "/healthz":
            with lock:
                Handler.count += 1
        body = f"{os.getpid()} {Handler.count} FIRST".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.send_header("Cache-Tag", "all, " + self.path.strip("/"))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
lock = threading.Lock()
Handler.count = 0
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
`

// told is an app on a platform, asked by one client.
type told struct {
	*testing.T
	platform *platform.Platform
	client   *http.Client
	url      string
}

func TestAnAppIsAskedOnceUntilItsAnswerIsPurged(t *testing.T) {
	p := story.Platform(t)
	folder := story.Folder(t)
	write(t, filepath.Join(folder, "tide.yaml"), manifest)
	write(t, filepath.Join(folder, "app.py"), app)
	s := told{t, p, nil, story.Deploy(t, p, folder)}
	s.client = story.HTTP(t, p)

	a, b, page := s.get("/a"), s.get("/b"), s.get("/page/1")
	s.same("/a", a)
	s.same("/page/1", page)
	if never := s.get("/never/1"); s.get("/never/1") == never {
		t.Error("what is never to be stored was")
	}

	s.tide("cache", "purge", "--path", "/a")
	a = s.other("/a", a)
	s.same("/b", b)
	s.tide("cache", "purge", "--tag", "b")
	s.other("/b", b)
	s.same("/a", a)
	if out := s.tide("cache"); !strings.Contains(out, "answered from the cache") {
		t.Errorf("tide cache: %s", out)
	}

	s.surviveKills(a)
	a, page = s.get("/a"), s.get("/page/1")

	write(t, filepath.Join(folder, "app.py"), strings.Replace(app, "FIRST", "SECOND", 1))
	if deploy, err := p.Deploy(t.Context(), folder); err != nil {
		t.Fatal(err, deploy)
	}
	s.same("/a", a)
	if body := s.other("/page/1", page); !strings.HasSuffix(body, "SECOND") {
		t.Errorf("what a release keeps for itself is %q after the next", body)
	}
	s.tide("cache", "purge", "--all")
	s.other("/a", a)
	if out, err := p.CLI(t.Context(), "cache", "purge", "--app", "counted", "--path", "nowhere"); err == nil {
		t.Errorf("a path that is none was purged: %s", out)
	}
}

// surviveKills kills the edge: what is on disk is served on, and what is damaged there
// is asked for anew.
func (s *told) surviveKills(a string) {
	s.Helper()
	files := func() []string {
		found, _ := filepath.Glob(filepath.Join(s.platform.Data, "edge", "cache", "*", "*", "*.0"))
		return found
	}
	story.Eventually(s, "what is stored to be on the disk", 30*time.Second, func() bool { // what was purged may be there still
		return slices.ContainsFunc(files(), func(file string) bool {
			content, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(content), a)
		})
	})
	s.killEdge()
	// Asked before it has the disk, it would ask the app, and keep what that says.
	story.Eventually(s, "the next edge to have what is on disk", 30*time.Second, func() bool {
		status, err := s.platform.Client.Cache(s.Context(), springtide.EnvironmentID{App: "counted", Name: springtide.Production})
		return err == nil && status.Disk > 0
	})
	s.same("/a", a)
	for _, file := range files() {
		content, err := os.ReadFile(file)
		if err == nil && len(content) > 40 {
			content[len(content)-1] ^= 1
			err = os.WriteFile(file, content, 0o600)
		}
		if err != nil && !os.IsNotExist(err) {
			s.Fatal(err)
		}
	}
	s.killEdge()
	if body := s.get("/a"); !strings.HasSuffix(body, "FIRST") {
		s.Errorf("of damaged files came %q", body)
	}
}

func (s *told) killEdge() {
	s.Helper()
	before, err := s.platform.Status(s.Context())
	if err != nil || len(before.Edges) != 1 || len(before.Processes.Edges) != 1 {
		s.Fatal(before, err)
	}
	if err := syscall.Kill(before.Processes.Edges[0], syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	s.client.CloseIdleConnections()
	story.Eventually(s, "another edge in its place", 30*time.Second, func() bool {
		now, err := s.platform.Status(s.Context())
		return err == nil && len(now.Edges) == 1 && now.Edges[0].Name != before.Edges[0].Name
	})
}

func (s *told) get(path string) string {
	s.Helper()
	return story.Get(s, s.client, s.url+path)
}

func (s *told) same(path, want string) {
	s.Helper()
	for range 3 {
		if got := s.get(path); got != want {
			s.Errorf("%s is %q, was %q: the app was asked", path, got, want)
		}
	}
}

// other checks that the app is asked, once, and gives its answer.
func (s *told) other(path, was string) string {
	s.Helper()
	got := s.get(path)
	if got == was {
		s.Errorf("%s is still %q", path, got)
	}
	s.same(path, got)
	return got
}

func (s *told) tide(arguments ...string) string {
	s.Helper()
	out, err := s.platform.CLI(s.Context(), append(arguments, "--app", "counted")...)
	if err != nil {
		s.Fatal(err, out)
	}
	return out
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
