package main

import (
	"fmt"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/scale"
)

// law is the product's own: its meter, told as an edge and an engine tell it,
// and its decision.
type law struct {
	meter *scale.Meter
	spec  scale.Spec
	began time.Time
	names []springtide.InstanceID
	log   func(string, ...any)

	told, decided time.Duration
	changed       int
	last          sight // at the last report
	memory        scale.Memory
	seconds       []scale.Second
}

func newLaw(trace Trace, c Conditions) subject {
	group := springtide.GroupID{
		Environment: springtide.EnvironmentID{App: "bench", Name: springtide.Production},
		Release:     1, Process: springtide.Web, Generation: 1,
	}
	l := &law{
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

// watch does what an edge does: it reports every 100 ms, and at once when a
// request is held, at most every 20 ms.
func (l *law) watch(s *sight) bool {
	if s.changed != l.changed {
		l.observe(s)
	}
	urgent := s.held > l.last.held && s.now-l.decided >= 20*time.Millisecond
	if s.now-l.told >= 100*time.Millisecond || urgent {
		l.report(s)
	}
	return urgent
}

func (l *law) observe(s *sight) {
	l.changed = s.changed
	for len(l.names) <= s.changed {
		l.names = append(l.names, springtide.InstanceID(fmt.Sprintf("web-1-%06d", len(l.names))))
	}
	l.meter.Observe(l.began.Add(s.now), springtide.Snapshot{Instances: s.engineInstances(l.spec.Group, l.began, l.names)})
}

func (l *law) report(s *sight) {
	b := &l.last
	l.meter.Report(l.began.Add(s.now), springtide.EdgeReport{Edge: "edge-1", Demand: []springtide.Demand{{
		Group: l.spec.Group, Interval: s.now - l.told,
		Arrived: int(s.arrived - b.arrived), Completed: int(s.completed - b.completed), Service: s.service - b.service,
		Held: s.held, Busy: s.busy, BusyTime: s.busyTime - b.busyTime, HeldTime: s.heldTime - b.heldTime,
		Refused: int(s.refused - b.refused),
	}}})
	l.told, l.last = s.now, *s
}

func (l *law) decide(s *sight) int {
	l.decided = s.now
	now := l.began.Add(s.now)
	o, h := l.meter.View(now, l.spec.Group, l.seconds[:0])
	l.seconds = h.Seconds
	o.Replicas = s.replicas
	l.memory.Recall(now, &h)
	v := scale.Decide(now, l.spec, o, h)
	l.memory.Remember(now, v)
	if l.log != nil && v.To != v.From {
		l.log("%8.2f %s", s.now.Seconds(), v.Sentence)
	}
	return v.To
}
