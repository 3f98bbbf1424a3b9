package scale

import (
	"strings"
	"testing"
	"time"
)

func TestTheHighestNeedOfAllTargetsWins(t *testing.T) {
	h := steady(400, 100*time.Millisecond)
	h.Processor = true
	for i := range h.Seconds {
		h.Seconds[i].Cores = 2.1
	}
	h.Curve = Curve{
		{Concurrency: 2, P95: 110 * time.Millisecond, Service: 100 * time.Millisecond, Weight: 1000},
		{Concurrency: 6, P95: 400 * time.Millisecond, Service: 150 * time.Millisecond, Weight: 1000},
	}
	spec := web(1, 40, 40)
	for _, test := range []struct {
		name     string
		change   func(*Spec)
		to       int
		sentence string
	}{
		{"concurrency alone", func(*Spec) {}, 2, "stays at 2: 400 req/s x 100 ms = 40 busy slots, 0 held, 40 slots of head-room, 40 slots each"},
		{"requests", func(s *Spec) { s.Scale.Requests = 90 }, 5, "2 to 5: by requests: 400 req/s, 90 each; by concurrency 2"},
		{
			"latency", func(s *Spec) { s.Scale.P95 = 255 * time.Millisecond }, 13,
			"2 to 13: by p95: p95 holds 255 ms up to 4 at a time: 400 req/s x 100 ms = 40 busy slots, 8.5 slots of head-room, 4 slots each; by concurrency 2",
		},
		{"processors", func(s *Spec) { s.Scale.CPU = 0.7 }, 3, "2 to 3: by cpu: 2.1 cores in use, 0.7 each; by concurrency 2"},
		{"within the tolerance", func(s *Spec) { s.Scale.CPU = 0.96 }, 2, "stays at 2: by concurrency: 400 req/s x 100 ms = 40 busy slots, 0 held, 40 slots of head-room, 40 slots each; by cpu 2"},
		{"a limit of its own", func(s *Spec) { s.Scale.CPU, s.Limits.CPU = 0.7, 0.25 }, 12, "2 to 12: by cpu: 2.1 cores in use, 0.175 each; by concurrency 2"},
		{
			"several, and some to spare", func(s *Spec) { s.Scale.CPU, s.Scale.Requests, s.Scale.Spare = 0.5, 50, 2 }, 10,
			"2 to 10: by requests: 400 req/s, 50 each, 2 spare; by concurrency 2; by cpu 5",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Decide(noon, with(spec, test.change), running(2), h)
			if v.To != test.to || v.Sentence != test.sentence {
				t.Errorf("%d instead of %d:\n got %s\nwant %s", v.To, test.to, v.Sentence, test.sentence)
			}
		})
	}
}

func TestATargetThatIsNotMeasuredSaysSo(t *testing.T) {
	spec := with(web(1, 40, 10), func(s *Spec) { s.Scale.CPU, s.Scale.P95 = 0.5, time.Second })
	v := Decide(noon, spec, running(3), steady(100, 200*time.Millisecond))
	if !strings.Contains(v.Sentence, "the processors are not measured") {
		t.Error(v.Sentence)
	}
}

func TestARiseCountsForEveryTarget(t *testing.T) {
	h := steady(40, 200*time.Millisecond)
	h.ColdStart, h.SlowStart, h.Processor = 3*time.Second, 4*time.Second, true
	for i := range h.Seconds {
		h.Seconds[i].Cores = 0.8
	}
	for i, rate := range []float32{55, 80, 110, 150, 190, 230} {
		h.Seconds[len(h.Seconds)-6+i].Arrived = rate
	}
	h.Elapsed = time.Second
	h.Current.Arrived = 270
	h.Curve = Curve{{Concurrency: 4, P95: 100 * time.Millisecond, Service: 200 * time.Millisecond, Weight: 100}, {Concurrency: 8, P95: 500 * time.Millisecond, Service: 200 * time.Millisecond, Weight: 100}}
	for name, change := range map[string]func(*Spec){
		"requests": func(s *Spec) { s.Scale.Requests = 5 },
		"p95":      func(s *Spec) { s.Scale.P95 = 300 * time.Millisecond },
		"cpu":      func(s *Spec) { s.Scale.CPU = 0.05 },
	} {
		v := Decide(noon, with(web(1, 500, 1000), change), running(6), h)
		if !strings.Contains(v.Sentence, "by "+name+": ") || !strings.Contains(v.Sentence, "expected in 3 s (a cold start)") {
			t.Errorf("%s does not look ahead: %s", name, v.Sentence)
		}
	}
}

