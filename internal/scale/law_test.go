package scale

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

func TestNoDecisionLeavesTheRangeOrHasNoSentence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, o, h := drawSpec(t), drawObservation(t), drawHistory(t)
		spec.Scale.Min = rapid.IntRange(-3, 40).Draw(t, "any minimum")
		v := Decide(noon, spec, o, h)
		lowest, highest := spec.limits()
		if v.To < lowest || v.To > highest {
			t.Fatalf("%d is not within %d to %d: %s", v.To, lowest, highest, v.Sentence)
		}
		if v.Want < lowest || v.Want > highest {
			t.Fatalf("it wants %d, not within %d to %d: %s", v.Want, lowest, highest, v.Sentence)
		}
		if o.Shared != "" && v.To > max(o.Granted, lowest) && v.To > v.From {
			t.Fatalf("%d, and the machine has %d for it: %s", v.To, o.Granted, v.Sentence)
		}
		if v.Sentence == "" || v.Reason == "" || len(v.Inputs) == 0 {
			t.Fatalf("it says nothing: %+v", v)
		}
		for name, x := range v.Inputs {
			if math.IsNaN(x) || math.IsInf(x, 0) {
				t.Fatalf("%s is %v: %s", name, x, v.Sentence)
			}
		}
	})
}

func TestMoreDemandNeverNeedsFewer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, o, h := drawSpec(t), drawObservation(t), drawHistory(t)
		before := Decide(noon, spec, o, h)
		switch rapid.IntRange(0, 3).Draw(t, "what grows") {
		case 0:
			o.Held += rapid.IntRange(1, 1000).Draw(t, "more held")
		case 1:
			o.Busy += rapid.IntRange(1, 1000).Draw(t, "more served")
		case 2:
			if h.Elapsed < time.Second {
				h.Elapsed = time.Second // else it is of the second before, too
				before = Decide(noon, spec, o, h)
			}
			h.Current.Arrived += float32(rapid.IntRange(1, 1000).Draw(t, "more arrived"))
		case 3:
			h.Quarters[0] += float32(rapid.IntRange(1, 1000).Draw(t, "more in this quarter of a second"))
		}
		after := Decide(noon, spec, o, h)
		if after.Inputs["need"] < before.Inputs["need"] {
			t.Fatalf("needs %v, before %v:\n%s\n%s", after.Inputs["need"], before.Inputs["need"], after.Sentence, before.Sentence)
		}
		if after.To < before.To {
			t.Fatalf("%s\nbefore: %s", after.Sentence, before.Sentence)
		}
	})
}

func TestRecordedInputsGiveTheRecordedDecisionAgain(t *testing.T) {
	type record struct {
		Spec        Spec
		Observation Observation
		History     History
	}
	rapid.Check(t, func(t *rapid.T) {
		r := record{drawSpec(t), drawObservation(t), drawHistory(t)}
		first := Decide(noon, r.Spec, r.Observation, r.History)
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var again record
		if err := json.Unmarshal(written, &again); err != nil {
			t.Fatal(err)
		}
		if second := Decide(noon, again.Spec, again.Observation, again.History); second.Sentence != first.Sentence || second.To != first.To || second.Reason != first.Reason {
			t.Fatalf("first %s\nthen %s", first.Sentence, second.Sentence)
		}
	})
}

