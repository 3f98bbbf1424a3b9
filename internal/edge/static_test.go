package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func writeTable(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAStaticTableIsReadWithItsDefaults(t *testing.T) {
	folder := t.TempDir()
	pair := testCertificate(t)
	writeTable(t, filepath.Join(folder, "chain.pem"), pair.Chain)
	writeTable(t, filepath.Join(folder, "key.pem"), pair.Key)
	path := filepath.Join(folder, "table.json")
	writeTable(t, path, `{
		"routes": [
			{"hosts": ["Quiz.example.com", "*.quiz.example.com"], "backends": ["127.0.0.1:9000", "[::1]:9001"], "concurrency": 8, "answer_within": "30s", "try_within": "5s", "slow_start": "10s", "sticky": {"for": "1h", "secret": "x"}},
			{"backends": ["localhost:9002"], "hold_for": "1s"}
		],
		"certificates": [{"chain": "chain.pem", "key": "key.pem"}]
	}`)
	table, err := ReadTable(path, 7)
	if err != nil {
		t.Fatal(err)
	}
	first, second := table.Routes[0], table.Routes[1]
	if table.Version != 7 || first.Hosts[0] != "quiz.example.com" || first.HoldFor != staticHoldFor || first.AnswerWithin != 30*time.Second || first.Concurrency != 8 {
		t.Errorf("it became %+v", table)
	}
	if first.TryWithin != 5*time.Second || first.SlowStart != 10*time.Second || *first.Sticky != (springtide.Sticky{Cookie: "tide_session", For: time.Hour}) || string(first.SessionKey) != "x" {
		t.Errorf("its balancing became %+v", first)
	}
	if second.Hosts[0] != "*" || second.HoldFor != time.Second || second.Group == first.Group || second.Backends[0].Address != "localhost:9002" {
		t.Errorf("the second route became %+v", second)
	}
	if names := table.Certificates[0].Names; len(names) == 0 || names[0] != pair.Names[0] {
		t.Errorf("the certificate is for %v", names)
	}
}

func TestWhatIsWrongWithAStaticTableIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.json")
	for text, want := range map[string]string{
		`{"routes": [{"backends": ["127.0.0.1:1"], "sticky": {"cookie": "a;b"}}]}`: `table.json: route 1: "a;b" is no name of a cookie`,
		`{"routes": [{"backends": ["127.0.0.1:1"], "sticky": {"for": "1ms"}}]}`:    `table.json: route 1: sticky lasts whole seconds, not 1ms`,
		``:                                "table.json:1: EOF",
		"{\n\"routes\": [\n{]":            "table.json:3: invalid character",
		"{\n\"routes\": [{\"host\": 1}]}": `unknown field "host"`,
		`{"routes": []}`:                  "there are no routes",
		`{"routes": [{}]}`:                "route 1: it names no backend",
		`{"routes": [{"backends": ["localhost"]}]}`:                                              `backend "localhost" is no address`,
		`{"routes": [{"backends": ["a:0"]}]}`:                                                    `backend "a:0" is no address`,
		`{"routes": [{"hosts": ["a:80"], "backends": ["a:1"]}]}`:                                 `"a:80" is no host name`,
		`{"routes": [{"hosts": ["a"], "backends": ["a:1"]},{"hosts":["A"],"backends":["b:1"]}]}`: "route 2: a has a route already",
		`{"routes": [{"backends": ["a:1"], "hold_for": 3}]}`:                                     `3 is no duration: write it like "30s"`,
		`{"routes": [{"backends": ["a:1"], "concurrency": -1}]}`:                                 "a limit is negative",
		`{"version": -1, "routes": [{"backends": ["a:1"]}]}`:                                     "version is negative",
		`{"routes": [{"backends": ["a:1"]}], "certificates": [{"chain": "none.pem"}]}`:           "none.pem: no such file",
		`{"routes": [{"backends": ["a:1"]}]} {}`:                                                 "there is something behind the table",
	} {
		writeTable(t, path, text)
		if _, err := ReadTable(path, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}

func TestWhatIsNothingToListenOnIsRefused(t *testing.T) {
	for _, address := range []string{"127.0.0.1:80", "ftp://127.0.0.1:80", "http://example.com:80", "http://127.0.0.1", "http://127.0.0.1:"} {
		if listeners, err := Listen([]string{"http://127.0.0.1:0", address}); err == nil || len(listeners) > 0 {
			t.Errorf("%s is listened on", address)
		}
	}
}

// logLines is a log that a test waits for.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logLines) await(t *testing.T, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		l.mu.Lock()
		text := l.text.String()
		l.mu.Unlock()
		if strings.Contains(text, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log has no %q:\n%s", want, text)
		}
	}
}