func TestSpareInstancesAreReplacedAsTheyAreUsedAndGoWithTheLast(t *testing.T) {
	spec := with(web(0, 20, 10), func(s *Spec) { s.Scale.Spare = 2 })
	// 16 busy slots and their head-room fill three instances of ten.
	h := steady(80, 200*time.Millisecond)
	if v := Decide(noon, spec, running(3), h); v.To != 5 || !strings.HasSuffix(v.Sentence, "10 slots each, 2 spare") {
		t.Errorf("three are needed and two are to be spare: %s", v.Sentence)
	}
	if v := Decide(noon, spec, running(5), h); v.To != 5 {
		t.Errorf("five are what there is to be: %s", v.Sentence)
	}
	// More requests use the spare ones, and others are ordered.
	if v := Decide(noon, spec, running(5), steady(160, 200*time.Millisecond)); v.To < 6 {
		t.Errorf("the spare ones are used: %s", v.Sentence)
	}
	if v := Decide(noon, with(spec, func(s *Spec) { s.Scale.Max = 4 }), running(3), h); v.To != 4 {
		t.Errorf("they count within the maximum: %s", v.Sentence)
	}
	// They stay as long as they were needed in the window; without any demand
	// nothing is spare.
	if v := Decide(noon, spec, running(5), with(steady(40, 200*time.Millisecond), func(h *History) { h.LastOut = noon.Add(-time.Hour) })); v.To != 4 ||
		!strings.Contains(v.Sentence, "at 95% fill, 2 spare") {
		t.Errorf("two are needed, and two spare: %s", v.Sentence)
	}
	none := steady(0, 200*time.Millisecond)
	none.LastDemand = noon.Add(-time.Hour)
	if v := Decide(noon, spec, running(3), none); v.To != 0 {
		t.Errorf("nothing was under way for an hour: %s", v.Sentence)
	}
	if v := Decide(noon, spec, running(0), none); v.To != 0 {
		t.Errorf("at zero nothing is spare: %s", v.Sentence)
	}
}

func TestTheLatencyIsReadOffItsCurve(t *testing.T) {
	at := func(concurrency float64, p95 time.Duration) CurvePoint {
		return CurvePoint{Concurrency: concurrency, P95: p95 * time.Millisecond, Service: p95 * time.Millisecond / 2, Weight: 100}
	}
	for _, test := range []struct {
		name    string
		curve   Curve
		slots   float64
		service time.Duration
		base    time.Duration
	}{
		{"nothing is known", nil, 0, 0, 0},
		{"it held", Curve{at(2, 100), at(8, 290)}, 0, 0, 0},
		{"between two points", Curve{at(2, 100), at(8, 400)}, 6, 150, 0},
		{"one point, a little over", Curve{at(10, 400)}, 7.5, 200, 0},
		{"one point, far over", Curve{at(10, 3000)}, 7, 1500, 0},
		{"on the line below two points", Curve{at(10, 400), at(20, 800)}, 7.5, 150, 0},
		{"no further than half at once", Curve{at(10, 3000), at(20, 6000)}, 5, 750, 0},
		{"noise is evened out", Curve{at(2, 120), at(3, 80), at(8, 500)}, 5.5, 0, 0},
		{"alone it takes too long already", Curve{at(0.5, 500)}, 0, 0, 500},
		{"the load does not make it", Curve{at(5, 500), at(10, 505)}, 0, 0, 495},
		{"the load makes it worse", Curve{at(5, 500), at(10, 505), at(40, 1225)}, 0, 0, 495},
	} {
		t.Run(test.name, func(t *testing.T) {
			k := test.curve.knee(300 * time.Millisecond)
			wrong := test.slots > 0 && (k.slots < test.slots-0.01 || k.slots > test.slots+0.01)
			if test.service > 0 && k.service.Round(time.Millisecond) != test.service*time.Millisecond {
				wrong = true
			}
			if wrong || k.base.Round(time.Millisecond) != test.base*time.Millisecond || test.slots == 0 && test.base == 0 && k.slots != 0 {
				t.Errorf("%+v", k)
			}
		})
	}
	// Where the target cannot be had, a quarter more than the latency without load
	// is what is held.
	if k := (Curve{at(5, 500), at(10, 505), at(40, 1225)}).knee(300 * time.Millisecond); k.slots < 14 || k.slots > 16 {
		t.Errorf("619 ms are reached at 14.7: %+v", k)
	}
}
