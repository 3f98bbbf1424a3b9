package load

import (
	"fmt"
	"strings"
	"time"
)

// Result is what a run saw.
type Result struct {
	Started time.Time     `json:"started"`
	Elapsed time.Duration `json:"elapsed"`
	// Requests were sent, all kinds together.
	Requests int `json:"requests"`
	// Failed are idempotent requests without a correct, complete answer.
	Failed int `json:"failed"`
	// UnsafeFailed are those that must not be repeated, such as POST.
	UnsafeFailed int `json:"unsafe_failed"`
	// Retried were sent twice by the HTTP client itself, since the server had
	// closed the kept connection on which they first went.
	Retried int `json:"retried"`
	// Cancelled were open when the run was broken off; they are no failures.
	Cancelled int `json:"cancelled"`
	// Skipped were due but not sent, since too many were open: such a run says little.
	Skipped int `json:"skipped"`
	// Lag is how late the generator itself was, at most.
	Lag       time.Duration         `json:"lag"`
	Latency   Latency               `json:"latency"`
	Kinds     map[string]KindResult `json:"kinds"`
	Intervals []Interval            `json:"intervals"`
	// Failures are the first 20 distinct ones.
	Failures []Failure `json:"failures,omitempty"`
	// Instances and Releases count good answers by who gave them.
	Instances    map[string]int `json:"instances"`
	Releases     map[string]int `json:"releases"`
	WebSockets   StreamResult   `json:"websockets"`
	EventStreams StreamResult   `json:"event_streams"`
}

// Latency is counted from the moment a request was due. A request that failed
// counts with the time it took to fail.
type Latency struct {
	P50 time.Duration `json:"p50"`
	P90 time.Duration `json:"p90"`
	P95 time.Duration `json:"p95"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

// KindResult is the share of one kind of request.
type KindResult struct {
	Requests int     `json:"requests"`
	Failed   int     `json:"failed"`
	Latency  Latency `json:"latency"`
}

// Interval is what became of the requests that were due in one stretch of time.
type Interval struct {
	// From is its beginning, since the start of the run.
	From    time.Duration `json:"from"`
	Arrived int           `json:"arrived"`
	Failed  int           `json:"failed"`
	// Late are good answers that took longer than [Options.Late].
	Late    int     `json:"late,omitempty"`
	Latency Latency `json:"latency"`
	// Instances and Releases count good answers by who gave them.
	Instances map[string]int `json:"instances,omitempty"`
	Releases  map[string]int `json:"releases,omitempty"`
}

// Failure is one way in which requests failed.
type Failure struct {
	Kind   string `json:"kind"`
	Reason Reason `json:"reason"`
	Count  int    `json:"count"`
	// Idempotent says whether it counts as failed.
	Idempotent bool `json:"idempotent"`
	// Sample is what the first of them looked like, and First when it was due.
	Sample string        `json:"sample"`
	First  time.Duration `json:"first"`
}

// String gives one line.
func (f Failure) String() string {
	return fmt.Sprintf("%d × %s: %s (first after %s: %s)", f.Count, f.Kind, f.Reason, f.First.Round(time.Millisecond), f.Sample)
}

// StreamResult is what became of the long-lived clients of one kind.
type StreamResult struct {
	// Opened counts connections, Messages what was heard on them.
	Opened   int `json:"opened"`
	Messages int `json:"messages"`
	// Drained are ends that say so: close 1001 or 1012, or a clean end of the stream.
	Drained int `json:"drained"`
	// Errors are all other ends, and connections that did not come about.
	Errors int `json:"errors"`
	// Ends are the first 1,000 of both.
	Ends []StreamEnd `json:"ends,omitempty"`
}

// StreamEnd is the end of one stream that the client did not want.
type StreamEnd struct {
	At time.Duration `json:"at"`
	// Instance is whose stream it was; empty if it did not come about.
	Instance string `json:"instance,omitempty"`
	Drained  bool   `json:"drained"`
	Reason   string `json:"reason"`
}

// Summary says in a few lines how it went.
func (r Result) Summary() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests in %s: %d failed, %d unsafe failed, %d retried, %d cancelled, %d skipped; p50 %s, p99 %s, max %s\n",
		r.Requests, r.Elapsed.Round(time.Millisecond), r.Failed, r.UnsafeFailed, r.Retried, r.Cancelled, r.Skipped,
		r.Latency.P50.Round(time.Microsecond), r.Latency.P99.Round(time.Microsecond), r.Latency.Max.Round(time.Microsecond))
	r.WebSockets.summary(&b, "WebSockets")
	r.EventStreams.summary(&b, "event streams")
	for _, failure := range r.Failures {
		fmt.Fprintln(&b, failure)
	}
	return b.String()
}

func (s StreamResult) summary(b *strings.Builder, name string) {
	if s.Opened+s.Errors > 0 {
		fmt.Fprintf(b, "%s: %d opened, %d messages, %d ended by drain, %d by error\n", name, s.Opened, s.Messages, s.Drained, s.Errors)
	}
}
