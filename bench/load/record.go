package load

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// mostFailures is how many distinct failures are kept, mostEnds how many ends
// of streams.
const (
	mostFailures = 20
	mostEnds     = 1000
)

// record collects what happens.
type record struct {
	mu        sync.Mutex
	options   Options
	result    Result
	open      int
	all       histogram
	kinds     map[string]*histogram
	intervals []*interval
	failures  map[failureKey]*Failure
	// recent is what was answered since the last progress.
	recent histogram
	sent   int
}

type interval struct {
	arrived, failed     int
	late                int
	latencies           histogram
	instances, releases map[string]int
}

type failureKey struct {
	kind   string
	reason Reason
}

func newRecord(o Options, started time.Time) *record {
	return &record{
		options: o,
		result: Result{
			Started: started, Kinds: map[string]KindResult{}, Instances: map[string]int{}, Releases: map[string]int{},
		},
		kinds: map[string]*histogram{}, failures: map[failureKey]*Failure{},
	}
}

// begin counts a request that is due, and reports whether it may be sent.
func (r *record) begin(one due, lag time.Duration) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Lag = max(r.result.Lag, lag)
	if r.open >= r.options.Open {
		r.result.Skipped++
		return false
	}
	r.open++
	r.result.Requests++
	r.sent++
	r.interval(one.at).arrived++
	return true
}

func (r *record) interval(at time.Duration) *interval {
	i := int(at / r.options.Interval)
	for len(r.intervals) <= i {
		r.intervals = append(r.intervals, &interval{instances: map[string]int{}, releases: map[string]int{}})
	}
	return r.intervals[i]
}

// end counts what became of a request.
func (r *record) end(one due, got outcome, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open--
	r.result.Retried += got.retried
	if got.reason == cancelled {
		r.result.Cancelled++
		return
	}
	within, kind := r.interval(one.at), r.result.Kinds[one.kind.Name]
	kind.Requests++
	if got.reason != "" {
		kind.Failed++
		r.fail(one, got, within)
	} else {
		if r.options.Late > 0 && took > r.options.Late {
			within.late++
		}
		count(within.instances, got.instance)
		count(within.releases, got.release)
		count(r.result.Instances, got.instance)
		count(r.result.Releases, got.release)
	}
	r.result.Kinds[one.kind.Name] = kind
	if r.kinds[one.kind.Name] == nil {
		r.kinds[one.kind.Name] = &histogram{}
	}
	for _, h := range []*histogram{&r.all, r.kinds[one.kind.Name], &within.latencies, &r.recent} {
		h.add(took)
	}
}

func count(by map[string]int, name string) {
	if name != "" {
		by[name]++
	}
}

func (r *record) fail(one due, got outcome, within *interval) {
	safe := idempotent(one.kind.Method)
	if safe {
		r.result.Failed++
		within.failed++
	} else {
		r.result.UnsafeFailed++
	}
	key := failureKey{one.kind.Name, got.reason}
	known := r.failures[key]
	if known == nil {
		if len(r.failures) >= mostFailures {
			return
		}
		known = &Failure{Kind: key.kind, Reason: key.reason, Idempotent: safe, Sample: got.detail, First: one.at}
		r.failures[key] = known
	}
	known.Count++
}

// opened, heard and ended count the life of a stream of one kind.
func (r *record) opened(s *StreamResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Opened++
}

func (r *record) heard(s *StreamResult) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Messages++
}

func (r *record) ended(s *StreamResult, end StreamEnd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end.At = time.Since(r.result.Started)
	if end.Drained {
		s.Drained++
	} else {
		s.Errors++
	}
	if len(s.Ends) < mostEnds {
		s.Ends = append(s.Ends, end)
	}
}

// progress tells what happened since the last time.
func (r *record) progress(since time.Duration) Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := Progress{
		Elapsed: time.Since(r.result.Started), Requests: r.result.Requests, Open: r.open, Failed: r.result.Failed,
		Rate: float64(r.sent) / since.Seconds(), Latency: r.recent.latency(),
	}
	r.recent, r.sent = histogram{}, 0
	return p
}

// finish gives the result.
func (r *record) finish() Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	result := r.result
	result.Elapsed = time.Since(result.Started)
	result.Latency = r.all.latency()
	for name, latencies := range r.kinds {
		kind := result.Kinds[name]
		kind.Latency = latencies.latency()
		result.Kinds[name] = kind
	}
	for i, one := range r.intervals {
		result.Intervals = append(result.Intervals, Interval{
			From: time.Duration(i) * r.options.Interval, Arrived: one.arrived, Failed: one.failed, Late: one.late,
			Latency: one.latencies.latency(), Instances: one.instances, Releases: one.releases,
		})
	}
	for _, failure := range r.failures {
		result.Failures = append(result.Failures, *failure)
	}
	slices.SortFunc(result.Failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason))
	})
	return result
}
