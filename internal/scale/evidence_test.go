package scale

import (
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

// replayed fails the test unless the evidence gives the decision again.
func replayed(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, want springtide.Decision, packed []byte,
) {
	t.Helper()
	e, err := Unpack(packed)
	if err != nil {
		t.Fatalf("%v", err)
	}
	got := e.Decide().Decision
	if !got.Time.Equal(want.Time) || got.Group != want.Group || got.From != want.From || got.To != want.To ||
		got.Sentence != want.Sentence || !maps.Equal(got.Inputs, want.Inputs) {
		t.Fatalf("the evidence gives another decision:\n%s", cmp.Diff(want, got))
	}
}

func steadily(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

func TestEvidenceGivesItsDecisionAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Evidence{Now: noon, Spec: drawSpec(t)}
		e.Observation, e.History = new(drawObservation(t)), new(drawHistory(t))
		packed, err := e.settled().Pack()
		if err != nil {
			t.Fatal(err)
		}
		replayed(t, e.Decide().Decision, packed)
	})
}

func TestEveryRecordedDecisionCanBeMadeAgainFromItsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 1, springtide.Scale{Min: 1, Max: 20, Concurrency: 10, StableFor: 10 * time.Second})
		p.play(5*time.Second, steadily(20))
		p.play(60*time.Second, steadily(400))
		p.play(90*time.Second, steadily(10))
		p.stop()
		if len(p.recorded) < 5 {
			t.Fatalf("only %d decisions", len(p.recorded))
		}
		for _, d := range p.recorded {
			if len(d.Evidence) > 16<<10 {
				t.Errorf("the evidence is %d bytes", len(d.Evidence))
			}
			replayed(t, d, d.Evidence)
		}
	})
}

func TestEvidenceOfWorkersGivesItsDecisionAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, h := drawWorkers(t)
		e := Evidence{Now: noon, Spec: spec, Work: new(drawWork(t)), WorkHistory: &h}
		packed, err := e.settled().Pack()
		if err != nil {
			t.Fatalf("%v", err)
		}
		replayed(t, e.Decide().Decision, packed)
	})
}

func TestEvidenceOfWorkersOutlivesAClockThatIsSet(t *testing.T) {
	w := newOutsideWorld(time.Second, 5*time.Second)
	now := time.Now() // with a reading of the monotonic clock
	e := Evidence{
		Now: now, Spec: w.spec,
		Work: &WorkObservation{Known: true, Replicas: 2, Queues: []QueueWork{{Queue: "jobs", Backlog: 30, Oldest: time.Second, Rate: 2}}, Instances: []springtide.Instance{
			{State: springtide.InstanceReady, Ready: now.Add(-time.Hour), LastLines: []string{"a secret"}},
		}},
		WorkHistory: &WorkHistory{Since: now.Add(-time.Hour), LastOut: now.Add(-time.Minute), ColdStart: time.Second, SlowStart: time.Second, Needed: 3},
	}
	settled := e.settled()
	packed, err := settled.Pack()
	if err != nil {
		t.Fatal(err)
	}
	replayed(t, settled.Decide().Decision, packed)
	if got, want := settled.Decide(), e.Decide(); got.Sentence != want.Sentence || got.Reason != want.Reason {
		t.Errorf("%s, want %s", got.Sentence, want.Sentence)
	}
	if settled.Work.Instances[0].LastLines != nil || e.Work.Instances[0].LastLines == nil {
		t.Error("what an instance wrote is part of the evidence")
	}
}

func FuzzUnpack(f *testing.F) {
	packed, err := Evidence{Now: noon, Observation: &Observation{Edges: 1, Held: 3}, History: &History{}}.settled().Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add([]byte("spoilt"))
	f.Fuzz(func(t *testing.T, packed []byte) {
		if _, err := Unpack(packed); err != nil && springtide.KindOf(err) != springtide.Failed {
			t.Fatal(err)
		}
		unpackLesson(packed)
	})
}
