package scale

import (
	"strings"
	"testing"
	"time"
)

func TestWhatWasAnnouncedIsThereInTime(t *testing.T) {
	spec := web(1, 40, 10)
	spec.Floors = []Floor{{Event: "Top 10", From: noon.Add(40 * time.Second), Until: noon.Add(time.Hour), Instances: 12}}
	h := steady(20, 200*time.Millisecond)
	h.ColdStart, h.SlowStart = 3*time.Second, 4*time.Second
	if v := Decide(noon, spec, running(1), h); v.To != 1 || v.Due.IsZero() || v.Due.After(noon.Add(6*time.Second)) {
		t.Errorf("40 s before, 34 are needed: due %s, %s", v.Due.Sub(noon), v.Sentence)
	}
	v := Decide(noon.Add(6*time.Second), spec, running(1), h)
	if v.To != 12 || v.Reason != ReasonEvent || v.Sentence != "1 to 12: Top 10 keeps 12" {
		t.Errorf("%s: %s", v.Reason, v.Sentence)
	}
	spec.Scale.Max = 8
	if v := Decide(noon.Add(time.Minute), spec, running(1), h); v.To != 8 {
		t.Errorf("above the maximum: %s", v.Sentence)
	}
	if v := Decide(noon.Add(2*time.Hour), spec, running(1), h); v.To != 1 {
		t.Errorf("after its end: %s", v.Sentence)
	}
}

func TestAFloorThatNobodyNeedsIsHalved(t *testing.T) {
	spec := web(1, 40, 10)
	spec.Floors = []Floor{{Event: "Top 10", From: noon, Until: noon.Add(time.Hour), Instances: 12}}
	h := steady(20, 200*time.Millisecond)
	for _, test := range []struct {
		after time.Duration
		need  float64
		floor int
	}{
		{0, 1, 12},
		{179 * time.Second, 1, 12},
		{180 * time.Second, 1, 6},
		{6 * time.Minute, 1, 3},
		{9 * time.Minute, 1, 2},
		{12 * time.Minute, 1, 1},
		// Those who come late find it raised again.
		{7 * time.Minute, 5, 6},
		{7 * time.Minute, 8, 12},
	} {
		if n, why := spec.floorNow(noon.Add(test.after), h, test.need); n != test.floor || test.floor < 12 && !strings.Contains(why, "nobody came") {
			t.Errorf("after %s with a need of %v: %d (%s), want %d", test.after, test.need, n, why, test.floor)
		}
	}
}

func TestFloorsThatOverlapOrAreOverOrAreNonsense(t *testing.T) {
	spec := web(0, 40, 10)
	spec.Floors = []Floor{
		{Event: "yesterday", From: noon.Add(-24 * time.Hour), Until: noon.Add(-23 * time.Hour), Instances: 30},
		{Event: "small", From: noon.Add(-time.Minute), Until: noon.Add(time.Hour), Instances: 4},
		{Event: "large", From: noon.Add(-time.Minute), Until: noon.Add(time.Hour), Instances: 9},
		{Event: "ends before it begins", From: noon.Add(10 * time.Second), Until: noon.Add(-time.Hour), Instances: 40},
		{Event: "negative", From: noon.Add(-time.Minute), Until: noon.Add(time.Hour), Instances: -4},
	}
	v := Decide(noon, spec, running(0), History{ColdStart: time.Second})
	if v.To != 9 || !strings.Contains(v.Sentence, "large keeps 9") {
		t.Errorf("%s", v.Sentence)
	}
}
