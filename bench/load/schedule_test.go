package load

import (
	"math"
	"testing"
	"time"
)

func TestAScheduleAsksForAsManyRequestsAsItsRates(t *testing.T) {
	schedule := Schedule{Steady(20, 10*time.Second), Steady(400, 25*time.Second), Ramp(400, 20, 10*time.Second)}
	if got := schedule.Requests(); got != 200+10_000+2100 {
		t.Errorf("%v requests", got)
	}
	if got := schedule.Length(); got != 45*time.Second {
		t.Errorf("%v long", got)
	}
	first, step := 0, 0
	for one := range (Options{Schedule: schedule, Mix: []Kind{{Weight: 1}}}).arrivals() {
		if one.at < 10*time.Second {
			first++
		} else if one.at < 35*time.Second {
			step++
		}
	}
	if first != 200 || step != 10_000 {
		t.Errorf("%d in the first stage, %d in the second", first, step)
	}
}

func TestARampHasEveryRequestWhereItsRateSaysSo(t *testing.T) {
	ramp := Schedule{Ramp(0, 100, 10*time.Second)}
	for n, want := range map[float64]float64{0: 0, 5: 1, 125: 5, 499: math.Sqrt(499.0 / 5)} {
		if at, ok := ramp.when(n); !ok || math.Abs(at.Seconds()-want) > 0.001 {
			t.Errorf("request %v after %v, %v; want %vs", n, at, ok, want)
		}
	}
	if _, ok := ramp.when(500); ok {
		t.Error("a request more than there are")
	}
	down := Schedule{Ramp(100, 0, 10*time.Second)}
	if at, ok := down.when(499.9); !ok || at > 10*time.Second {
		t.Errorf("the last request after %v, %v", at, ok)
	}
}

func TestAPauseHasNoRequests(t *testing.T) {
	schedule := Schedule{Steady(1, 2*time.Second), Steady(0, time.Minute), Steady(1, time.Second)}
	if at, ok := schedule.when(2); !ok || at != 62*time.Second {
		t.Errorf("after %v, %v", at, ok)
	}
}

func TestPoissonArrivalsAreRepeatableAndAboutAsMany(t *testing.T) {
	options := Options{Schedule: Schedule{Steady(1000, 10*time.Second)}, Mix: []Kind{{Weight: 1}}, Poisson: true, Seed: 7}
	count := func() (n int, last time.Duration) {
		for one := range options.arrivals() {
			if one.at < last {
				t.Fatal("not in order of time")
			}
			n, last = n+1, one.at
		}
		return n, last
	}
	n, last := count()
	if again, same := count(); again != n || same != last {
		t.Error("not the same again")
	}
	if n < 9_500 || n > 10_500 {
		t.Errorf("%d arrivals", n)
	}
}

func TestKindsAreDrawnByTheirWeights(t *testing.T) {
	options := Options{Schedule: Schedule{Steady(1000, 10*time.Second)}, Mix: []Kind{{Name: "a", Weight: 1}, {Name: "b", Weight: 3}}}
	drawn := map[string]int{}
	for one := range options.arrivals() {
		drawn[one.kind.Name]++
	}
	if drawn["a"] < 2_300 || drawn["a"] > 2_700 || drawn["a"]+drawn["b"] != 10_000 {
		t.Errorf("%v", drawn)
	}
}
