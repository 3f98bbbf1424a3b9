package scale

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

var noon = time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)

// steady gives a history of five minutes of so many requests a second.
func steady(rate float64, service time.Duration) History {
	h := History{
		Since: noon.Add(-time.Hour), Service: service, ColdStart: time.Second, SlowStart: time.Second,
		LastDemand: noon,
	}
	for range 300 {
		h.Seconds = append(h.Seconds, Second{Arrived: float32(rate), Busy: float32(rate * service.Seconds())})
	}
	return h
}

func web(lowest, highest, concurrency int) Spec {
	return Spec{Group: simulatedGroup, Requests: true, Scale: springtide.Scale{
		Min: lowest, Max: highest, Concurrency: concurrency, Idle: 5 * time.Minute,
	}}
}

// running gives an observation of n instances that have been ready for an hour.
func running(n int) Observation {
	o := Observation{Replicas: n, Edges: 1}
	for i := range n {
		o.Instances = append(o.Instances, springtide.Instance{
			ID: springtide.InstanceID("web-1-" + strconv.Itoa(i)), Group: simulatedGroup,
			State: springtide.InstanceReady, Ordered: noon.Add(-time.Hour), Ready: noon.Add(-time.Hour),
		})
	}
	return o
}

func with[T any](value T, change func(*T)) T {
	change(&value)
	return value
}

