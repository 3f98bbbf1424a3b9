package simulate

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/scale"
)

// Law is the product's own: its meter, told as an edge and an engine tell it,
// and its decision.
type Law struct {
	meter *scale.Meter
	spec  scale.Spec
	began time.Time
	names []springtide.InstanceID
	// Log is told of each change, if there is one.
	Log func(format string, a ...any)

	told, decided time.Duration
	changed       int
	last          Sight // at the last report
	memory        scale.Memory
	seconds       []scale.Second
}

// NewLaw makes the product's law, with what the trace announces.
func NewLaw(trace Trace, c Conditions) *Law {
	group := springtide.GroupID{
		Environment: springtide.EnvironmentID{App: "bench", Name: springtide.Production},
		Release:     1, Process: springtide.Web, Generation: 1,
	}
	l := &Law{
		meter: scale.NewMeter(), began: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), changed: -1,
		spec: scale.Spec{Group: group, Requests: true, Scale: springtide.Scale{
			Min: c.Min, Max: c.Max, Concurrency: c.Slots, Idle: 5 * time.Minute,
		}},
	}
	for _, floor := range trace.Floors {
		l.spec.Floors = append(l.spec.Floors, scale.Floor{
			Event: "the show", From: l.began.Add(floor.From), Until: l.began.Add(floor.To), Instances: floor.Instances,
		})
	}
	return l
}

// Watch does what an edge does: it reports every 100 ms, and at once when a
// request is held, at most every 20 ms.
func (l *Law) Watch(s *Sight) bool {
	if s.Changed != l.changed {
		l.observe(s)
	}
	urgent := s.Held > l.last.Held && s.Now-l.decided >= 20*time.Millisecond
	if s.Now-l.told >= 100*time.Millisecond || urgent {
		l.report(s)
	}
	return urgent
}

func (l *Law) observe(s *Sight) {
	l.changed = s.Changed
	for len(l.names) <= s.Changed {
		l.names = append(l.names, springtide.InstanceID(fmt.Sprintf("web-1-%06d", len(l.names))))
	}
	l.meter.Observe(l.began.Add(s.Now), springtide.Snapshot{Instances: s.engineInstances(l.spec.Group, l.began, l.names)})
}

func (l *Law) report(s *Sight) {
	b := &l.last
	l.meter.Report(l.began.Add(s.Now), springtide.EdgeReport{Edge: "edge-1", Demand: []springtide.Demand{{
		Group: l.spec.Group, Interval: s.Now - l.told,
		Arrived: int(s.Arrived - b.Arrived), Completed: int(s.Completed - b.Completed), Service: s.Service - b.Service,
		Held: s.Held, Busy: s.Busy, BusyTime: s.BusyTime - b.BusyTime, HeldTime: s.HeldTime - b.HeldTime,
		Refused: int(s.Refused - b.Refused),
	}}})
	l.told, l.last = s.Now, *s
}

// Decide gives how many there are to be.
func (l *Law) Decide(s *Sight) int {
	l.decided = s.Now
	now := l.began.Add(s.Now)
	o, h := l.meter.View(now, l.spec.Group, l.seconds[:0])
	l.seconds = h.Seconds
	o.Replicas = s.Replicas
	l.memory.Recall(now, &h)
	v := scale.Decide(now, l.spec, o, h)
	l.memory.Remember(now, v)
	if l.Log != nil && v.To != v.From {
		l.Log("%8.2f %s", s.Now.Seconds(), v.Sentence)
	}
	return v.To
}
