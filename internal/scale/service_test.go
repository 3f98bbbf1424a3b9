package scale

import (
	"math"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestWhatInstancesTakeWhileOthersStartIsNotLearnt(t *testing.T) {
	learn := func(busy float64, starts ...time.Duration) (after time.Duration) {
		m := newServiceMeter(noon, nil)
		m.add(noon, 100, 6*time.Second, busy)
		for _, at := range starts {
			m.observe(noon.Add(at), true)
			m.observe(noon.Add(at+time.Second), false)
		}
		for after = starts[0] + 100*time.Millisecond; after < time.Minute; after += 100 * time.Millisecond {
			if m.add(noon.Add(after), 20, 2*time.Second, busy); m.mean() > 70*time.Millisecond {
				return after
			}
		}
		return after
	}
	for _, test := range []struct {
		name     string
		busy     float64
		starts   []time.Duration
		from, to time.Duration
	}{
		{"one start", 1, []time.Duration{time.Second}, 4 * time.Second, 5 * time.Second},
		{"starts one after the other", 0.9, []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second, 9 * time.Second}, 12 * time.Second, 13 * time.Second},
		{"that leave the processors idle", 0.2, []time.Duration{time.Second, 3 * time.Second, 5 * time.Second, 7 * time.Second, 9 * time.Second}, 4 * time.Second, 5 * time.Second},
	} {
		if after := learn(test.busy, test.starts...); after < test.from || after > test.to {
			t.Errorf("%s: learnt after %s, want between %s and %s", test.name, after, test.from, test.to)
		}
	}
}

func TestTheFirstServiceTimesAreLearntWhateverStarts(t *testing.T) {
	m := newServiceMeter(noon, nil)
	m.observe(noon, true)
	m.add(noon.Add(time.Second), 10, time.Second, 1)
	if m.mean() != 100*time.Millisecond {
		t.Errorf("%s", m.mean())
	}
}

func TestHowBusyTheProcessorsAreIsWhatTheyWereNotIdle(t *testing.T) {
	m := NewMeter()
	m.Use(noon, springtide.Usage{CPUs: 2, Idle: time.Hour})
	if m.used.busyAt(noon) >= 0 {
		t.Error("one measurement says how busy they are")
	}
	m.Use(noon.Add(time.Second), springtide.Usage{CPUs: 2, Idle: time.Hour + 500*time.Millisecond})
	if busy := m.used.busyAt(noon.Add(time.Second)); math.Abs(busy-0.75) > 1e-9 {
		t.Errorf("%.2f of two cores, want 1.5", 2*busy)
	}
	if m.used.busyAt(noon.Add(time.Minute)) >= 0 {
		t.Error("a minute later it still counts")
	}
	m.Use(noon.Add(2*time.Second), springtide.Usage{CPUs: 2})
	if m.used.busyAt(noon.Add(2*time.Second)) >= 0 {
		t.Error("it is known though nothing was said of it")
	}
}

func TestStartsThatMakeRequestsSlowOrderNoMoreOfThem(t *testing.T) {
	for seed := range uint64(5) {
		s := newSimulation(seed, 1, springtide.Scale{Min: 1, Max: 40, Concurrency: 2})
		s.service, s.coldStart = 60*time.Millisecond, 1200*time.Millisecond
		s.meter, s.instances[0].Ready = NewMeter(), s.instances[0].Ordered.Add(s.coldStart)
		s.observe()
		s.processors, s.startShare, s.requestShare = 2, 0.8, 0.05
		s.log = t.Logf
		s.run(90*time.Second, stepAt(30*time.Second, 10, 200))
		// 200 a second keep 12 slots busy; 8 instances have 4 more. Who believes the
		// slow requests orders all 40.
		if s.result.peak > 15 {
			t.Errorf("seed %d: %d instances where 8 do", seed, s.result.peak)
		}
		if took := s.result.lastLate.Sub(s.start.Add(30 * time.Second)); took > 5*time.Second {
			t.Errorf("seed %d: late for %s", seed, took)
		}
	}
}

func TestAfterASilenceTheShortRequestsDoNotSayThatAllAreShort(t *testing.T) {
	m := newServiceMeter(noon, nil)
	m.add(noon, 1000, 200*time.Second, -1)
	later := noon.Add(time.Hour)
	m.add(later, 20, time.Second, -1) // of those that began just now the short ones are over
	if mean := m.mean(); mean < 170*time.Millisecond {
		t.Errorf("they are taken to last %s, want nearly 200 ms", mean)
	}
	m.add(later.Add(time.Second), 400, 20*time.Second, -1)
	if mean := m.mean(); mean > 85*time.Millisecond {
		t.Errorf("four hundred that last 50 ms leave it at %s", mean)
	}
}
