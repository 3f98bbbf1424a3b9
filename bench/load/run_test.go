package load

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/platform"
)

// good is a server that answers as it should.
func good(w http.ResponseWriter, r *http.Request) {
	sent, _ := io.ReadAll(r.Body)
	answer(w, fmt.Sprintf("I am web-1-aaaaa, you said %s %s", r.URL.Query().Get("token"), digestOf(sent)))
}

func answer(w http.ResponseWriter, body string) {
	w.Header().Set("X-Request-ID", "r1")
	w.Header().Set("X-Instance", "web-1-aaaaa")
	w.Header().Set("X-Release", "1")
	w.Header().Set("Repr-Digest", "sha-256=:"+digestOf([]byte(body))+":")
	io.WriteString(w, body)
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// strict asks for everything that can be asked.
var strict = Kind{Name: "strict", Weight: 1, Path: "/", Digest: true, Token: true, Identity: true}

func run(t *testing.T, target string, options Options) Result {
	t.Helper()
	options.Target = target
	if options.Schedule == nil {
		options.Schedule = Schedule{Steady(50, 200*time.Millisecond)}
	}
	if options.Mix == nil && len(options.Schedule) > 0 {
		options.Mix = []Kind{strict}
	}
	result, err := Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestGoodAnswersOverEveryConnectionAreNoFailures(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(good))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	fresh, h2, post := strict, strict, strict
	fresh.Name, fresh.Connection = "fresh", Fresh
	h2.Name, h2.Connection = "h2", Multiplexed
	post.Name, post.Method, post.Upload = "post", "POST", 10_000
	pool := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	result := run(t, "https://example.com:8443", Options{
		Dial: server.Listener.Addr().String(), CA: pool, RequestID: true,
		Mix:      []Kind{strict, fresh, h2, post},
		Schedule: Schedule{Steady(200, 200*time.Millisecond), Steady(400, 200*time.Millisecond)},
		Interval: 200 * time.Millisecond,
	})
	if result.Requests != 120 || result.Failed+result.UnsafeFailed+result.Skipped+result.Cancelled != 0 {
		t.Fatal(result.Summary())
	}
	if result.Instances["web-1-aaaaa"] != 120 || result.Releases["1"] != 120 {
		t.Errorf("instances %v, releases %v", result.Instances, result.Releases)
	}
	if len(result.Intervals) != 2 || result.Intervals[0].Arrived != 40 || result.Intervals[1].Arrived != 80 {
		t.Errorf("intervals %+v", result.Intervals)
	}
	if len(result.Kinds) != 4 || result.Latency.P50 <= 0 || result.Latency.P99 > result.Latency.Max {
		t.Errorf("kinds %v, latency %+v", result.Kinds, result.Latency)
	}
	if _, err := json.Marshal(result); err != nil {
		t.Error(err)
	}
}

func TestEveryWrongAnswerIsCountedAsWhatItIs(t *testing.T) {
	for want, misbehave := range map[Reason]http.HandlerFunc{
		"status 502": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no instance", http.StatusBadGateway) },
		Incomplete: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
			good(w, r)
		},
		WrongDigest: func(w http.ResponseWriter, r *http.Request) {
			good(w, r)
			io.WriteString(w, "!")
		},
		NoDigest: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Request-ID", "r1")
			io.WriteString(w, "hello")
		},
		NoRequestID: func(w http.ResponseWriter, r *http.Request) {
			answer(noRequestID{w}, r.URL.Query().Get("token"))
		},
		Mixed: func(w http.ResponseWriter, _ *http.Request) { answer(w, "I am web-1-aaaaa, this is for somebody else") },
		Dropped: func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		},
		TimedOut: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(string(want), func(t *testing.T) {
			server := httptest.NewServer(misbehave)
			defer server.Close()
			options := Options{RequestID: true}
			if want == TimedOut {
				options.Timeout = 300 * time.Millisecond
			}
			result := run(t, server.URL, options)
			if result.Failed != result.Requests || len(result.Failures) != 1 {
				t.Fatal(result.Summary())
			}
			if got := result.Failures[0]; got.Reason != want || got.Count != result.Requests || got.Sample == "" {
				t.Errorf("got %v", got)
			}
		})
	}
}

// noRequestID drops the header that answer sets.
type noRequestID struct{ http.ResponseWriter }

func (w noRequestID) Write(body []byte) (int, error) {
	w.Header().Del("X-Request-ID")
	return w.ResponseWriter.Write(body)
}

func (w noRequestID) WriteString(body string) (int, error) { return w.Write([]byte(body)) }

func TestAnAnswerOfAnotherInstanceThanItsHeaderNamesIsMixed(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer(w, "I am web-1-bbbbb, you said "+r.URL.Query().Get("token"))
	}))
	defer server.Close()
	result := run(t, server.URL, Options{})
	if len(result.Failures) != 1 || result.Failures[0].Reason != Mixed {
		t.Fatal(result.Summary())
	}
}

func TestAWrongLengthIsSeen(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(good))
	defer server.Close()
	result := run(t, server.URL, Options{Mix: []Kind{{Name: "download", Weight: 1, Path: "/", Length: 7}}})
	if len(result.Failures) != 1 || result.Failures[0].Reason != WrongLength {
		t.Fatal(result.Summary())
	}
}

