package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// accessLine is one line of the log.
type accessLine struct {
	Time        time.Time `json:"time"`
	RequestID   string    `json:"request_id"`
	Host        string    `json:"host"`
	Method      string    `json:"method"`
	Path        string    `json:"path"`
	Protocol    string    `json:"protocol"`
	Status      int       `json:"status"`
	Bytes       int64     `json:"bytes"`
	Duration    float64   `json:"duration_ms"`
	Held        float64   `json:"held_ms,omitempty"`
	Instance    string    `json:"instance,omitempty"`
	App         string    `json:"app,omitempty"`
	Environment string    `json:"environment,omitempty"`
	Release     int       `json:"release,omitempty"`
	Client      string    `json:"client"`
	UserAgent   string    `json:"user_agent,omitempty"`
	// Incomplete says that the answer broke off, or that the client did.
	Incomplete bool `json:"incomplete,omitempty"`
}

func TestEveryRequestHasItsLineInTheAccessLog(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "tea")
	})))
	request, _ := http.NewRequestWithContext(t.Context(), "PUT", "https://"+testHost+"/a\"b?secret=1", nil)
	request.Header.Set("User-Agent", "test\u00e9 \"x\"")
	request.Header.Set("X-Request-Id", "the-id")
	do(t, e.client(t, true), request)
	path := filepath.Join(e.folder, "edge", "access.log")
	var line accessLine
	eventually(t, "the line", func() bool {
		data, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(data, &line) == nil
	})
	if line.RequestID != "the-id" || line.Host != testHost || line.Method != "PUT" || line.Path != `/a"b` || line.Protocol != "HTTP/2.0" ||
		line.Status != 418 || line.Bytes != 3 || line.Duration <= 0 || line.Instance != "web-1-a" || line.App != "demo" ||
		line.Environment != "production" || line.Release != 1 || line.Client != "127.0.0.1" || line.UserAgent == "" || time.Since(line.Time) > time.Minute {
		t.Errorf("logged %+v", line)
	}
}

func TestWhatWaitsForTheLogIsWrittenAtTheEnd(t *testing.T) {
	e := startEdge(t)
	e.route(t, routeTo(serveInstance(t, "web-1-a", fine)))
	get(t, e.client(t, true), "/")
	e.process.cancel()
	<-e.process.ended
	if data, err := os.ReadFile(filepath.Join(e.folder, "edge", "access.log")); err != nil || bytes.Count(data, []byte("\n")) != 1 {
		t.Errorf("the log has %q, %v", data, err)
	}
}

func newTestLog(t *testing.T) *accessLog {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "edge"), 0o700); err != nil {
		t.Fatal(err)
	}
	return newAccessLog(folder, testLogger())
}

func TestTwoEdgesRotateOneLogWithoutLosingALine(t *testing.T) {
	first := newTestLog(t)
	second := newAccessLog(filepath.Dir(filepath.Dir(first.path)), testLogger())
	first.size, second.size = 4000, 4000
	var writers sync.WaitGroup
	for _, log := range []*accessLog{first, second} {
		writers.Go(func() {
			for range 50 {
				log.add([]byte(`{"line":"` + strings.Repeat("x", 90) + `"}`))
				log.flush()
			}
		})
	}
	writers.Wait()
	lines := 0
	for _, suffix := range []string{"", ".1", ".2", ".3"} {
		data, err := os.ReadFile(first.path + suffix)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if len(data) > 4200 {
			t.Errorf("%s has %d bytes", suffix, len(data))
		}
		for line := range bytes.Lines(data) {
			if !json.Valid(line) {
				t.Errorf("a torn line: %q", line)
			}
			lines++
		}
	}
	if lines != 100 {
		t.Errorf("%d of 100 lines are there", lines)
	}
	for range 500 {
		first.add(bytes.Repeat([]byte("x"), 99))
		first.flush()
	}
	if files, _ := filepath.Glob(first.path + "*"); len(files) != 1+accessLogKeep {
		t.Errorf("kept %v", files)
	}
}

func TestALogThatCannotBeWrittenDropsAndCounts(t *testing.T) {
	log := newTestLog(t)
	if err := os.Mkdir(log.path, 0o700); err != nil { // a folder in its place
		t.Fatal(err)
	}
	for i := range 3 {
		log.add(fmt.Appendf(nil, `{"n":%d}`, i))
	}
	log.flush()
	if err := os.Remove(log.path); err != nil {
		t.Fatal(err)
	}
	log.add([]byte(`{"n":3}`))
	log.flush()
	data, err := os.ReadFile(log.path)
	if err != nil || !strings.HasPrefix(string(data), `{"n":3}`+"\n") || !strings.Contains(string(data), `"dropped":3}`) {
		t.Errorf("the log has %q, %v", data, err)
	}
}

func TestALogThatIsNotWrittenIsBounded(t *testing.T) {
	log := newTestLog(t)
	line := bytes.Repeat([]byte("x"), 1000)
	for range 5000 {
		log.add(line)
	}
	if len(log.waiting) > accessLogBuffer || log.dropped < 3900 {
		t.Errorf("%d bytes wait, %d lines were dropped", len(log.waiting), log.dropped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log.run(ctx)
	if info, err := os.Stat(log.path); err != nil || info.Size() < accessLogBuffer/2 {
		t.Errorf("wrote %v, %v", info, err)
	}
}
