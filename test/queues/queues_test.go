// Package queues tells of processes that are scaled by queues which the platform
// does not keep.
package queues

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

var shop = springtide.EnvironmentID{App: "shop", Name: springtide.Production}

// front puts messages into a list of Redis: as many as it is asked for.
const front = `
import http.server, os, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        words = ["PING"] if self.path == "/" else ["RPUSH", "jobs"] + ["x"] * int(self.path[1:])
        said = subprocess.run(["redis-cli", "-u", os.environ["REDIS_URL"]] + words, capture_output=True).stdout
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler).serve_forever()
`

// worker takes one message after the other, each for 300 ms.
const worker = `#!/bin/sh
trap 'exit 0' TERM
while true; do
  redis-cli -u "$REDIS_URL" BRPOP jobs 1 | grep -q x && sleep 0.3
done
`

// deploy puts the app up.
func deploy(t *testing.T, p *platform.Platform, manifest string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range map[string]string{"front.py": front, "worker.sh": worker, "tide.yaml": manifest} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	return story.Deploy(t, p, folder)
}

// workers counts the instances of the worker that are ready.
func workers(t *testing.T, p *platform.Platform) (n int) {
	t.Helper()
	instances, err := p.Client.Instances(t.Context(), shop)
	if err != nil {
		t.Fatal(err)
	}
	for _, instance := range instances {
		if instance.Group.Process == "worker" && instance.State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

// told gives what tide status says of the outside queue.
func told(t *testing.T, p *platform.Platform) api.OutsideQueueStatus {
	t.Helper()
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.OutsideQueues) != 1 {
		return api.OutsideQueueStatus{Trouble: "it is not there"}
	}
	return status.OutsideQueues[0]
}

func explained(t *testing.T, p *platform.Platform, arguments ...string) string {
	t.Helper()
	said, err := p.CLI(t.Context(), append([]string{"explain", "--app", "shop", "-n", "100"}, arguments...)...)
	if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestMessagesInAListOfRedisStartWorkersAndTheyGoWhenItIsEmpty(t *testing.T) {
	p := story.Platform(t)
	url := deploy(t, p, `app: shop
processes:
  web: { command: exec python3 front.py, scale: { max: 1 } }
  worker:
    command: exec sh worker.sh
    grace: 2s
    scale: { max: 4, stable: 2s, idle: 6s, queue: { redis: [jobs] }, target: { wait: 5s } }
services: { cache: { kind: redis } }
`)
	client := story.HTTP(t, p)
	story.Eventually(t, "the empty queue to be seen", time.Minute, func() bool { return told(t, p).Trouble == "" })
	if n := workers(t, p); n != 0 {
		t.Errorf("%d workers without a message", n)
	}
	story.Get(t, client, url+"/1")
	story.Eventually(t, "a worker for one message", time.Minute, func() bool { return workers(t, p) >= 1 })
	story.Eventually(t, "it to go", 2*time.Minute, func() bool { return workers(t, p) == 0 })
	story.Get(t, client, url+"/150")
	story.Eventually(t, "all workers for many", time.Minute, func() bool { return workers(t, p) == 4 })
	story.Eventually(t, "the queue to be empty", 3*time.Minute, func() bool { q := told(t, p); return q.Trouble == "" && q.Waiting == 0 })
	story.Eventually(t, "none to be left", 3*time.Minute, func() bool { return workers(t, p) == 0 })
	said := explained(t, p)
	if !strings.Contains(said, "0 to 1: ") || !strings.Contains(said, "to 0: no run for") || !strings.Contains(said, " waiting and 0 under way") {
		t.Errorf("tide explain:\n%s", said)
	}
}

// sqs stands in for SQS: it has as many messages as it is told, or is out of order
// where that is less than none.
func sqs(t *testing.T) (url string, messages *atomic.Int64) {
	t.Helper()
	messages = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := messages.Load()
		if n < 0 || r.Header.Get("X-Amz-Target") != "AmazonSQS.GetQueueAttributes" {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Attributes": map[string]string{
			"ApproximateNumberOfMessages": fmt.Sprint(n), "ApproximateNumberOfMessagesNotVisible": "0",
		}})
	}))
	t.Cleanup(server.Close)
	return server.URL + "/1/jobs", messages
}

func TestAQueueThatCannotBeReachedChangesNothingAndIsTold(t *testing.T) {
	url, messages := sqs(t)
	p := story.Platform(t, "--allow-calls", "127.0.0.0/8")
	deploy(t, p, `app: shop
processes:
  worker:
    command: exec sleep 100000
    grace: 1s
    scale: { max: 3, stable: 2s, idle: 3s, queue: { sqs: "`+url+`", every: 1s }, target: { wait: 5s } }
`)
	messages.Store(100)
	story.Eventually(t, "three workers", time.Minute, func() bool { return workers(t, p) == 3 })
	messages.Store(-1)
	story.Eventually(t, "it to be told", time.Minute, func() bool { return strings.Contains(told(t, p).Trouble, "it answered 503") })
	story.Eventually(t, "it to be explained", time.Minute, func() bool {
		return strings.Contains(explained(t, p), "stays at 3: nothing is known of its queue: sqs queue: it answered 503")
	})
	if status, err := p.CLI(t.Context(), "status"); err != nil || !strings.Contains(status, "worker cannot be seen: sqs queue: it answered 503") {
		t.Errorf("tide status: %v\n%s", err, status)
	}
	if n := workers(t, p); n != 3 {
		t.Errorf("%d workers are left", n)
	}
	messages.Store(0)
	story.Eventually(t, "the workers to go", 3*time.Minute, func() bool { return workers(t, p) == 0 })
}

func TestAPrivateAddressThatTheServerDoesNotAllowIsRefused(t *testing.T) {
	url, messages := sqs(t)
	messages.Store(100)
	p := story.Platform(t)
	deploy(t, p, `app: shop
processes:
  worker: { command: exec sleep 100000, scale: { queue: { http: "`+url+`", every: 1s } } }
`)
	story.Eventually(t, "it to be told", time.Minute, func() bool {
		return strings.Contains(told(t, p).Trouble, "127.0.0.1 is not a public address; the platform calls nowhere else unless the server allows it")
	})
	if n := workers(t, p); n != 0 {
		t.Errorf("%d workers", n)
	}
}
