package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// platform has one run to give, and says afterwards that another release has
// taken over, or nothing.
type platform struct {
	mu       sync.Mutex
	drains   bool
	asked    []string
	finished chan map[string]any
}

func (p *platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Header.Get("Authorization") != "Bearer secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.asked = append(p.asked, r.URL.Path)
	answer := object{"runs": []object{}, "drain": p.drains, "beat_seconds": 10}
	switch {
	case r.URL.Path == "/env/leases" && len(p.asked) == 1:
		if queues, _ := json.Marshal(body["queues"]); string(queues) != `["default","mail"]` || body["runner"] != "worker-1-abcde" {
			p.finished <- body
		}
		answer["drain"] = false
		answer["runs"] = []object{{"run": "r1", "fence": 7, "attempt": 1, "payload": object{"text": "a b c"}}}
	case r.URL.Path == "/env/leases/complete" && len(p.asked) == 2:
		w.WriteHeader(http.StatusServiceUnavailable) // it is tried again
		return
	case r.URL.Path == "/env/leases/complete":
		p.finished <- body["runs"].([]any)[0].(map[string]any)
		answer = object{"accepted": []bool{true}}
	default:
		time.Sleep(10 * time.Millisecond)
	}
	json.NewEncoder(w).Encode(answer)
}

func start(t *testing.T, p *platform) *exec.Cmd {
	t.Helper()
	program := filepath.Join(t.TempDir(), "worker")
	if output, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	command := exec.Command(program)
	command.Env = append(os.Environ(), "TIDE_API="+server.URL+"/env", "TIDE_TOKEN=secret", "TIDE_INSTANCE=worker-1-abcde", "TIDE_QUEUES=default,mail")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill() })
	return command
}

func (p *platform) finish(t *testing.T) {
	t.Helper()
	select {
	case end := <-p.finished:
		if text, _ := json.Marshal(end); string(text) != `{"fence":7,"result":{"words":3},"run":"r1","verdict":"succeeded"}` {
			t.Errorf("it said %s", text)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it did not say how the run ended")
	}
}

func TestARunIsCarriedOutAndTheWorkerLeavesWhenAnotherReleaseTookOver(t *testing.T) {
	p := &platform{drains: true, finished: make(chan map[string]any, 9)}
	command := start(t, p)
	p.finish(t)
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheWorkerLeavesOnSIGTERM(t *testing.T) {
	p := &platform{finished: make(chan map[string]any, 9)}
	command := start(t, p)
	p.finish(t)
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := command.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestWhatIsNotHeldAnyMoreEnds(t *testing.T) {
	beats := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/leases/heartbeat" {
			w.Write([]byte(`{"accepted":[false]}`))
			return
		}
		beats++
		json.NewEncoder(w).Encode(object{"runs": []object{{"held": beats < 3}}})
	}))
	defer server.Close()
	api, token, runner = server.URL, "secret", "worker-1-abcde"
	work = func(held context.Context, _ json.RawMessage) (any, error) {
		<-held.Done()
		return nil, held.Err()
	}
	carryOut(hold{"r1", 7}, nil, 100*time.Millisecond)
	if beats < 3 {
		t.Errorf("it was given up after %d beats", beats)
	}
}
