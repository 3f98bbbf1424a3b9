package scale

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

// knows gives what a scaler knows of a group that is learnt.
func knows(s *Scaler, id springtide.GroupID) History {
	_, h := s.meter.View(time.Now(), id, nil)
	return History{ColdStart: h.ColdStart, SlowStart: h.SlowStart, Service: h.Service, Curve: h.Curve}
}

func TestAScalerGoesOnWithWhatTheOneBeforeItLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 1, springtide.Scale{Min: 1, Max: 20, Concurrency: 10, P95: 300 * time.Millisecond, StableFor: 10 * time.Second})
		p.play(60*time.Second, steadily(100))
		p.play(60*time.Second, steadily(300))
		lessons, before := p.scaler.Lessons(), knows(p.scaler, simulatedGroup)
		p.stop()
		if before.ColdStart != p.coldStart || before.Service == 0 {
			t.Fatalf("nothing was learnt: %+v", before)
		}

		next := New(Options{Targets: p, Applier: p, Recorder: p})
		next.Recall(lessons)
		next.meter.Learn(time.Now(), simulatedGroup)
		p.mu.Lock()
		snapshot := springtide.Snapshot{Instances: p.instances}
		p.mu.Unlock()
		next.Observe(snapshot) // whose starts are among those that were learnt
		if diff := cmp.Diff(before, knows(next, simulatedGroup)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(lessons, next.Lessons()); diff != "" {
			t.Errorf("what it would hand on is another:\n%s", diff)
		}

		released := simulatedGroup
		released.Release++
		fresh := New(Options{Targets: p, Applier: p, Recorder: p})
		fresh.Recall(lessons)
		if after := knows(fresh, released); after.ColdStart != before.ColdStart || after.Service != before.Service {
			t.Errorf("the next release begins with %+v, want %+v", after, before)
		}
	})
}

func TestALessonThatCannotBeReadIsAsIfThereWereNone(t *testing.T) {
	nothing := knows(New(Options{}), simulatedGroup)
	for _, spoilt := range [][]byte{nil, []byte("spoilt"), learnt{Service: -1}.pack(), learnt{Group: simulatedGroup, Starts: []time.Duration{-1, 1 << 62}}.pack()} {
		s := New(Options{})
		s.Recall([]Lesson{{Environment: simulatedGroup.Environment, Process: simulatedGroup.Process, Learnt: spoilt}})
		if diff := cmp.Diff(nothing, knows(s, simulatedGroup)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestALessonIsBounded(t *testing.T) {
	s := New(Options{})
	now := time.Now()
	for release := range 300 {
		id := simulatedGroup
		id.Release = release
		s.meter.mu.Lock()
		g := s.meter.group(now, id)
		for range release % 5 {
			g.starts.add(time.Duration(release) * time.Millisecond)
		}
		s.meter.mu.Unlock()
	}
	if lessons := s.Lessons(); len(lessons) != 1 || len(lessons[0].Learnt) > 4<<10 {
		t.Errorf("%d lessons", len(lessons))
	}
}

func TestHowFastWorkersOfAnOutsideQueueAreIsKept(t *testing.T) {
	w := newOutsideWorld(500*time.Millisecond, 10*time.Second)
	w.spec.Scale.Max, w.waiting = 4, 1000
	w.run(60)
	s := New(Options{})
	s.outside = w.meter
	next := New(Options{})
	next.Recall(s.Lessons())
	if got, want := next.outside.queues[processOf(w.spec.Group)], w.meter.queues[processOf(w.spec.Group)]; want.speed == 0 || got == nil || got.speed != want.speed {
		t.Errorf("%+v, want %+v", got, want)
	}
}
