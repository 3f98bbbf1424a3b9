package call

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

var _ jobs.Executor = (*Caller)(nil)

var production = springtide.EnvironmentID{App: "shop", Name: springtide.Production}

// loopback lets tests call their own servers.
func loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

func runOf(t *testing.T, call springtide.HTTPCall) springtide.Run {
	t.Helper()
	payload, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	return springtide.Run{ID: "run1", Environment: production, Kind: springtide.RunHTTP, Payload: payload, Attempt: 2, Fence: 17}
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func TestARequestSaysWhichAttemptItIsAndIsSigned(t *testing.T) {
	requests := make(chan *http.Request, 1)
	bodies := make(chan string, 1)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- r
		bodies <- string(body)
	})
	key := []byte("0123456789abcdef01234567")
	caller := New(Options{AllowPrivate: loopback(), Secret: func(id springtide.EnvironmentID) []byte {
		if id != production {
			t.Errorf("the secret of %s was asked for", id)
		}
		return key
	}})
	run := runOf(t, springtide.HTTPCall{URL: server.URL + "/hook?a=1", Headers: map[string]string{"Authorization": "Bearer x"}, Body: json.RawMessage(`{"n": 1}`)})
	run.Schedule, run.Slot = "tidy", time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	if outcome := caller.Execute(t.Context(), run); outcome.Verdict != jobs.Succeeded {
		t.Fatalf("%+v", outcome)
	}
	request, body := <-requests, <-bodies
	for name, want := range map[string]string{
		"Idempotency-Key": "run1", "Webhook-Id": "run1", "Tide-Run": "run1", "Tide-Attempt": "2", "Tide-Fence": "17",
		"Tide-Schedule": "tidy", "Tide-Slot": "2026-11-22T08:00:00Z",
		"Authorization": "Bearer x", "Content-Type": "application/json", "User-Agent": "springtide",
	} {
		if got := request.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if request.Method != http.MethodPost || request.URL.String() != "/hook?a=1" || body != `{"n":1}` {
		t.Errorf("%s %s %s", request.Method, request.URL, body)
	}
	var seconds int64
	if _, err := fmt.Sscan(request.Header.Get("Webhook-Timestamp"), &seconds); err != nil || time.Since(time.Unix(seconds, 0)) > time.Minute {
		t.Errorf("timestamp %q", request.Header.Get("Webhook-Timestamp"))
	}
	if got, want := request.Header.Get("Webhook-Signature"), sign(key, "run1", time.Unix(seconds, 0), []byte(body)); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestAnAnswerDecidesWhatBecomesOfTheRun(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscan(strings.TrimPrefix(r.URL.Path, "/"), &status)
		if after := r.URL.Query().Get("after"); after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
	})
	caller := New(Options{AllowPrivate: loopback()})
	for path, want := range map[string]jobs.Outcome{
		"/200":          {Verdict: jobs.Succeeded},
		"/204":          {Verdict: jobs.Succeeded},
		"/429?after=7":  {Verdict: jobs.Failed, RetryAfter: 7 * time.Second},
		"/503?after=90": {Verdict: jobs.Failed, RetryAfter: 90 * time.Second},
		"/503":          {Verdict: jobs.Failed},
		"/500?after=9":  {Verdict: jobs.Failed},
		"/408":          {Verdict: jobs.Failed},
		"/425":          {Verdict: jobs.Failed},
		"/400":          {Verdict: jobs.Failed, Final: true},
		"/404":          {Verdict: jobs.Failed, Final: true},
		"/410":          {Verdict: jobs.Failed, Final: true},
		"/304":          {Verdict: jobs.Failed, Final: true},
	} {
		got := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: server.URL + path}))
		if got.Verdict != want.Verdict || got.Final != want.Final || got.RetryAfter != want.RetryAfter {
			t.Errorf("%s: %+v", path, got)
		}
		if status := path[1:4]; !strings.Contains(string(got.Result), `"status":`+status) {
			t.Errorf("%s: result %s", path, got.Result)
		} else if want.Verdict == jobs.Failed && got.Reason != "POST to 127.0.0.1 was answered with "+status {
			t.Errorf("%s: reason %q", path, got.Reason)
		}
	}
}

