package call

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// scripted answers in the place of the network.
type scripted func(*http.Request) (int, error)

func (s scripted) RoundTrip(request *http.Request) (*http.Response, error) {
	status, err := s(request)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: request}, nil
}

func callerOver(transport http.RoundTripper, options Options) *Caller {
	caller := New(options)
	caller.client.Transport = transport
	return caller
}

func TestAHostThatKeepsFailingIsLeftAloneForHalfAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, status := 0, 500
		var log bytes.Buffer
		caller := callerOver(scripted(func(r *http.Request) (int, error) {
			if r.URL.Host != "broken.example" {
				return 200, nil
			}
			if calls++; calls == 2 {
				return 0, errors.New("connection refused")
			}
			return status, nil
		}), Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		broken := runOf(t, springtide.HTTPCall{URL: "https://broken.example/"})
		for n := range openAfter {
			if outcome := caller.Execute(t.Context(), broken); outcome.Verdict != jobs.Failed {
				t.Fatalf("%d: %+v", n, outcome)
			}
		}
		outcome := caller.Execute(t.Context(), broken)
		if outcome.Verdict != jobs.Returned || outcome.RetryAfter < openFor || outcome.RetryAfter > openFor*4/3 || calls != openAfter {
			t.Fatalf("%+v after %d calls", outcome, calls)
		}
		if other := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "https://well.example/"})); other.Verdict != jobs.Succeeded {
			t.Errorf("another host: %+v", other)
		}
		elsewhere := broken
		elsewhere.Environment.Name = "staging"
		if outcome := caller.Execute(t.Context(), elsewhere); outcome.Verdict != jobs.Failed {
			t.Errorf("another environment: %+v", outcome)
		}
		time.Sleep(openFor + time.Second)
		status = 503
		if outcome := caller.Execute(t.Context(), broken); outcome.Verdict != jobs.Failed {
			t.Errorf("the one that tries: %+v", outcome)
		}
		if outcome := caller.Execute(t.Context(), broken); outcome.Verdict != jobs.Returned {
			t.Errorf("open again: %+v", outcome)
		}
		time.Sleep(openFor + time.Second)
		status = 404 // it is well enough to say no
		for range 2 {
			if outcome := caller.Execute(t.Context(), broken); !outcome.Final {
				t.Errorf("closed: %+v", outcome)
			}
		}
		for _, change := range []string{"to=open", "to=half-open", "to=closed"} {
			if !strings.Contains(log.String(), change) {
				t.Errorf("the log does not say %s: %s", change, log.String())
			}
		}
	})
}

func TestOneAtATimeTriesAHostThatKeptFailing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trying := make(chan struct{})
		calls := 0
		caller := callerOver(scripted(func(*http.Request) (int, error) {
			if calls++; calls > openAfter {
				<-trying
				return 200, nil
			}
			return 502, nil
		}), Options{})
		run := runOf(t, springtide.HTTPCall{URL: "https://broken.example/"})
		for range openAfter {
			caller.Execute(t.Context(), run)
		}
		time.Sleep(openFor + time.Second)
		first := make(chan jobs.Outcome)
		go func() { first <- caller.Execute(t.Context(), run) }()
		synctest.Wait()
		if outcome := caller.Execute(t.Context(), run); outcome.Verdict != jobs.Returned || outcome.RetryAfter < time.Second {
			t.Errorf("%+v", outcome)
		}
		close(trying)
		if outcome := <-first; outcome.Verdict != jobs.Succeeded {
			t.Errorf("%+v", outcome)
		}
	})
}

func TestAHostIsSentNoMoreThanItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var slow []time.Duration
		caller := callerOver(scripted(func(r *http.Request) (int, error) {
			if r.URL.Path == "/slow" {
				slow = append(slow, time.Since(begin))
			}
			return 200, nil
		}), Options{Rate: func(_ springtide.EnvironmentID, host string) float64 {
			return map[string]float64{"slow.example": 2}[host]
		}})
		run := runOf(t, springtide.HTTPCall{URL: "https://Slow.Example:8443/slow"})
		given := make(map[time.Duration]bool)
		outcomes := make(chan jobs.Outcome)
		const runs = 100
		for range runs {
			go func() { outcomes <- caller.Execute(t.Context(), run) }()
		}
		for range runs {
			switch outcome := <-outcomes; outcome.Verdict {
			case jobs.Succeeded:
			case jobs.Returned:
				given[outcome.RetryAfter] = true
			default:
				t.Errorf("%+v", outcome)
			}
		}
		// One at once, four that wait their turn within two seconds.
		if len(slow) != 5 || slow[4] != 2*time.Second || time.Since(begin) > longestWait {
			t.Errorf("sent at %v, over after %s", slow, time.Since(begin))
		}
		if len(given) != runs-len(slow) {
			t.Errorf("%d were given back with only %d times of their own", runs-len(slow), len(given))
		}
		if outcome := caller.Execute(t.Context(), runOf(t, springtide.HTTPCall{URL: "https://quick.example/"})); outcome.Verdict != jobs.Succeeded {
			t.Errorf("another host: %+v", outcome)
		}
	})
}

func TestACallsOwnRateGoesBeforeTheManifests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller := callerOver(scripted(func(*http.Request) (int, error) { return 200, nil }), Options{})
		run := runOf(t, springtide.HTTPCall{URL: "https://slow.example/", Rate: 0.1})
		if outcome := caller.Execute(t.Context(), run); outcome.Verdict != jobs.Succeeded {
			t.Errorf("%+v", outcome)
		}
		outcome := caller.Execute(t.Context(), run)
		if outcome.Verdict != jobs.Returned || outcome.RetryAfter != 10*time.Second || outcome.Reason != "slow.example is sent no more than its rate allows" {
			t.Errorf("%+v", outcome)
		}
		time.Sleep(outcome.RetryAfter)
		if outcome := caller.Execute(t.Context(), run); outcome.Verdict != jobs.Succeeded {
			t.Errorf("%+v", outcome)
		}
	})
}

// failures counts those in a row of all hosts that were called.
func failures(caller *Caller) (count uint32) {
	for _, kept := range caller.hosts.entries {
		count += kept.value.breaker.Counts().ConsecutiveFailures
	}
	return count
}
