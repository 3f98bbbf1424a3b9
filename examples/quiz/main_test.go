package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestMain lets the tests run the app as a process of its own: this binary.
func TestMain(m *testing.M) {
	if os.Getenv("QUIZ_TEST_PROCESS") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// process is a running quiz.
type process struct {
	*exec.Cmd
	url string
}

func start(t *testing.T, env ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append([]string{
		"QUIZ_TEST_PROCESS=1", "HOST=127.0.0.1", "PORT=0", "UPLOADS=" + t.TempDir(),
		"TIDE_RELEASE=7", "TIDE_INSTANCE=web-7-abcde",
	}, env...)...)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if match := regexp.MustCompile(`msg=listening .*address=(\S+)`).FindStringSubmatch(lines.Text()); match != nil {
			go io.Copy(io.Discard, stdout)
			return &process{cmd, "http://" + match[1]}
		}
	}
	t.Fatal("the app never listened")
	return nil
}

func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// exits fails the test unless the process ends with that code.
func (p *process) exits(t *testing.T, code int) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- p.Wait() }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("the app did not exit")
	}
	if got := p.ProcessState.ExitCode(); got != code {
		t.Fatalf("exit status %d, want %d", got, code)
	}
}

func TestATerminatedAppFinishesItsRequestsAndAnswersThoseThatStillArrive(t *testing.T) {
	p := start(t)
	slow := begin(t, p.url+"/slow?ms=800&token=first")
	waitFor(t, func() bool { return isServing(p.url) })
	time.Sleep(200 * time.Millisecond) // the slow request is on its way to the app
	p.terminate(t)
	if late := get(t, p.url+"/work?ms=100&token=late"); !strings.Contains(late, "late") {
		t.Errorf("a request after SIGTERM got %q", late)
	}
	if body := <-slow; !strings.Contains(body, "first") {
		t.Errorf("the request in flight got %q", body)
	}
	p.exits(t, 0)
}

func TestATerminatedAppEndsStreamsPolitely(t *testing.T) {
	p := start(t)
	events, err := http.Get(p.url + "/scores?every=50")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	reader := bufio.NewReader(events.Body)
	if line, err := reader.ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Fatalf("first line %q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	socket, _, err := websocket.Dial(ctx, p.url+"/live/tides", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	if err := socket.Write(ctx, websocket.MessageText, []byte("Sun and Moon")); err != nil {
		t.Fatal(err)
	}
	if _, message, err := socket.Read(ctx); err != nil || string(message) != "Sun and Moon" {
		t.Fatalf("the room said %q, %v", message, err)
	}

	p.terminate(t)
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want close 1001", err)
	}
	rest, err := io.ReadAll(reader)
	if err != nil || !strings.HasSuffix(string(rest), "please reconnect\n\n") {
		t.Errorf("the event stream ended with %v after %q", err, rest)
	}
	p.exits(t, 0)
}

func TestARequestThatOutlivesTheGracePeriodMakesTheExitUnclean(t *testing.T) {
	p := start(t, "GRACE=300ms")
	begin(t, p.url+"/slow?ms=60000")
	waitFor(t, func() bool { return isServing(p.url) })
	time.Sleep(200 * time.Millisecond) // the slow request is on its way to the app
	p.terminate(t)
	p.exits(t, 1)
}

func TestASlowStartDelaysListening(t *testing.T) {
	began := time.Now()
	p := start(t, "START_DELAY=400ms")
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("listened after %v", took)
	}
	p.terminate(t)
	p.exits(t, 0)
}

func TestABrokenAppIsBrokenAsAsked(t *testing.T) {
	t.Run("exit", func(t *testing.T) {
		env := map[string]string{"BREAK": "1"}
		err := run(t.Context(), func(name string) string { return env[name] }, io.Discard)
		if err == nil || !strings.Contains(err.Error(), "BREAK") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("unhealthy", func(t *testing.T) {
		p := start(t, "BREAK=unhealthy")
		answer, err := http.Get(p.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("got %s", answer.Status)
		}
	})
	t.Run("misspelt", func(t *testing.T) {
		env := map[string]string{"BREAK": "exi"}
		if err := run(t.Context(), func(name string) string { return env[name] }, io.Discard); err == nil {
			t.Error("taken")
		}
	})
}

func get(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s: %s", url, answer.Status)
	}
	return string(body)
}

// begin makes a request and returns when it was sent; what it got comes later.
func begin(t *testing.T, url string) <-chan string {
	t.Helper()
	sent, got := make(chan struct{}), make(chan string, 1)
	trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }}
	request, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		answer, err := new(http.Transport).RoundTrip(request)
		if err != nil {
			got <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		got <- answer.Status + " " + string(body)
	}()
	select {
	case <-sent:
	case failed := <-got:
		t.Fatal(failed)
	}
	return got
}

func isServing(url string) bool {
	answer, err := http.Get(url + "/healthz")
	if err != nil {
		return false
	}
	answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("waited too long")
		}
		time.Sleep(10 * time.Millisecond)
	}
}