func TestTheBodyOfAnAnswerIsKeptAsFarAsItFits(t *testing.T) {
	bodies := map[string]string{
		"/json": `{"ok": [1, 2]}`, "/text": "hello\x00 \xff", "/none": "",
		"/long": strings.Repeat("a", 200<<10), "/json-long": `["` + strings.Repeat("a", 64<<10) + `"]`, "/growing": strings.Repeat("\x01", 60<<10),
	}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, bodies[r.URL.Path]) })
	caller := New(Options{AllowPrivate: loopback()})
	get := func(path string) (kept result) {
		outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: server.URL + path, Method: "get"}))
		if err := json.Unmarshal(outcome.Result, &kept); err != nil || len(outcome.Result) > springtide.ResultLimit {
			t.Fatalf("%s: %v, %d bytes", path, err, len(outcome.Result))
		}
		return kept
	}
	if got := get("/json"); string(got.Body) != `{"ok":[1,2]}` || got.Truncated {
		t.Errorf("JSON: %s", got.Body)
	}
	if got := get("/text"); string(got.Body) != "\"hello\uFFFD \uFFFD\"" {
		t.Errorf("text: %s", got.Body)
	}
	if got := get("/none"); got.Body != nil || got.Status != 200 {
		t.Errorf("none: %+v", got)
	}
	for _, path := range []string{"/long", "/json-long", "/growing"} {
		if got := get(path); !got.Truncated || len(got.Body) < 20<<10 || got.Body[0] != '"' {
			t.Errorf("%s: truncated %t, %d bytes", path, got.Truncated, len(got.Body))
		}
	}
}

func TestAPathGoesToTheApp(t *testing.T) {
	app := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "http://169.254.169.254/secrets", http.StatusFound)
		case "/moved":
			http.Redirect(w, r, "/tasks", http.StatusFound)
		case "/tasks":
			io.WriteString(w, `"`+r.Host+r.URL.String()+`"`)
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	caller := New(Options{App: func(springtide.EnvironmentID) (string, *http.Client, error) { return app.URL, app.Client(), nil }})
	outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "/tasks?n=1"}))
	if want := strings.TrimPrefix(app.URL, "http://") + "/tasks?n=1"; outcome.Verdict != jobs.Succeeded || !strings.Contains(string(outcome.Result), want) {
		t.Errorf("%+v", outcome)
	}
	if outcome = caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "/moved", Method: "GET"})); outcome.Verdict != jobs.Succeeded {
		t.Errorf("%+v", outcome)
	}
	outcome = caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "/away", Method: "GET"}))
	if !outcome.Final || outcome.Reason != "the app sent the call on to 169.254.169.254" {
		t.Errorf("%+v", outcome)
	}
	for range 2 * openAfter { // no breaker keeps one path from being called because of another
		outcome = caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "/broken?secret=1"}))
	}
	if outcome.Verdict != jobs.Failed || outcome.Reason != "POST /broken was answered with 500" {
		t.Errorf("%+v", outcome)
	}
}

func TestAnAppThatCannotBeFoundNowIsTriedAgain(t *testing.T) {
	caller := New(Options{App: func(springtide.EnvironmentID) (string, *http.Client, error) {
		return "", nil, springtide.Errorf(springtide.Unavailable, "no edge is up")
	}})
	if outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "/"})); outcome.Final || outcome.Reason != "no edge is up" {
		t.Errorf("%+v", outcome)
	}
}

func TestAGetIsSentOnFiveTimesAndAPostNever(t *testing.T) {
	var posts atomic.Int64
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		var left int
		fmt.Sscan(strings.TrimPrefix(r.URL.Path, "/"), &left)
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
		if left > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", left-1), http.StatusTemporaryRedirect)
		}
	})
	caller := New(Options{AllowPrivate: loopback()})
	for path, want := range map[string]string{"GET /5": "", "GET /6": "the call was sent on more than 5 times", "POST /1": `POST to 127.0.0.1 was answered with 307 to "/0"; only GET and HEAD are sent on`} {
		method, path, _ := strings.Cut(path, " ")
		outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: server.URL + path, Method: method}))
		if outcome.Reason != want || outcome.Final != (want != "") {
			t.Errorf("%s: %+v", path, outcome)
		}
	}
	if posts.Load() != 1 {
		t.Errorf("%d posts", posts.Load())
	}
}

