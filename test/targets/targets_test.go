// Package targets tells of processes that are scaled by more than how many
// requests are under way.
package targets

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// clerk serves one request after the other, each for 40 ms: 25 a second at most,
// and what is more waits inside of it.
const clerk = `
import http.server, os, threading, time
desk = threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path != "/healthz":
            with desk: time.sleep(0.04)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *a): pass
class Server(http.server.ThreadingHTTPServer): request_queue_size = 1000
Server(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
`

const manifest = `app: clerk
processes:
  web:
    command: exec python3 clerk.py
    health: { path: /healthz, interval: 1s }
    scale: { min: 1, max: 6, stable: 5s, target: { concurrency: 1000, %s } }
    limits: { memory: 64MiB }
`

// deploy puts the clerk up with a target, and gives its URL.
func deploy(t *testing.T, p *platform.Platform, target string) string {
	folder := t.TempDir()
	for name, text := range map[string]string{"clerk.py": clerk, "tide.yaml": fmt.Sprintf(manifest, target)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return story.Deploy(t, p, folder)
}

// load sends so many requests a second until it is stopped, and gives how many
// failed.
func load(t *testing.T, p *platform.Platform, url string, rate int) (stop func() (failed int)) {
	client := story.HTTP(t, p)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	running.Go(func() {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			running.Go(func() {
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
				if err != nil {
					t.Error(err)
					return
				}
				response, err := client.Do(request)
				if err == nil {
					response.Body.Close()
				}
				if err != nil || response.StatusCode != http.StatusOK {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
	})
	return func() int {
		cancel()
		running.Wait()
		return failed
	}
}

func ready(t *testing.T, p *platform.Platform) (n int) {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), springtide.EnvironmentID{App: "clerk", Name: springtide.Production})
	if err != nil {
		t.Fatal(err)
	}
	for _, instance := range instances {
		if instance.State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

// explained gives what tide explain says, and the inputs of its last decision.
func explained(t *testing.T, p *platform.Platform) (sentences string, inputs map[string]float64) {
	t.Helper()
	sentences, err := p.CLI(t.Context(), "explain", "--app", "clerk")
	if err != nil {
		t.Fatal(err)
	}
	text, err := p.CLI(t.Context(), "explain", "--app", "clerk", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var decisions []springtide.Decision
	if err := json.Unmarshal([]byte(text), &decisions); err != nil || len(decisions) == 0 {
		t.Fatalf("%v in %s", err, text)
	}
	return sentences, decisions[len(decisions)-1].Inputs
}

func TestAProcessIsScaledByItsRequestsASecond(t *testing.T) {
	p := story.Platform(t)
	t.Cleanup(func() {
		if t.Failed() {
			sentences, _ := p.CLI(context.WithoutCancel(t.Context()), "explain", "--app", "clerk")
			t.Log(sentences)
		}
	})
	url := deploy(t, p, "requests: 10")
	stop := load(t, p, url, 60)
	story.Eventually(t, "four instances, of which each has ten a second", 20*time.Second, func() bool { return ready(t, p) >= 4 })
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	sentences, inputs := explained(t, p)
	if !strings.Contains(sentences, "by requests: ") || !strings.Contains(sentences, ", 10 each; by concurrency 1") {
		t.Errorf("it is not said what was aimed at:\n%s", sentences)
	}
	if inputs["requests_each"] != 10 || inputs["need_requests"] == 0 {
		t.Errorf("the inputs do not tell of it: %v", inputs)
	}
	story.Eventually(t, "one instance to be left", time.Minute, func() bool { return ready(t, p) == 1 })
	status, err := p.CLI(t.Context(), "status")
	if err != nil || !strings.Contains(status, " wanted\n") {
		t.Errorf("%v: tide status does not say how much memory is wanted:\n%s", err, status)
	}
}

func TestAProcessIsScaledByItsLatency(t *testing.T) {
	p := story.Platform(t)
	t.Cleanup(func() {
		if t.Failed() {
			sentences, _ := p.CLI(context.WithoutCancel(t.Context()), "explain", "--app", "clerk")
			t.Log(sentences)
		}
	})
	url := deploy(t, p, "p95: 250ms")
	// More than one clerk can do: they queue inside of it, where no edge sees it.
	stop := load(t, p, url, 45)
	story.Eventually(t, "an instance more for the latency", 40*time.Second, func() bool { return ready(t, p) >= 2 })
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	if sentences, _ := explained(t, p); !strings.Contains(sentences, "by p95: p95 holds 250 ms up to ") {
		t.Errorf("it is not said what was aimed at:\n%s", sentences)
	}
}
