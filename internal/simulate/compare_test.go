package simulate

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// usual are conditions of which nothing is special.
func usual() Conditions {
	return Conditions{ColdStart: 3 * time.Second, Service: 200 * time.Millisecond, Slots: 10, Min: 1, Max: 50, HoldFor: 30 * time.Second, HoldLimit: 10_000, Seed: 1}
}

func TestAllLawsAreComparedOnTheSameRequests(t *testing.T) {
	rates := slices.Concat(slices.Repeat([]float64{20}, 300), slices.Repeat([]float64{100}, 300))
	trace := Trace{Name: "step", Rates: rates, Step: 300, Clump: 1}
	own, err := ParseTracking([]byte("{ name: mine, metric: requests, target: 30, every: 10s, window: 30s }"))
	if err != nil {
		t.Fatal(err)
	}
	all := append(Contenders(), Contender{own.Name, "a file", own.New})
	results, err := Compare(t.Context(), trace, usual(), all)
	if err != nil || len(results) != len(all) {
		t.Fatalf("%d results, %v", len(results), err)
	}
	again, err := Compare(t.Context(), trace, usual(), all)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if math.Abs(float64(r.Requests)-36_000) > 1500 || r.InstanceHours <= 0 || len(r.Series) != 600 {
			t.Errorf("%+v", r.Figures)
		}
		if r.Figures != again[i].Figures {
			t.Errorf("%s: %+v and then %+v", r.Name, r.Figures, again[i].Figures)
		}
	}
	if by := results[len(results)-1]; by.Peak < 3 || by.Starts == 0 {
		t.Errorf("the law of the file did nothing: %+v", by)
	}
	var chart strings.Builder
	if err := WriteChart(&chart, "a <step>", trace, []Line{{"x & y", "#000000", results[0].Series}}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(chart.String(), "x &amp; y") || !strings.Contains(chart.String(), "a &lt;step&gt;") || !strings.HasSuffix(chart.String(), "</svg>\n") {
		t.Errorf("%.300s", chart.String())
	}
}

func TestALawThatMakesNoSenseIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"target: 0":                         "it is more than 0",
		"target: .nan":                      "it is more than 0",
		"{ target: 1, metric: luck }":       "neither concurrency nor requests",
		"{ target: 1, every: 1ms }":         "1s to 1h",
		"{ target: 1, window: 2h }":         "1s to 1h",
		"{ target: 1, tolerance: 2 }":       "tolerance",
		"{ target: 1, growth: 0.5 }":        "growth",
		"{ target: 1, stable: 48h }":        "a day",
		"{ target: 1, aim: 3 }":             "aim",
		"{ target: 1, cooldown_up: later }": "later",
		"[":                                 "",
	} {
		if _, err := ParseTracking([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestMinutesOfWhichNothingIsKnownHadNoRequests(t *testing.T) {
	at := time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
	trace, err := FromMinutes("web", []springtide.Minute{{Time: at, Requests: 600}, {Time: at.Add(2 * time.Minute), Requests: 600}})
	if err != nil || len(trace.Rates) != 180 {
		t.Fatalf("%d seconds, %v", len(trace.Rates), err)
	}
	if trace.Rates[0] != 10 || trace.Rates[90] > 1 || trace.Rates[179] != 10 {
		t.Errorf("%v, %v, %v", trace.Rates[0], trace.Rates[90], trace.Rates[179])
	}
	if _, err := FromMinutes("web", nil); err == nil {
		t.Error("a trace of nothing")
	}
}

func FuzzParseTracking(f *testing.F) {
	f.Add("{ name: mine, metric: requests, target: 30, every: 10s, window: 30s }")
	f.Add("target: 7\ngrowth: 0\nstable: 0s\n")
	f.Fuzz(func(t *testing.T, text string) {
		law, err := ParseTracking([]byte(text))
		if err != nil {
			return
		}
		trace := Trace{Rates: []float64{5, 50, 500, 5}, Step: -1, Clump: 1}
		if o := Run(trace, usual(), law.New(trace, usual())); o.Peak > 50 || o.Peak < 1 {
			t.Fatalf("%q has %d instances", text, o.Peak)
		}
	})
}