func TestEveryDecisionExplainsItself(t *testing.T) {
	cases := []struct {
		name     string
		spec     Spec
		o        Observation
		h        History
		to       int
		reason   Reason
		sentence string
	}{
		{
			"demand grows", web(1, 20, 10), with(running(8), func(o *Observation) { o.Held = 50 }),
			steady(391, 200*time.Millisecond), 10, ReasonDemand,
			"8 to 10: 391 req/s x 200 ms = 78.2 busy slots, 50 held, 41 in 1 s x 200 ms / 2 s = 4.1 more or, if that is more, 13.9 slots of head-room, 10 slots each",
		},
		{
			"demand is met", web(1, 20, 10), running(10), steady(391, 200*time.Millisecond), 10, ReasonDemand,
			"stays at 10: 391 req/s x 200 ms = 78.2 busy slots, 0 held, 13.9 slots of head-room, 10 slots each",
		},
		{
			"maximum on the way", web(1, 9, 10), running(4), steady(391, 200*time.Millisecond), 9, ReasonMaximum,
			"4 to 9: the maximum; needs 10: 391 req/s x 200 ms = 78.2 busy slots, 0 held, 191 in 1 s x 200 ms / 2 s = 19.1 more or, if that is more, 13.9 slots of head-room, 10 slots each",
		},
		{
			"at the maximum", web(1, 4, 10), running(4), steady(391, 200*time.Millisecond), 4, ReasonMaximum,
			"stays at 4: the maximum; needs 10: 391 req/s x 200 ms = 78.2 busy slots, 0 held, 191 in 1 s x 200 ms / 2 s = 19.1 more or, if that is more, 13.9 slots of head-room, 10 slots each",
		},
		{
			"above the maximum", web(1, 4, 10), running(9), steady(391, 200*time.Millisecond), 4, ReasonMaximum,
			"9 to 4: the maximum is 4",
		},
		{
			"below the minimum", web(2, 4, 10), running(1), steady(0, time.Millisecond), 2, ReasonMinimum,
			"1 to 2: the minimum is 2",
		},
		{
			"at the minimum without demand", web(2, 4, 10), running(2), steady(0, 0), 2, ReasonMinimum,
			"stays at 2: the minimum",
		},
		{
			"at the minimum with little demand", web(2, 4, 10), running(2), steady(1, 100*time.Millisecond), 2, ReasonMinimum,
			"stays at 2: the minimum; needs 1: 1 req/s x 100 ms = 0.1 busy slots, 0 held, 0.5 slots of head-room, 10 slots each",
		},
		{
			"less is needed", web(1, 40, 10), running(30), steady(391, 200*time.Millisecond), 15, ReasonLess,
			"30 to 15: needed at most 9.21 in the last 1m30s, 10 at 95% fill; at most 15 fewer every 5 s",
		},
		{
			"a little less is needed", web(1, 40, 10), running(11), steady(391, 200*time.Millisecond), 10, ReasonLess,
			"11 to 10: needed at most 9.21 in the last 1m30s, 10 at 95% fill",
		},
		{
			"less is needed, but not by enough", web(1, 40, 10), running(11), steady(406, 200*time.Millisecond), 11, ReasonWaiting,
			"stays at 11: needs 10 now, and needed up to 9.54 in the last 1m30s, 11 at 95% fill",
		},
		{
			"less is needed down to the minimum", web(4, 40, 10), running(5), steady(0, time.Millisecond), 4, ReasonLess,
			"5 to 4: needed at most 0 in the last 1m30s, 0 at 95% fill; at most 1 fewer every 5 s",
		},
		{
			"after a scale-out", web(1, 40, 10), running(12),
			with(steady(391, 200*time.Millisecond), func(h *History) { h.LastOut = noon.Add(-time.Minute) }), 12, ReasonWaiting,
			"stays at 12: needs 10, but the last scale-out was less than 1m30s ago",
		},
		{
			"after a scale-in", web(1, 40, 10), running(14),
			with(steady(391, 200*time.Millisecond), func(h *History) { h.LastIn = noon.Add(-time.Second) }), 14, ReasonWaiting,
			"stays at 14: needs 10; the next goes 5 s after the last",
		},
		{
			"young instances", web(1, 40, 10),
			with(running(12), func(o *Observation) {
				for i := range o.Instances {
					o.Instances[i].Ready = noon.Add(-100 * time.Second)
				}
			}),
			steady(391, 200*time.Millisecond), 12, ReasonWaiting,
			"stays at 12: needs 10, but none has lived for 2m0s",
		},
		{
			"a control plane that has just begun", web(1, 40, 10), running(12),
			History{Since: noon.Add(-20 * time.Second), ColdStart: time.Second},
			12, ReasonWaiting,
			"stays at 12: needs 1, but the demand has been watched for less than 1m30s",
		},
		{
			"no edge", web(1, 40, 10), with(running(12), func(o *Observation) { o.Edges = 0 }),
			steady(0, time.Millisecond), 12, ReasonBlind,
			"stays at 12: no edge reports, so nothing is known of the demand",
		},
		{
			"what is served keeps its slots", web(1, 40, 10), with(running(12), func(o *Observation) { o.Busy = 118 }),
			steady(1, time.Millisecond), 12, ReasonDemand,
			"stays at 12: 1 req/s x 1 ms = 0 busy slots, 0 held, 0.1 slots of head-room, but 118 being served, 10 slots each",
		},
		{
			"idle for long enough", web(0, 4, 10), running(1),
			with(steady(0, time.Millisecond), func(h *History) { h.LastDemand = noon.Add(-5 * time.Minute) }), 0, ReasonIdle,
			"1 to 0: no request for 5m0s",
		},
		{
			"idle, but not for long", web(0, 4, 10), running(1),
			with(steady(0, time.Millisecond), func(h *History) { h.LastDemand = noon.Add(-4 * time.Minute) }), 1, ReasonIdle,
			"stays at 1: it stops after 5m0s without a request",
		},
		{
			"an open stream keeps the last instance", web(0, 4, 10), with(running(1), func(o *Observation) { o.Streams = 2 }),
			with(steady(0, time.Millisecond), func(h *History) { h.LastDemand = noon.Add(-time.Hour) }), 1, ReasonDemand,
			"stays at 1: 2 streams are open",
		},
		{
			"at zero", web(0, 4, 10), running(0),
			History{ColdStart: time.Second},
			0, ReasonIdle,
			"stays at 0: no request waits",
		},
		{
			"a request waits at zero", web(0, 4, 10), with(running(0), func(o *Observation) { o.Held = 1 }),
			History{ColdStart: time.Second},
			1, ReasonDemand,
			"0 to 1: 0 being served and 1 held, none answered yet, 10 slots each",
		},
		{
			"a first burst", web(0, 9, 10), with(running(1), func(o *Observation) { o.Held, o.Busy = 55, 10 }),
			History{ColdStart: time.Second},
			7, ReasonDemand,
			"1 to 7: 10 being served and 55 held, none answered yet, 10 slots each",
		},
		{
			"no concurrency", web(1, 9, 0), with(running(3), func(o *Observation) { o.Busy = 500 }),
			steady(391, 200*time.Millisecond), 3, ReasonFixed,
			"stays at 3: no concurrency is set to scale by",
		},
		{
			"no concurrency, and a request waits at zero", web(0, 9, 0), with(running(0), func(o *Observation) { o.Held = 2 }),
			History{},
			1, ReasonDemand,
			"0 to 1: 2 held",
		},
		{
			"no requests", with(web(0, 9, 10), func(s *Spec) { s.Requests = false }), running(3),
			History{},
			3, ReasonFixed,
			"stays at 3: it is given no requests to scale by",
		},
		{
			"a full machine", web(1, 20, 10),
			with(running(4), func(o *Observation) { o.Capacity = "no memory for one more" }),
			steady(391, 200*time.Millisecond), 4, ReasonCapacity,
			"stays at 4: capacity: no memory for one more; needs 10: 391 req/s x 200 ms = 78.2 busy slots, 0 held, 191 in 1 s x 200 ms / 2 s = 19.1 more or, if that is more, 13.9 slots of head-room, 10 slots each",
		},
		{
			"a full machine below the minimum", web(2, 20, 10),
			with(running(1), func(o *Observation) { o.Capacity = "no memory for one more" }),
			steady(0, 0), 2, ReasonMinimum,
			"1 to 2: the minimum is 2; capacity: no memory for one more",
		},
		{
			"instances that never become ready", web(1, 20, 10),
			with(running(2), func(o *Observation) {
				o.Held = 500
				for i := range o.Instances {
					o.Instances[i].State, o.Instances[i].CrashLoop = springtide.InstanceCrashed, true
				}
			}),
			History{ColdStart: time.Second},
			2, ReasonFailing,
			"stays at 2: not ready in time: 2 of 2; needs 50: 0 being served and 500 held, none answered yet, 10 slots each",
		},
		{
			"one that does not become ready", web(1, 20, 10),
			with(running(8), func(o *Observation) { o.Instances[3].State = springtide.InstanceStarting }),
			steady(391, 200*time.Millisecond), 10, ReasonDemand,
			"8 to 10: 391 req/s x 200 ms = 78.2 busy slots, 0 held, 41 in 1 s x 200 ms / 2 s = 4.1 more or, if that is more, 13.9 slots of head-room, 10 slots each; not ready in time: 1 of 8",
		},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			v := Decide(noon, test.spec, test.o, test.h)
			if v.To != test.to || v.Reason != test.reason || v.Sentence != test.sentence {
				t.Errorf("got  %d %s %q\nwant %d %s %q", v.To, v.Reason, v.Sentence, test.to, test.reason, test.sentence)
			}
			if v.From != test.o.Replicas || v.Group != test.spec.Group || !v.Time.Equal(noon) {
				t.Errorf("the decision is %+v", v.Decision)
			}
		})
	}
}

