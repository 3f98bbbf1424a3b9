package jobs

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

const calling = `app: shop
processes:
  web:
    command: exec python3 web.py
    health: { path: / }
    scale: { min: 0, max: 1, idle: 2s }
mail: { from: "Shop <shop@example.com>" }
schedules:
  prices: { every: 2s, url: /tasks/prices, payload: { all: true } }
`

// echoed is what the app answers of a call, as the run's result keeps it.
type echoed struct {
	Status int
	Body   struct {
		Path    string
		Headers map[string]string
		Body    json.RawMessage
	}
}

func TestThePlatformCallsTheAppAndOthersForIt(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t, "--allow-calls", "127.0.0.2/32"), calling, webFiles(t)...)

	var slot springtide.Run
	story.Eventually(t, "a slot that was called", patience, func() bool {
		all := s.runs(jobs.Query{Schedule: "prices", States: []springtide.RunState{springtide.RunSucceeded}})
		if len(all) > 0 {
			slot = s.show(all[0].ID)
		}
		return len(all) > 0
	})
	checkEcho(t, slot, "/tasks/prices", `{"all":true}`)
	s.tide("schedules", "pause", "prices")
	story.Eventually(t, "the app to sleep", patience, func() bool { return len(s.workers("web")) == 0 })

	woken := s.enqueue("--url", "/tasks/wake", "--payload", `{"up":1}`)
	checkEcho(t, s.await(woken, springtide.RunSucceeded), "/tasks/wake", `{"up":1}`)
	busy, never := s.enqueue("--url", "/busy"), s.enqueue("--url", "/never", "--payload", "{}")
	if run := s.await(never, springtide.RunDead); run.Attempt != 1 || !strings.Contains(run.Reason, "404") {
		t.Errorf("what was answered with 404 is %+v", run)
	}

	for host, state := range map[string]springtide.RunState{"127.0.0.1": springtide.RunDead, "127.0.0.2": springtide.RunSucceeded} {
		run := s.await(s.enqueue("--url", elsewhere(t, host), "--payload", `{"order":7}`), state)
		if state == springtide.RunDead && (!strings.Contains(run.Reason, host) || run.Attempt != 1) {
			t.Errorf("a call to %s: %+v", host, run)
		}
		if state == springtide.RunSucceeded && !strings.Contains(string(run.Result), "pong") {
			t.Errorf("a call to %s has the result %s", host, run.Result)
		}
	}
	// By itself it would be tried again after at most 18 s.
	if run := s.await(busy, springtide.RunSucceeded); run.Attempt != 2 || run.Started.Sub(run.Created) < 20*time.Second {
		t.Errorf("what was answered with 503 and Retry-After: 20 was tried again after %s: %+v", run.Started.Sub(run.Created), run)
	}
}

// checkEcho checks what the app told of a call; it answers only if the signature
// is right.
func checkEcho(t *testing.T, run springtide.Run, path, body string) {
	t.Helper()
	var told echoed
	if err := json.Unmarshal(run.Result, &told); err != nil {
		t.Fatalf("%s: %v", run.Result, err)
	}
	got := told.Body
	if told.Status != http.StatusOK || got.Path != path || strings.Join(strings.Fields(string(got.Body)), "") != body ||
		got.Headers["Idempotency-Key"] != string(run.ID) || got.Headers["Tide-Run"] != string(run.ID) || got.Headers["Tide-Attempt"] != "1" {
		t.Errorf("the app was called with %+v", told)
	}
	if run.Schedule != "" && (got.Headers["Tide-Schedule"] != string(run.Schedule) || got.Headers["Tide-Slot"] != run.Slot.UTC().Format(time.RFC3339)) {
		t.Errorf("for a slot the app was called with %+v", got.Headers)
	}
}

// elsewhere is somebody else's, on an address of this machine.
func elsewhere(t *testing.T, host string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"answer":"pong"}`))
	}))
	server.Listener.Close()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return server.URL + "/ping"
}
