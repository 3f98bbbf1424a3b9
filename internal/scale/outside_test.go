package scale

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// outsideWorld is a queue that workers take from, one message after the other, on
// fake time, and the law that says how many of them there are.
type outsideWorld struct {
	meter   *outsideMeter
	spec    Spec
	now     time.Time
	service time.Duration // of a message
	// rate is how many messages come in a second.
	rate      float64
	chance    *rand.Rand
	waiting   int
	workers   []time.Time // until when each is busy
	needs     needs
	last      Verdict
	lastOut   time.Time
	lastIn    time.Time
	most      int
	trouble   string
	counted   bool // it is known how many are under way
	emptiedAt time.Time
}

func newOutsideWorld(service time.Duration, wait time.Duration) *outsideWorld {
	queue := &springtide.OutsideQueue{Kind: springtide.OutsideRedis, Names: []string{"jobs"}, Wait: wait, Every: time.Second}
	return &outsideWorld{
		meter: newOutsideMeter(), now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), service: service, chance: rand.New(rand.NewPCG(1, 2)),
		spec: Spec{
			Worker: &springtide.Worker{Wait: wait},
			Scale:  springtide.Scale{Max: 50, Concurrency: 1, Idle: time.Minute, StableFor: 10 * time.Second, Queue: queue},
		},
	}
}

// run lets a second pass, so many times.
func (w *outsideWorld) run(seconds int) {
	for range seconds {
		busy := 0
		for range 100 { // steps of 10 ms
			w.now = w.now.Add(10 * time.Millisecond)
			if w.chance.Float64() < w.rate/100 {
				w.waiting++
			}
			busy = 0
			for i := range w.workers {
				if !w.workers[i].After(w.now) && w.waiting > 0 {
					w.waiting--
					w.workers[i] = w.now.Add(w.service)
				}
				if w.workers[i].After(w.now) {
					busy++
				}
			}
		}
		o := Outside{Group: w.spec.Group, Waiting: w.waiting, Trouble: w.trouble, Every: time.Second}
		if w.counted {
			o.UnderWay = busy
		}
		w.meter.report(w.now, o, len(w.workers))
		if w.waiting+busy == 0 && w.emptiedAt.IsZero() {
			w.emptiedAt = w.now
		}
		w.decide()
	}
}

func (w *outsideWorld) decide() {
	o, since, lastWork := w.meter.view(w.now, w.spec.Group, w.spec.Scale.Queue, w.spec.Scale.Concurrency)
	o.Replicas = len(w.workers)
	for range w.workers {
		o.Instances = append(o.Instances, springtide.Instance{State: springtide.InstanceReady, Ready: w.now.Add(-time.Hour)})
	}
	w.last = DecideWork(w.now, w.spec, o, WorkHistory{
		Since: since, LastWork: lastWork, LastOut: w.lastOut, LastIn: w.lastIn, ColdStart: time.Second, SlowStart: time.Second,
		Needed: w.needs.highest(w.now, w.spec.windows(time.Second, 0, 0).stable),
	})
	w.needs.add(w.now, int(w.last.Inputs["need"]))
	switch to := w.last.To; {
	case to > len(w.workers):
		w.workers = append(w.workers, make([]time.Time, to-len(w.workers))...)
		w.lastOut = w.now
	case to < len(w.workers):
		w.workers = w.workers[:to]
		w.lastIn = w.now
	}
	w.most = max(w.most, len(w.workers))
}

func TestAMessageInAnOutsideQueueStartsAWorkerAndNoneIsLeftAfterIt(t *testing.T) {
	w := newOutsideWorld(200*time.Millisecond, 5*time.Second)
	w.run(30)
	if w.last.To != 0 || w.last.Reason != ReasonIdle {
		t.Fatalf("without a message: %+v", w.last)
	}
	w.waiting = 1
	w.run(1)
	if len(w.workers) != 1 {
		t.Fatalf("a message waits: %s", w.last.Sentence)
	}
	w.run(90)
	if len(w.workers) != 0 || w.most != 1 {
		t.Errorf("%d are left of %d: %s", len(w.workers), w.most, w.last.Sentence)
	}
}

func TestWhatWaitsInAnOutsideQueueIsDoneInAboutTheTimeThatItMayWait(t *testing.T) {
	for _, service := range []time.Duration{100 * time.Millisecond, time.Second, 4 * time.Second} {
		w := newOutsideWorld(service, 20*time.Second)
		w.run(5)
		w.waiting = 200
		w.run(120)
		if took := w.emptiedAt.Sub(w.now.Add(-120 * time.Second)); w.emptiedAt.IsZero() || w.waiting > 0 {
			t.Errorf("of %s each %d wait after two minutes, %s", service, w.waiting, took)
		}
	}
}

func TestHowFastTheWorkersOfAnOutsideQueueAreIsLearntFromHowItDrains(t *testing.T) {
	for _, service := range []time.Duration{50 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second} {
		w := newOutsideWorld(service, 10*time.Second)
		w.spec.Scale.Max = 4
		w.waiting = 3000
		w.run(90)
		q := w.meter.queues[processOf(w.spec.Group)]
		if learnt := 1 / q.speed; math.Abs(learnt/service.Seconds()-1) > 0.4 {
			t.Errorf("a message takes %s, and %.3f s were learnt", service, learnt)
		}
	}
}

func TestWorkersKeepUpWithASteadyStreamIntoAnOutsideQueue(t *testing.T) {
	for _, counted := range []bool{false, true} {
		w := newOutsideWorld(500*time.Millisecond, 5*time.Second)
		w.rate, w.counted = 10, counted // five workers' work
		w.run(120)
		if w.waiting > 50 || len(w.workers) < 3 || w.most > 15 {
			t.Errorf("counted %t: %d wait for %d workers: %s", counted, w.waiting, w.most, w.last.Sentence)
		}
	}
}

func TestAnOutsideQueueThatCannotBeSeenChangesNothing(t *testing.T) {
	w := newOutsideWorld(time.Second, 5*time.Second)
	w.waiting = 1000
	w.run(20)
	before := len(w.workers)
	if before < 10 {
		t.Fatalf("%d workers: %s", before, w.last.Sentence)
	}
	w.trouble, w.waiting = "redis list jobs: connection refused", 0
	w.run(600)
	if len(w.workers) != before || w.last.Reason != ReasonBlind || !strings.Contains(w.last.Sentence, "nothing is known of its queue: redis list jobs: connection refused") {
		t.Errorf("%d of %d are left: %s", len(w.workers), before, w.last.Sentence)
	}
	w.trouble = ""
	w.run(1)
	if len(w.workers) != before {
		t.Errorf("as soon as it is seen again %d are left: %s", len(w.workers), w.last.Sentence)
	}
	w.run(180)
	if len(w.workers) != 0 {
		t.Errorf("%d are left of an empty queue: %s", len(w.workers), w.last.Sentence)
	}
}

func TestWhatWorkersTookInAdvanceWaits(t *testing.T) {
	w := newOutsideWorld(time.Minute, 5*time.Second)
	w.workers = make([]time.Time, 1)
	for range 3 {
		w.now = w.now.Add(time.Second)
		w.meter.report(w.now, Outside{Group: w.spec.Group, UnderWay: 5, Every: time.Second}, 1)
	}
	o, _, _ := w.meter.view(w.now, w.spec.Group, w.spec.Scale.Queue, 1)
	if len(o.Queues) != 1 || o.Queues[0].UnderWay != 1 || o.Queues[0].Backlog != 4 {
		t.Errorf("%+v", o)
	}
}
