// Package targets tells of processes that are scaled by more than how many
// requests are under way.
package targets

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
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
// and what is more waits inside of it. Below /work it is 20 ms of a processor. Once a
// file is there it does not start in the minute that it has.
const clerk = `
import http.server, os, threading, time
if os.path.exists(os.environ.get("SLOW_IF", "")): time.sleep(90)
desk = threading.Lock()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/work":
            end = time.thread_time() + 0.02
            while time.thread_time() < end: pass
        elif self.path != "/healthz":
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
	return deployAs(t, p, fmt.Sprintf(manifest, target))
}

func deployAs(t *testing.T, p *platform.Platform, manifest string) string {
	folder := t.TempDir()
	for name, text := range map[string]string{"clerk.py": clerk, "tide.yaml": manifest} {
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
	client.Timeout = 3 * time.Minute // they queue in the app, which a busy machine gives help late
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	running.Go(func() {
		began := time.Now()
		for sent := time.Duration(0); ; sent++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(began.Add(sent * time.Second / time.Duration(rate)))): // a ticker leaves out what it is late for
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

func ready(t *testing.T, p *platform.Platform) int { return readyOf(t, p, "clerk") }

func readyOf(t *testing.T, p *platform.Platform, app springtide.AppName) (n int) {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), springtide.EnvironmentID{App: app, Name: springtide.Production})
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
	stop := load(t, p, url+"/healthz", 60) // what comes before there are enough does not queue
	story.Eventually(t, "four instances, of which each has ten a second", 2*time.Minute, func() bool { return ready(t, p) >= 4 })
	sentences, inputs := explained(t, p) // while there are requests
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	if !strings.Contains(sentences, "by requests: ") || !strings.Contains(sentences, ", 10 each; by concurrency 1") {
		t.Errorf("it is not said what was aimed at:\n%s", sentences)
	}
	if inputs["requests_each"] != 10 || inputs["need_requests"] == 0 {
		t.Errorf("the inputs do not tell of it: %v", inputs)
	}
	story.Eventually(t, "one instance to be left", 2*time.Minute, func() bool { return ready(t, p) == 1 })
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
	story.Eventually(t, "an instance more for the latency", 2*time.Minute, func() bool { return ready(t, p) >= 2 })
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	if sentences, _ := explained(t, p); !strings.Contains(sentences, "by p95: p95 holds 250 ms up to ") {
		t.Errorf("it is not said what was aimed at:\n%s", sentences)
	}
}

func TestOfSeveralTargetsTheHighestCountsAndIsNamed(t *testing.T) {
	p := story.Platform(t)
	t.Cleanup(func() {
		if t.Failed() {
			sentences, _ := p.CLI(context.WithoutCancel(t.Context()), "explain", "--app", "clerk")
			t.Log(sentences)
		}
	})
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(status.IsolationNotes, "; "); strings.Contains(notes, "limits are not enforced") {
		t.Skipf("what instances use is not measured here: %s", notes)
	}
	url := deploy(t, p, "requests: 100, p95: 1m, cpu: 1%")
	stop := load(t, p, url+"/work", 10) // a fifth of a processor, if it is given that
	story.Eventually(t, "more instances, of which each has a hundredth of a processor", 2*time.Minute, func() bool { return ready(t, p) >= 2 })
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	decisions, err := p.Client.Decisions(t.Context(), springtide.EnvironmentID{App: "clerk", Name: springtide.Production}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range decisions {
		if d.To > d.From && d.Inputs["need_cpu"] >= 2 && d.Inputs["need_concurrency"] == 1 && d.Inputs["need_requests"] == 1 && d.Inputs["cpu_each"] == 0.01 &&
			strings.Contains(d.Sentence, "by cpu: ") && strings.Contains(d.Sentence, " cores in use, ") && strings.Contains(d.Sentence, "0.01 each; by concurrency 1; by requests 1") {
			return
		}
	}
	t.Errorf("no decision tells what was aimed at: %+v", decisions)
}

func TestAnInstanceThatIsNotReadyInTimeIsNotCountedOnAndThatIsSaid(t *testing.T) {
	p := story.Platform(t)
	t.Cleanup(func() {
		if t.Failed() {
			sentences, _ := p.CLI(context.WithoutCancel(t.Context()), "explain", "--app", "clerk")
			t.Log(sentences)
		}
	})
	slow := filepath.Join(story.Folder(t), "slow")
	url := deployAs(t, p, fmt.Sprintf(manifest, "requests: 10")+fmt.Sprintf("    env: { SLOW_IF: %q }\n", slow))
	story.Eventually(t, "the one that starts soon", time.Minute, func() bool { return ready(t, p) == 1 })
	if err := os.WriteFile(slow, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	stopFew := load(t, p, url+"/healthz", 20)
	id := springtide.EnvironmentID{App: "clerk", Name: springtide.Production}
	var ordered time.Time
	story.Eventually(t, "another to be late", time.Minute, func() bool {
		instances, err := p.Client.Instances(t.Context(), id)
		if err == nil && len(instances) > 1 && ordered.IsZero() {
			ordered = time.Now()
		}
		return !ordered.IsZero() && time.Since(ordered) > 11*time.Second
	})
	stopMany := load(t, p, url+"/healthz", 80) // more than all that were ordered can have
	story.Eventually(t, "it to be told", time.Minute, func() bool {
		sentences, _ := explained(t, p)
		return strings.Contains(sentences, "not ready in time: ")
	})
	if n := ready(t, p); n != 1 {
		t.Errorf("%d are ready, but it is told that they are not", n)
	}
	if failed := stopFew() + stopMany(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
}

// shared is the manifest of an app that wants three more instances than it needs.
const shared = `app: %[1]s
processes:
  web:
    command: exec python3 clerk.py
    health: { path: /healthz, interval: 1s }
    scale: { min: 1, max: 4, spare: 3, priority: %[1]s, stable: 1s, target: { concurrency: 100 } }
    limits: { memory: %[2]dMiB }