func TestASecondOfManyMoreRequestsCountsAtOnce(t *testing.T) {
	h := steady(20, 200*time.Millisecond)
	h.Current, h.Elapsed = Second{Arrived: 200}, 500*time.Millisecond
	// 200 in the half second that goes on, and half of the 20 of the one before,
	// less three standard deviations.
	if v := Decide(noon, web(1, 50, 10), running(1), h); v.Inputs["rate"] != 167 {
		t.Errorf("rate %v, want 167: %s", v.Inputs["rate"], v.Sentence)
	}
	// 30 instead of 20 is noise: the mean of six seconds counts.
	h.Current = Second{Arrived: 20}
	if v := Decide(noon, web(1, 50, 10), running(1), h); v.Inputs["rate"] > 22 {
		t.Errorf("rate %v, want the mean of six seconds: %s", v.Inputs["rate"], v.Sentence)
	}
}

func TestNoiseIsOneForIndependentArrivalsAndMoreForClumps(t *testing.T) {
	random := newSimulation(3, 1, springtide.Scale{}).random
	history := func(clump int, rate func(second int) float64) History {
		var h History
		for i := range 300 {
			h.Seconds = append(h.Seconds, Second{Arrived: float32(clump * poisson(random, rate(i)/float64(clump)))})
		}
		return h
	}
	flat := func(int) float64 { return 50 }
	step := func(i int) float64 {
		if i > 250 {
			return 500
		}
		return 25
	}
	if noise := history(1, flat).noise(); noise > 1.4 {
		t.Errorf("independent arrivals: noise %.2f", noise)
	}
	if noise := history(1, step).noise(); noise > 1.4 {
		t.Errorf("a step counts as noise: %.2f", noise)
	}
	if noise := history(10, flat).noise(); noise < 6 || noise > 14 {
		t.Errorf("clumps of ten: noise %.2f", noise)
	}
}

