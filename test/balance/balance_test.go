// Package balance tells of an app with one instance that fails, and of clients
// that stay with theirs.
package balance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

const manifest = `app: balance
processes:
  web:
    command: python3 server.py
    scale: { min: 3, max: 3 }
    sticky: { cookie: mine }
`

// server answers its instance's name, and with 503 from when it is told to break
// until it is told to mend; its health check, a connection, does not notice.
const server = `
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    broken = False

    def do_GET(self):
        status = 503 if Handler.broken else 200
        if self.path in ("/break", "/mend"):
            Handler.broken = self.path == "/break"
        body = os.environ["TIDE_INSTANCE"].encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *args):
        pass

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`

func deploy(t *testing.T) (p *platform.Platform, folder, url string) {
	t.Helper()
	p, folder = story.Platform(t), story.Folder(t)
	for name, text := range map[string]string{"tide.yaml": manifest, "server.py": server} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	url = story.Deploy(t, p, folder)
	story.Eventually(t, "three instances to be ready", 2*time.Minute, func() bool {
		ready := 0
		for _, instance := range instances(t, p) {
			if instance.State == springtide.InstanceReady {
				ready++
			}
		}
		return ready == 3
	})
	return p, folder, url
}

// instances gives what tide ps says.
func instances(t *testing.T, p *platform.Platform) []springtide.Instance {
	t.Helper()
	text, err := p.CLI(t.Context(), "ps", "--app", "balance", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var list []springtide.Instance
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return list
}

func ask(t *testing.T, client *http.Client, method, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
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
	return response.StatusCode, string(text)
}

func TestAnInstanceThatFailsIsMetByFewAndComesBack(t *testing.T) {
	p, _, url := deploy(t)
	client := story.HTTP(t, p)
	_, bad := ask(t, client, http.MethodGet, url+"/break")
	failed := 0
	for range 200 {
		if status, _ := ask(t, client, http.MethodGet, url); status != http.StatusOK {
			t.Fatalf("a request that can be repeated got %d", status)
		}
		if status, _ := ask(t, client, http.MethodPost, url); status != http.StatusOK {
			failed++
		}
	}
	if failed > 10 {
		t.Errorf("%d of 200 requests that cannot be repeated met the instance that fails", failed)
	}
	ejected := func() (id string) {
		for _, instance := range instances(t, p) {
			if !instance.Ejected.IsZero() {
				id = string(instance.ID)
			}
		}
		return id
	}
	story.Eventually(t, "the ejection to be told", time.Minute, func() bool {
		ask(t, client, http.MethodGet, url) // whose ejection is over is tried, and fails again
		shown, err := p.CLI(t.Context(), "ps", "--app", "balance")
		return err == nil && strings.Contains(shown, "ejected") && strings.Contains(shown, "it answered 503") && ejected() == bad
	})
	for _, instance := range instances(t, p) {
		if string(instance.ID) == bad {
			ask(t, http.DefaultClient, http.MethodGet, "http://"+instance.Address+"/mend")
		}
	}
	story.Eventually(t, "the instance to come back", 5*time.Minute, func() bool { // each ejection takes twice as long as the one before
		_, by := ask(t, client, http.MethodGet, url)
		return by == bad && ejected() == ""
	})
}

func TestAClientStaysWithItsInstanceAndMovesInARollout(t *testing.T) {
	p, folder, url := deploy(t)
	client := story.HTTP(t, p)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client.Jar = jar
	status, own := ask(t, client, http.MethodGet, url)
	for range 20 {
		if again, by := ask(t, client, http.MethodGet, url); status != http.StatusOK || again != http.StatusOK || by != own {
			t.Fatalf("%s answered with %d, then %s with %d", own, status, by, again)
		}
	}
	story.Stamp(t, folder, "2")
	deployed := make(chan error, 1)
	go func() {
		_, err := p.Deploy(t.Context(), folder)
		deployed <- err
	}()
	met := []string{own}
	for rolling := true; rolling; {
		select {
		case err := <-deployed:
			if err != nil {
				t.Fatal(err)
			}
			rolling = false
		default:
		}
		status, by := ask(t, client, http.MethodGet, url)
		if status != http.StatusOK {
			t.Fatalf("got %d in the rollout", status)
		}
		if by != met[len(met)-1] {
			met = append(met, by)
		}
	}
	if len(met) != 2 || !strings.HasPrefix(met[1], "web-2-") {
		t.Errorf("the client met %v", met)
	}
}
