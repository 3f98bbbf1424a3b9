package health

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestAnHTTPProbeTakesAnyAnswerFrom200To399WithoutFollowingIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ok":
		case "/moved":
			http.Redirect(w, r, "/broken", http.StatusFound)
		case "/slow":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	target := Target{Address: server.Listener.Addr().String(), Connect: 30 * time.Second}
	for path, want := range map[string]string{
		"/ok": "", "/moved": "",
		"/broken": "GET /broken was answered with 503",
		"/slow":   "GET /slow was not answered within 100ms",
	} {
		timeout := 30 * time.Second // none of them takes so long
		if path == "/slow" {
			timeout = 100 * time.Millisecond
		}
		err := Probe(t.Context(), springtide.Health{Path: path, Timeout: timeout}, target)
		if got := text(err); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestATCPProbeOnlyConnects(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	target := Target{Address: listener.Addr().String(), Connect: 30 * time.Second}
	if err := Probe(t.Context(), springtide.Health{TCP: true, Timeout: 30 * time.Second}, target); err != nil {
		t.Error(err)
	}
	target.Address = "127.0.0.1:1" // that of the listener would be anybody's, once it is closed
	err = Probe(t.Context(), springtide.Health{TCP: true, Timeout: 30 * time.Second}, target)
	if want := "nothing listens on " + target.Address; text(err) != want {
		t.Errorf("%q, want %q", text(err), want)
	}
}

func TestACommandProbeRunsWhereTheInstanceRuns(t *testing.T) {
	target := Target{Run: func(ctx context.Context, command string) error {
		switch command {
		case "good":
			return nil
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		}
		return errors.New("exit status 1")
	}}
	for command, want := range map[string]string{"good": "", "bad": "exit status 1", "hang": "did not end within 50ms"} {
		timeout := 30 * time.Second // none of the others takes so long
		if command == "hang" {
			timeout = 50 * time.Millisecond
		}
		err := Probe(t.Context(), springtide.Health{Command: command, Timeout: timeout}, target)
		if got := text(err); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