func TestAnEdgeAloneServesItsTableAndReadsItAgain(t *testing.T) {
	goOn := make(chan struct{})
	say := func(text string) string {
		return serveInstance(t, "web-1-a", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, text)
			if r.URL.Path == "/long" {
				_ = http.NewResponseController(w).Flush()
				<-goOn
				io.WriteString(w, " to its end")
			}
		}).Address
	}
	path := filepath.Join(t.TempDir(), "table.json")
	tableOf := func(address string) string {
		return fmt.Sprintf(`{"routes": [{"backends": [%q]}]}`, address)
	}
	writeTable(t, path, tableOf(say("the first")))
	listeners, err := Listen([]string{"http://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	accepting, err := net.FileListener(listeners[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer accepting.Close()
	log := &logLines{}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- Alone(ctx, path, Options{Listeners: listeners, Logger: slog.New(slog.NewTextHandler(log, nil))})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	get := func() string {
		response, err := (&http.Client{Transport: transport}).Get("http://" + accepting.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return string(body)
	}
	log.await(t, "the edge serves")
	if got := get(); got != "the first" {
		t.Fatalf("it answered %q", got)
	}
	for text, want := range map[string]string{
		`{`: "the table in force stays",
		`{"version": 1, "routes": [{"backends": ["127.0.0.1:1"]}]}`: "not newer than the one in force",
	} {
		writeTable(t, path, text)
		syscall.Kill(os.Getpid(), syscall.SIGHUP)
		log.await(t, want)
		if got := get(); got != "the first" {
			t.Errorf("%s: it answered %q", text, got)
		}
	}
	long, err := (&http.Client{Transport: transport}).Get("http://" + accepting.Addr().String() + "/long")
	if err != nil {
		t.Fatal(err)
	}
	defer long.Body.Close()
	writeTable(t, path, tableOf(say("the second")))
	syscall.Kill(os.Getpid(), syscall.SIGHUP)
	for deadline := time.Now().Add(time.Minute); get() != "the second"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not serve the second table")
		}
	}
	close(goOn)
	if body, err := io.ReadAll(long.Body); err != nil || string(body) != "the first to its end" {
		t.Errorf("a backend that is named no more was not let finish: %q, %v", body, err)
	}
}

func TestATableForHTTPSNeedsACertificate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.json")
	writeTable(t, path, `{"routes": [{"backends": ["127.0.0.1:1"]}]}`)
	listeners, err := Listen([]string{"https://127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer listeners[0].File.Close()
	if err := Alone(t.Context(), path, Options{Listeners: listeners}); err == nil || !strings.Contains(err.Error(), "has no certificate for HTTPS") {
		t.Errorf("it served: %v", err)
	}
}

func FuzzStaticTable(f *testing.F) {
	f.Add(`{"version": 3, "routes": [{"hosts": ["a.example.com"], "backends": ["127.0.0.1:9000"], "hold_for": "3s"}]}`)
	f.Add(`{"routes": [{"backends": []}], "certificates": [{}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var static staticTable
		if json.Unmarshal([]byte(text), &static) != nil {
			return
		}
		table, err := static.table(t.TempDir())
		if err != nil {
			return
		}
		for _, route := range table.Routes {
			if len(route.Hosts) == 0 || len(route.Backends) == 0 || route.HoldFor <= 0 {
				t.Errorf("%s became %+v", text, route)
			}
		}
	})
}