func TestARiseIsMetBeforeItIsThere(t *testing.T) {
	h := steady(40, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = 3*time.Second, 4*time.Second
	for i, rate := range []float32{55, 80, 110, 150, 190, 230} {
		h.Seconds[len(h.Seconds)-6+i].Arrived = rate
	}
	h.Elapsed = time.Second
	h.Current.Arrived = 270
	v := Decide(noon, web(1, 50, 10), running(6), h)
	if v.Inputs["expected_rate"] < 350 || v.Inputs["expected_rate"] > 480 || !strings.Contains(v.Sentence, "expected in 3 s (a cold start)") {
		t.Errorf("390 a second will arrive when a cold start is over: %s", v.Sentence)
	}
	// The same second after a steady rate is a step, which does not go on.
	for i := range 6 {
		h.Seconds[len(h.Seconds)-6+i].Arrived = 40
	}
	if v := Decide(noon, web(1, 50, 10), running(6), h); v.Inputs["expected_rate"] > 350 {
		t.Errorf("a step is taken for a rise: %s", v.Sentence)
	}
}

func TestAClimbIsSeenThoughEachStepOfItMayBeNoise(t *testing.T) {
	h := steady(20, 200*time.Millisecond)
	h.ColdStart, h.SlowStart, h.Elapsed = 3*time.Second, 4*time.Second, time.Second
	for i := range 11 { // in times of 4 s, whose differences are noise once in a hundred times
		h.Seconds[len(h.Seconds)-11+i].Arrived = []float32{27, 36, 46}[i/4]
	}
	h.Current.Arrived = 46
	if v := Decide(noon, web(1, 50, 10), running(2), h); v.Inputs["expected_rate"] < 52 {
		t.Errorf("it climbs by 8 in 4 s: %s", v.Sentence)
	}
}

// A window that is partly of before the step has it look like a rise for a moment.
func TestAStepIsNoRiseOverALongColdStart(t *testing.T) {
	for quarter := range 40 {
		h := steady(100, 200*time.Millisecond)
		h.ColdStart, h.SlowStart = 20*time.Second, 25*time.Second
		h.Elapsed = time.Duration(quarter%4+1) * 250 * time.Millisecond
		h.Current.Arrived = float32(300 * h.Elapsed.Seconds())
		for i := range quarter / 4 { // whole seconds at the new rate
			h.Seconds[len(h.Seconds)-1-i].Arrived = 300
		}
		if expected := h.expected(noon, 1); expected > 600 {
			t.Errorf("%d quarters of a second after a step from 100 to 300 %.0f are expected", quarter+1, expected)
		}
	}
}

func TestASlowRiseOfALargeFleetIsSeen(t *testing.T) {
	h := steady(500, time.Second)
	h.ColdStart, h.SlowStart, h.Elapsed = 3*time.Second, 4*time.Second, time.Second
	rate := func(ago int) float32 { return float32(500 * math.Exp2(-float64(ago)/40)) } // it doubles in 40 s
	for i := range h.Seconds {
		h.Seconds[len(h.Seconds)-1-i].Arrived = rate(i + 1)
	}
	h.Current.Arrived = rate(0)
	if expected := h.expected(noon, 1); expected < 500 || expected > 540 {
		t.Errorf("%.0f are expected, 527 will come", expected)
	}
}

func TestWhatWasOrderedIsNotOrderedAgainForThoseWhoWait(t *testing.T) {
	h := steady(400, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = 3*time.Second, 4*time.Second
	o := running(6)
	o.Held = 100
	first := Decide(noon, web(1, 50, 10), o, h)
	if first.Inputs["held_later"] < 300 {
		t.Fatalf("6 instances serve 300 of 400 a second: %s", first.Sentence)
	}
	o.Replicas, h.LastOut = first.To, noon.Add(-2*time.Second)
	for range first.To - 6 {
		one := o.Instances[0]
		one.State, one.Ordered, one.Ready = "starting", noon.Add(-2*time.Second), time.Time{}
		o.Instances = append(o.Instances, one)
	}
	if v := Decide(noon, web(1, 50, 10), o, h); v.To != first.To || v.Inputs["held_later"] != 0 {
		t.Errorf("those that come in a second work it off: %s\nfirst: %s", v.Sentence, first.Sentence)
	}
}

func TestAStepIsSeenInItsFirstQuarterOfASecond(t *testing.T) {
	m, now := NewMeter(), noon
	tell := func(arrived int) {
		now = now.Add(100 * time.Millisecond)
		m.Report(now, springtide.EdgeReport{Edge: "edge-1", Demand: []springtide.Demand{{
			Group: simulatedGroup, Interval: 100 * time.Millisecond, Arrived: arrived,
		}}})
	}
	for range 300 {
		tell(2)
	}
	for range 3 {
		tell(40)
	}
	_, h := m.View(now, simulatedGroup, nil)
	if _, rate := h.rates(1); rate < 200 || rate > 400 {
		t.Errorf("400 a second arrive, %.0f are certain", rate)
	}
}

func TestNoMoreWaitThanAreHeld(t *testing.T) {
	h := steady(400, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = time.Minute, 70*time.Second
	o := running(1)
	o.Held, o.Edges = 100, 1
	if v := Decide(noon, web(1, 500, 10), o, h); v.Inputs["held_later"] > 10_000 {
		t.Errorf("an edge holds 10,000: %s", v.Sentence)
	}
	h = steady(100, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = time.Minute, 70*time.Second
	if v := Decide(noon, web(1, 500, 10), o, h); v.Inputs["held_later"] > 3000 {
		t.Errorf("100 a second wait for 30 s each: %s", v.Sentence)
	}
}

func TestWhatIsServedOfAQueueIsNoDemandThatLasts(t *testing.T) {
	h := steady(100, 200*time.Millisecond)
	n := len(h.Seconds)
	for i := n - 40; i < n-20; i++ {
		h.Seconds[i].Busy = 0     // they were held for 20 s,
		h.Seconds[i+20].Busy = 40 // and served in as many
	}
	w := web(1, 50, 10).windows(time.Second, 1, 0)
	d := demand{known: true, service: 200 * time.Millisecond, slots: 10, noise: 1}
	if need := stableNeed(d, h, w); need > 3.2 {
		t.Errorf("20 slots and head-room are needed, not %.2f instances of ten", need)
	}
}

func TestAPulseThatComesBackIsNotAveragedAway(t *testing.T) {
	h := steady(30, 200*time.Millisecond)
	for i := range 10 { // 200 s ago
		h.Seconds[len(h.Seconds)-200+i].Arrived = 300
	}
	h.Reversals, h.TooLate = 5, 5
	o := running(8)
	if v := Decide(noon, web(1, 50, 10), o, h); v.To != 8 {
		t.Errorf("ten seconds need 60 slots: %s", v.Sentence)
	}
}

func BenchmarkTenThousandGroups(b *testing.B) {
	spec, o, h := web(1, 60, 10), running(40), steady(391, 200*time.Millisecond)
	for b.Loop() {
		for range 10_000 {
			Decide(noon, spec, o, h)
		}
	}
}