func TestAnotherHostIsNotToldWhatWasMeantForTheFirst(t *testing.T) {
	headers := make(chan http.Header, 1)
	second := serve(t, func(_ http.ResponseWriter, r *http.Request) { headers <- r.Header })
	first := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, second.URL, http.StatusFound) })
	caller := New(Options{AllowPrivate: loopback(), Secret: func(springtide.EnvironmentID) []byte { return []byte("key") }})
	outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: first.URL, Method: "GET", Headers: map[string]string{"X-Api-Key": "secret"}}))
	if outcome.Verdict != jobs.Succeeded {
		t.Fatalf("%+v", outcome)
	}
	got := <-headers
	for _, name := range []string{"X-Api-Key", "Webhook-Signature", "Idempotency-Key", "Tide-Run"} {
		if got.Get(name) != "" {
			t.Errorf("%s was passed on", name)
		}
	}
}

func TestACertificateNobodyKnowsIsNoAnswer(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	caller := New(Options{AllowPrivate: loopback()})
	outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: server.URL}))
	if outcome.Verdict != jobs.Failed || outcome.Final || !strings.Contains(outcome.Reason, "certificate") {
		t.Errorf("%+v", outcome)
	}
}

func TestASlowAnswerIsAFailureAndAnInterruptionIsNone(t *testing.T) {
	reached := make(chan struct{})
	server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/interrupted" {
			close(reached)
		}
		<-r.Context().Done()
	})
	caller := New(Options{AllowPrivate: loopback()})
	run := runOf(t, springtide.HTTPCall{URL: server.URL, Method: "GET"}) // which may not even get there
	run.Timeout = 50 * time.Millisecond
	if outcome := caller.Execute(t.Context(), run); outcome.Verdict != jobs.Failed || outcome.Reason != "127.0.0.1 did not answer in time" {
		t.Errorf("%+v", outcome)
	}
	run = runOf(t, springtide.HTTPCall{URL: server.URL + "/interrupted", Method: "GET"})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-reached
		cancel(fmt.Errorf("the platform is stopping"))
	}()
	if outcome := caller.Execute(ctx, run); outcome.Verdict != jobs.Returned || outcome.Reason != "interrupted: the platform is stopping" {
		t.Errorf("%+v", outcome)
	}
	if count := failures(caller); count != 1 {
		t.Errorf("the breaker counted %d", count)
	}
}

func TestACallThatCouldNeverBeMadeIsRefusedBeforehand(t *testing.T) {
	caller := New(Options{})
	for _, c := range []struct{ payload, want string }{
		{`7`, "the payload is not a call"},
		{`{"url":"ftp://ann:s3cret@example.com"}`, "the URL of the call has a user in it"},
		{`{"url":"/x","to":"y"}`, `unknown field "to"`},
		{`{}`, `the URL "" is neither a path of the app nor http:// or https:// with a host`},
		{`{"url":"//evil.example/x"}`, "neither a path"},
		{`{"url":"ftp://x.example"}`, "neither a path"},
		{`{"url":"http://"}`, "neither a path"},
		{`{"url":"http://[::1"}`, "cannot be read"},
		{`{"url":"https://a:b@x.example/"}`, "has a user in it"},
		{`{"url":"/x","method":"CONNECT"}`, `"CONNECT" is not a method`},
		{`{"url":"/x","method":"GET","body":{}}`, "a GET has no body"},
		{`{"url":"/x","rate":-1}`, "below nothing"},
		{`{"url":"/x","headers":{"A":"b\r\nC: d"}}`, "is not one that HTTP knows"},
		{`{"url":"/x","headers":{"A b":"c"}}`, "is not one that HTTP knows"},
		{`{"url":"/x","headers":{"Webhook-Signature":"v1,x"}}`, "set by the platform alone"},
		{`{"url":"/x","headers":{"host":"x"}}`, "set by the platform alone"},
		{`{"url":"/x","headers":{"Transfer-Encoding":"chunked"}}`, "set by the platform alone"},
	} {
		err := caller.Validate(json.RawMessage(c.payload))
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.payload, err)
		}
		if outcome := caller.Execute(t.Context(), springtide.Run{Payload: json.RawMessage(c.payload)}); !outcome.Final {
			t.Errorf("%s: %+v", c.payload, outcome)
		}
	}
	if err := caller.Validate(json.RawMessage(`{"url":"/x","method":"put","body":"b","rate":0.5,"headers":{"X-A":"b"}}`)); err != nil {
		t.Error(err)
	}
}