`

func TestAppsThatWantMoreThanTheMachineHasShareItByPriority(t *testing.T) {
	p := story.Platform(t)
	lacks := "" // of what is waited for
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lacks)
			for _, app := range []string{"low", "high"} {
				sentences, _ := p.CLI(context.WithoutCancel(t.Context()), "explain", "--app", app)
				t.Log(sentences)
			}
		}
	})
	// Four instances fit, and nearly a fifth. It is not known before the first runs.
	deploy(t, p, "requests: 1000")
	memory := func() int64 {
		status, err := p.Status(t.Context())
		if err != nil || status.Capacity == nil { // it was not measured of late
			return 0
		}
		return status.Capacity.Memory
	}
	each := int64(0)
	story.Eventually(t, "it to be known what the machine has", time.Minute, func() bool {
		each = memory() * 2 / 9 >> 20
		return each > 0
	})
	// What others take of the machine's memory meanwhile, or give back, changes how many fit.
	fit := func() int { return int((memory()>>20 - 64) / each) } // besides the one of the clerk
	const wanted = 4
	low := deployAs(t, p, fmt.Sprintf(shared, "low", each))
	stopLow := load(t, p, low, 5)
	story.Eventually(t, "as many of the first app as it wants", 2*time.Minute, func() bool { return readyOf(t, p, "low") == min(fit(), wanted) })
	high := deployAs(t, p, fmt.Sprintf(shared, "high", each))
	stopHigh := load(t, p, high, 5)
	story.Eventually(t, "all but one of the more important one, the least of the other, and that to be told", 3*time.Minute, func() bool {
		room := fit()
		first := min(room-1, wanted)
		second := min(room-first, wanted)
		if lacks = fmt.Sprintf("there is room for %d and %d", first, second); first <= second || readyOf(t, p, "high") != first || readyOf(t, p, "low") != second {
			return false
		}
		status, err := p.CLI(t.Context(), "status")
		if err != nil {
			t.Fatal(err)
		}
		measured := metrics(t, p)
		for _, one := range []struct {
			app           string
			priority, has int
		}{{"high", 100, first}, {"low", 1, second}} {
			if one.has == wanted {
				continue
			}
			said, err := p.CLI(t.Context(), "explain", "--app", one.app)
			if err != nil {
				t.Fatal(err)
			}
			for _, told := range []struct{ by, what string }{
				{said, " MiB of memory is wanted or held and there is "},
				{said, fmt.Sprintf("with priority %d, %d x ", one.priority, one.has)},
				{status, fmt.Sprintf("at capacity: %s/production/web/1.1 has %d of the %d instances it wants", one.app, one.has, wanted)},
				{measured, fmt.Sprintf(`tide_replicas_short{app=%q,environment="production",process="web",release="1"} %d`, one.app, wanted-one.has)},
			} {
				if !strings.Contains(told.by, told.what) {
					lacks = fmt.Sprintf("%q is not in\n%s", told.what, told.by)
					return false
				}
			}
		}
		return true
	})
	if failed := stopLow() + stopHigh(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
}

// metrics gives what the platform tells on its socket.
func metrics(t *testing.T, p *platform.Platform) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", filepath.Join(p.Data, "run", "api.sock"))
	}}}
	return story.Get(t, client, "http://tide/metrics")
}
