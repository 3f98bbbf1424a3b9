// Package protection tells of those whom the edge keeps away from an app.
package protection

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// manifest is that of an app that is protected.
const manifest = `app: shop
processes:
  web: { command: exec python3 server.py, health: { path: /healthz } }
rate_limits:
  - { match: /login, requests: 3, within: 1h }
  - { match: /api/*, per: token, header: X-Key, requests: 1, within: 1h }
max_body: 1KiB
headers: { X-Frame-Options: DENY, Server: "" }
error_pages: { 429: pages/429.html }
environments:
  staging: { rate_limits: [], max_body: 1MiB }
`

const server = `import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.headers.get("X-Forwarded-For", "").encode()
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *arguments): pass
http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`

// ask makes a request with header lines like "X-Key: a".
func ask(t *testing.T, client *http.Client, method, url, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
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

// shop makes the app's folder.
func shop(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "shop")
	for name, text := range map[string]string{"tide.yaml": manifest, "server.py": server, "pages/429.html": "<h1>slow down"} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func TestAnAppIsProtectedAsItsManifestSaysAndInMaintenanceByOneCommand(t *testing.T) {
	p := story.Platform(t, "--trusted-proxy", "127.0.0.0/8")
	folder := shop(t)
	url := story.Deploy(t, p, folder)
	client := story.HTTP(t, p)
	from := func(client string) string { return "X-Forwarded-For: " + client }

	for i := range 4 {
		response, body := ask(t, client, "GET", url+"/login", "", from("192.0.2.1"))
		switch {
		case i < 3 && (response.StatusCode != http.StatusOK || body != "192.0.2.1"):
			t.Errorf("request %d: %d %q", i+1, response.StatusCode, body)
		case i == 3 && (response.StatusCode != http.StatusTooManyRequests || response.Header.Get("Retry-After") == "" || body != "<h1>slow down"):
			t.Errorf("the fourth: %d %q", response.StatusCode, body)
		}
	}
	if response, _ := ask(t, client, "GET", url+"/login", "", from("192.0.2.2")); response.StatusCode != http.StatusOK || response.Header.Get("X-Frame-Options") != "DENY" ||
		response.Header.Get("X-Content-Type-Options") != "nosniff" || response.Header.Get("Server") != "" || response.Header.Get("Strict-Transport-Security") != "" {
		t.Errorf("another client: %d %v", response.StatusCode, response.Header)
	}
	for key, want := range map[string]int{"a": http.StatusOK, "b": http.StatusOK} {
		if response, _ := ask(t, client, "GET", url+"/api/v1", "", "X-Key: "+key); response.StatusCode != want {
			t.Errorf("with key %s: %d", key, response.StatusCode)
		}
	}
	if response, _ := ask(t, client, "GET", url+"/api/v1", "", "X-Key: a"); response.StatusCode != http.StatusTooManyRequests {
		t.Errorf("with a key again: %d", response.StatusCode)
	}
	if response, _ := ask(t, client, "POST", url, strings.Repeat("x", 1025)); response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", response.StatusCode)
	}

	page := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(page, []byte("<p>soon"), 0o600); err != nil {
		t.Fatal(err)
	}
	tide := func(arguments ...string) string {
		return story.Output(t, p.Command(t.Context(), append(arguments, "--app", "shop")...))
	}
	tide("maintenance", "on", "--page", page, "--retry-after", "90s", "--allow", "192.0.2.7")
	check := func(client *http.Client) {
		t.Helper()
		response, body := ask(t, client, "GET", url, "")
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "90" || body != "<p>soon" {
			t.Errorf("in maintenance: %d %q", response.StatusCode, body)
		}
		if response, _ := ask(t, client, "GET", url, "", from("192.0.2.7")); response.StatusCode != http.StatusOK {
			t.Errorf("who is allowed gets %d", response.StatusCode)
		}
	}
	check(client)
	story.Deploy(t, p, folder) // it is healthy
	check(client)
	var told struct{ Maintenance springtide.Maintenance }
	if err := json.Unmarshal([]byte(tide("maintenance", "--json")), &told); err != nil || told.Maintenance.Page != "<p>soon" {
		t.Errorf("%+v, %v", told, err)
	}
	if listed := tide("ps", "--all"); !strings.Contains(listed, "maintenance") {
		t.Errorf("tide ps --all:\n%s", listed)
	}
	if status := tide("status"); !strings.Contains(status, "maintenance   shop/production") {
		t.Errorf("tide status:\n%s", status)
	}
	tide("maintenance", "off")
	if response, _ := ask(t, client, "GET", url, ""); response.StatusCode != http.StatusOK {
		t.Errorf("after maintenance: %d", response.StatusCode)
	}

	story.Refused(t, p.Command(context.Background(), "maintenance", "on", "--app", "shop", "--allow", "here"), 2)
	story.Refused(t, p.Command(context.Background(), "maintenance", "on", "--app", "nobody"), 3)
	story.Refused(t, p.Command(context.Background(), "serve", "--proxy-protocol"), 2)
	story.Refused(t, p.Command(context.Background(), "serve", "--trusted-proxy", "here"), 2)
}

func TestStatusTellsOfFloods(t *testing.T) {
	p := story.Platform(t, "--trusted-proxy", "127.0.0.0/8", "--proxy-protocol") // who is on this machine is never refused
	story.Deploy(t, p, shop(t))
	if status := story.Output(t, p.Command(t.Context(), "status")); strings.Contains(status, "floods") {
		t.Errorf("before there was one:\n%s", status)
	}
	for _, name := range []string{"pings", "rapid reset"} {
		if waves, err := flood(t.Context(), p.HTTPS, "192.0.2.66", "shop.localhost", floods[name], func() {}); err != nil || waves < 100 {
			t.Fatalf("%s: %d waves, %v", name, waves, err)
		}
	}
	story.Eventually(t, "both floods", 30*time.Second, func() bool {
		return strings.Contains(story.Output(t, p.Command(t.Context(), "status")), "floods        2 connections ended, 0 refused\n")
	})
	var told struct{ Floods springtide.FloodCounts }
	if err := json.Unmarshal([]byte(story.Output(t, p.Command(t.Context(), "status", "--json"))), &told); err != nil || told.Floods.Ended != 2 {
		t.Errorf("%+v, %v", told, err)
	}
}