func TestAShortStableForShrinksEveryWindow(t *testing.T) {
	spec := web(0, 10, 10)
	spec.Scale.StableFor, spec.Scale.Idle = 5*time.Second, 2*time.Second
	h := steady(0, 100*time.Millisecond)
	h.Since, h.LastOut = noon.Add(-6*time.Second), noon.Add(-5*time.Second)
	for i := range h.Seconds[:280] {
		h.Seconds[i].Arrived = 1000
	}
	h.LastDemand = noon.Add(-time.Second)
	o := running(10)
	for i := range o.Instances {
		o.Instances[i].Ready = noon.Add(-7 * time.Second)
	}
	if v := Decide(noon, spec, o, h); v.To != 5 {
		t.Errorf("%s", v.Sentence)
	}
	h.LastDemand, h.LastOut = noon.Add(-5*time.Second), time.Time{}
	if v := Decide(noon, spec, o, h); v.To != 0 {
		t.Errorf("%s", v.Sentence)
	}
}

func TestAStartCountsForAsLongAsTheSlowestTookAndThenAsFailed(t *testing.T) {
	h := steady(400, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = 8*time.Second, 15*time.Second
	o := running(6)
	o.Replicas = 7
	one := o.Instances[0]
	one.ID, one.State, one.Ready = "web-1-new", springtide.InstanceStarting, time.Time{}
	for _, test := range []struct {
		ago, began     time.Duration
		coming, failed float64
	}{
		{14 * time.Second, 0, 1, 0},
		{16 * time.Second, 0, 0, 1},
		{16 * time.Second, 5 * time.Second, 1, 0}, // it waited for its turn
		{time.Hour, 16 * time.Second, 0, 1},
	} {
		one.Ordered, one.Started = noon.Add(-test.ago), time.Time{}
		if test.began > 0 {
			one.Started = noon.Add(-test.began)
		}
		seen := o
		seen.Instances = append(slices.Clone(o.Instances), one)
		v := Decide(noon, web(1, 7, 10), seen, h)
		if v.Inputs["coming"] != test.coming || v.Inputs["failed"] != test.failed {
			t.Errorf("ordered %s ago, begun %s ago: %v coming, %v failed", test.ago, test.began, v.Inputs["coming"], v.Inputs["failed"])
		}
		if said := strings.Contains(v.Sentence, "not ready in time: 1 of 7"); said != (test.failed > 0) {
			t.Errorf("%v failed: %s", test.failed, v.Sentence)
		}
	}
}

func TestNothingIsDueWhileAGroupIsAtItsFloorWithoutDemand(t *testing.T) {
	quiet := steady(0, time.Millisecond)
	quiet.LastDemand = noon.Add(-time.Minute)
	if v := Decide(noon, web(2, 4, 10), running(2), quiet); !v.Due.IsZero() {
		t.Errorf("at the minimum, due %s", v.Due.Sub(noon))
	}
	if v := Decide(noon, web(0, 4, 10), running(0), quiet); !v.Due.IsZero() {
		t.Errorf("at zero, due %s", v.Due.Sub(noon))
	}
	if v := Decide(noon, web(0, 4, 10), running(1), quiet); !v.Due.Equal(noon.Add(4 * time.Minute)) {
		t.Errorf("before it stops, due %s", v.Due.Sub(noon))
	}
	if v := Decide(noon, web(1, 4, 10), running(2), quiet); !v.Due.Equal(noon) {
		t.Errorf("above the minimum, due %s", v.Due.Sub(noon))
	}
}

// TestSentencesRecomputeToTheDecision takes any state at all, reads the numbers
// out of the sentence, and does its sums again.
func drawSpec(t *rapid.T) Spec {
	spec := web(rapid.IntRange(0, 5).Draw(t, "min"), rapid.IntRange(0, 60).Draw(t, "max"), rapid.SampledFrom([]int{0, 1, 3, 10, 40}).Draw(t, "concurrency"))
	spec.Requests = rapid.IntRange(0, 9).Draw(t, "requests") > 0
	spec.Scale.Idle = drawDuration(t, "idle", 10*time.Minute)
	for range rapid.IntRange(0, 2).Draw(t, "floors") {
		from := noon.Add(-drawDuration(t, "began", time.Hour) + 20*time.Minute)
		spec.Floors = append(spec.Floors, Floor{
			Event: "the show", From: from, Until: from.Add(drawDuration(t, "for", time.Hour)), Instances: rapid.IntRange(1, 80).Draw(t, "announced"),
		})
	}
	if rapid.Bool().Draw(t, "targets") {
		spec.Scale.Requests = rapid.SampledFrom([]float64{0, 0.5, 7, 50, 1000}).Draw(t, "target of requests")
		spec.Scale.P95 = rapid.SampledFrom([]time.Duration{0, 20 * time.Millisecond, 300 * time.Millisecond, 5 * time.Second}).Draw(t, "target of latency")
		spec.Scale.CPU = rapid.SampledFrom([]float64{0, 0.01, 0.7, 1}).Draw(t, "target of processors")
		spec.Limits.CPU = rapid.SampledFrom([]float64{0, 0.25, 4}).Draw(t, "limit of processors")
	}
	spec.Scale.Spare = rapid.SampledFrom([]int{0, 0, 1, 5}).Draw(t, "spare")
	if rapid.Bool().Draw(t, "stable set") {
		spec.Scale.StableFor = drawDuration(t, "stable for", 10*time.Minute)
	}
	return spec
}

func drawObservation(t *rapid.T) Observation {
	o := Observation{
		Replicas: rapid.IntRange(0, 70).Draw(t, "replicas"),
		Edges:    rapid.IntRange(0, 2).Draw(t, "edges"),
		Held:     rapid.SampledFrom([]int{0, 0, 1, 7, 300, 10_000}).Draw(t, "held"),
		Busy:     rapid.SampledFrom([]int{0, 0, 1, 12, 400}).Draw(t, "busy"),
		Streams:  rapid.IntRange(0, 1).Draw(t, "streams"),
		Capacity: rapid.SampledFrom([]string{"", "", "", "no memory for one more"}).Draw(t, "capacity"),
	}
	if rapid.IntRange(0, 3).Draw(t, "shared") == 0 {
		o.Granted, o.Shared = rapid.IntRange(0, 70).Draw(t, "granted"), "200 MiB of memory is wanted or held and there is 100 MiB"
	}
	states := []springtide.InstanceState{
		springtide.InstanceReady, springtide.InstanceReady, springtide.InstanceReady, springtide.InstanceStarting,
		springtide.InstanceCrashed, springtide.InstanceRetiring, springtide.InstanceUnhealthy,
	}
	for range rapid.IntRange(0, 60).Draw(t, "instances") {
		age := drawDuration(t, "age", 10*time.Minute)
		o.Instances = append(o.Instances, springtide.Instance{
			State: rapid.SampledFrom(states).Draw(t, "state"), Ordered: noon.Add(-age - time.Second), Ready: noon.Add(-age),
		})
	}
	return o
}

func drawHistory(t *rapid.T) History {
	h := steady(rapid.Float64Range(0, 2000).Draw(t, "rate"), drawDuration(t, "service", 3*time.Second))
	if rapid.IntRange(0, 5).Draw(t, "early") == 0 {
		h.Service = 0
	}
	quiet := rapid.IntRange(0, len(h.Seconds)).Draw(t, "quiet from")
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	for i := range h.Seconds[quiet:] {
		h.Seconds[quiet+i] = Second{Arrived: float32(random.IntN(4))}
	}
	h.Current = Second{Arrived: float32(rapid.IntRange(0, 300).Draw(t, "current"))}
	h.Elapsed = drawDuration(t, "elapsed", time.Second)
	h.ColdStart = drawDuration(t, "cold start", 30*time.Second)
	h.Reversals = rapid.IntRange(0, 4).Draw(t, "reversals")
	h.TooLate = rapid.IntRange(0, 4).Draw(t, "too late")
	h.Quarter = drawDuration(t, "quarter", 250*time.Millisecond)
	for i := range h.Quarters {
		h.Quarters[i] = float32(rapid.IntRange(0, 300).Draw(t, "in a quarter"))
	}
	if rapid.Bool().Draw(t, "forecast") {
		h.Forecast = Forecast{Slots: rapid.Float64Range(0, 500).Draw(t, "forecast slots"), Error: rapid.Float64Range(0, 1).Draw(t, "forecast error")}
	}
	h.Processor = rapid.Bool().Draw(t, "measured")
	cores := rapid.Float64Range(0, 80).Draw(t, "cores")
	for i := range h.Seconds {
		h.Seconds[i].Cores = float32(cores * random.Float64())
	}
	h.Curve = drawCurve(t)
	h.SlowStart = 2 * h.ColdStart
	h.LastDemand = noon.Add(-drawDuration(t, "last demand", 10*time.Minute))
	h.LastOut = noon.Add(-drawDuration(t, "last out", 5*time.Minute))
	h.LastIn = noon.Add(-drawDuration(t, "last in", time.Minute))
	return h
}

func drawCurve(t *rapid.T) (curve Curve) {
	concurrency := 0.1
	for range rapid.IntRange(0, 6).Draw(t, "points") {
		concurrency += rapid.Float64Range(0.01, 20).Draw(t, "more at a time")
		curve = append(curve, CurvePoint{
			Concurrency: concurrency, P95: drawDuration(t, "p95", 2*time.Second) + time.Millisecond,
			Service: drawDuration(t, "service at it", time.Second), Weight: rapid.Float64Range(enoughLatencies, 1e4).Draw(t, "requests"),
		})
	}
	return curve
}

func drawDuration(t *rapid.T, label string, highest time.Duration) time.Duration {
	return time.Duration(rapid.Int64Range(0, int64(highest)).Draw(t, label))
}

func BenchmarkDecide(b *testing.B) {
	spec, o := web(1, 60, 10), running(40)
	h := steady(391, 200*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		Decide(noon, spec, o, h)
	}
}