func TestARefusedConnectionIsNotConnected(t *testing.T) {
	address, err := platform.Reserve() // nobody listens there, and nobody will
	if err != nil {
		t.Fatal(err)
	}
	defer address.Close()
	result := run(t, "http://"+address.String(), Options{})
	if len(result.Failures) != 1 || result.Failures[0].Reason != NotConnected {
		t.Fatal(result.Summary())
	}
}

func TestAnUntrustedCertificateIsAFailedHandshake(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(good))
	server.Config.ErrorLog = discard()
	server.StartTLS()
	defer server.Close()
	result := run(t, server.URL, Options{})
	if len(result.Failures) != 1 || result.Failures[0].Reason != NoTLS {
		t.Fatal(result.Summary())
	}
}

func TestAFailedPostIsCountedApart(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	result := run(t, server.URL, Options{Mix: []Kind{{Name: "post", Weight: 1, Method: "POST", Path: "/"}}})
	if result.Failed != 0 || result.UnsafeFailed != result.Requests || result.Failures[0].Idempotent {
		t.Fatal(result.Summary())
	}
}

func TestAStallIsSeenByTheRequestsThatWereDueMeanwhile(t *testing.T) {
	until := sync.OnceValue(func() time.Time { return time.Now().Add(500 * time.Millisecond) }) // from the first request on
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Until(until()))
		good(w, r)
	}))
	defer server.Close()
	result := run(t, server.URL, Options{Schedule: Schedule{Steady(100, time.Second)}})
	if p90 := result.Latency.P90; p90 < 350*time.Millisecond || result.Failed != 0 {
		t.Fatal(result.Summary())
	}
}

func TestAClosedKeptConnectionIsCountedAsRetried(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var seen sync.Map
	var broken atomic.Value // the token of the request whose connection was closed
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := r.URL.Query().Get("token")
		if _, kept := seen.LoadOrStore(r.RemoteAddr, true); kept && broken.CompareAndSwap(nil, token) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			conn.Close()
			return
		}
		good(w, r)
		if broken.Load() == token {
			cancel() // it has come again: that is enough
		}
	}))
	defer server.Close()
	result, err := Run(ctx, Options{Target: server.URL, Schedule: Schedule{Steady(20, time.Minute)}, Mix: []Kind{strict}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Failed != 0 || result.Retried != 1 {
		t.Fatal(result.Summary())
	}
}

func TestTooManyOpenRequestsAreSkippedAndSaidSo(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()
	result := run(t, server.URL, Options{Open: 3, Timeout: 5 * time.Second, Schedule: Schedule{Steady(100_000, 200*time.Microsecond)}}) // as good as all at once
	if result.Requests != 3 || result.Skipped != 17 {
		t.Fatal(result.Summary())
	}
}

func TestARunThatIsStoppedCancelsWhatIsOpenWithoutBlamingTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel() // with one that is open
		<-r.Context().Done()
	}))
	defer server.Close()
	result, err := Run(ctx, Options{Target: server.URL, Schedule: Schedule{Steady(50, time.Minute)}, Mix: []Kind{strict}})
	if err != nil {
		t.Fatal(err)
	}
	if result.Failed != 0 || result.Cancelled == 0 || result.Cancelled != result.Requests || result.Elapsed > 10*time.Second {
		t.Fatal(result.Summary())
	}
}

func TestOnlyTwentyDistinctFailuresAreKept(t *testing.T) {
	var status atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400 + int(status.Add(1)))
	}))
	defer server.Close()
	result := run(t, server.URL, Options{Schedule: Schedule{Steady(300, 100*time.Millisecond)}})
	if result.Failed != 30 || len(result.Failures) != 20 {
		t.Fatal(result.Summary())
	}
}

func TestProgressIsTold(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(good))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told := make(chan Progress, 1)
	_, err := Run(ctx, Options{Target: server.URL, Mix: []Kind{strict}, Schedule: Schedule{Steady(50, time.Minute)}, Progress: func(p Progress) {
		if p.Requests == 0 || p.Rate <= 0 || p.Latency.P50 == 0 {
			return // nothing was answered yet: the machine is busy
		}
		select {
		case told <- p:
			cancel()
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case p := <-told:
		if p.Elapsed < time.Second {
			t.Errorf("%+v", p)
		}
	default:
		t.Error("no progress was told in a minute")
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for want, options := range map[string]Options{
		"http://": {Target: "quiz.localhost"},
		"no kind": {Target: "http://a", Schedule: Schedule{Steady(1, time.Second)}},
		"stage":   {Target: "http://a", Schedule: Schedule{Steady(-1, time.Second)}},
		"weight":  {Target: "http://a", Mix: []Kind{{Path: "/"}}},
		"path":    {Target: "http://a", Mix: []Kind{{Weight: 1, Path: "x"}}},
		"h2":      {Target: "http://a", Mix: []Kind{{Weight: 1, Path: "/", Connection: "h3"}}},
	} {
		if err := options.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestTheQuizMixIsValid(t *testing.T) {
	options := Options{Target: "https://quiz.localhost:8443", Mix: QuizMix()}
	if err := options.Validate(); err != nil {
		t.Error(err)
	}
}

func BenchmarkRequest(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(2))
		io.WriteString(w, "ok")
	}))
	defer server.Close()
	options := Options{Target: server.URL, Mix: []Kind{{Name: "k", Weight: 1, Path: "/"}}}
	if err := options.Validate(); err != nil {
		b.Fatal(err)
	}
	sender, err := newSender(options)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if got := sender.send(b.Context(), &sender.options.Mix[0], 1); got.reason != "" {
			b.Fatal(got)
		}
	}
}
