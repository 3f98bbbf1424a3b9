package scale

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Lesson is what was learnt of a process, to be kept over the end of a scaler. It
// is bounded: 64 starts, one service time, a point for each load that was seen in
// the last hour.
type Lesson struct {
	Environment springtide.EnvironmentID
	Process     springtide.ProcessName
	// Learnt is as [Scaler.Lessons] packs it.
	Learnt []byte
}

// learnt is what a lesson holds: of the group that had demand last.
type learnt struct {
	Group  springtide.GroupID `json:"group"`
	Starts []time.Duration    `json:"starts,omitempty"`
	// Inherited are starts of releases before.
	Inherited []time.Duration `json:"inherited,omitempty"`
	// Timed are the instances that are among the starts, and still there.
	Timed []springtide.InstanceID `json:"timed,omitempty"`
	// Service is the mean time of a request, in seconds; 0: not known.
	Service float64     `json:"service,omitempty"`
	Curve   []learntBin `json:"curve,omitempty"`
	// Speed and Flow are as in outsideQueue.
	Speed float64 `json:"speed,omitempty"`
	Flow  float64 `json:"flow,omitempty"`
}

// learntBin is a [curveBin].
type learntBin struct {
	Index       int       `json:"index"`
	At          time.Time `json:"at"`
	Latencies   []float32 `json:"latencies"`
	Service     float64   `json:"service"`
	Completed   float64   `json:"completed"`
	Concurrency float64   `json:"concurrency"`
	Seconds     float64   `json:"seconds"`
}

// largestLesson bounds what is unpacked, in bytes.
const largestLesson = 1 << 20

// Lessons packs what was learnt of each process, in order.
func (s *Scaler) Lessons() []Lesson {
	known := s.meter.lessons()
	s.outside.lessons(known)
	lessons := make([]Lesson, 0, len(known))
	for of, what := range known {
		if packed := what.pack(); packed != nil {
			lessons = append(lessons, Lesson{Environment: of.environment, Process: of.name, Learnt: packed})
		}
	}
	slices.SortFunc(lessons, func(a, b Lesson) int {
		return cmp.Or(cmp.Compare(a.Environment.String(), b.Environment.String()), cmp.Compare(a.Process, b.Process))
	})
	return lessons
}

// Recall takes up lessons of an earlier scaler, before [Scaler.Run]. One that cannot
// be read is as if it were not there.
func (s *Scaler) Recall(lessons []Lesson) {
	now := time.Now()
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	s.outside.mu.Lock()
	defer s.outside.mu.Unlock()
	s.meter.taught = make(map[process]learnt, len(lessons))
	for _, lesson := range lessons {
		what, ok := unpackLesson(lesson.Learnt)
		if !ok {
			continue
		}
		of := process{lesson.Environment, lesson.Process}
		s.meter.taught[of] = what
		if what.Speed > 0 {
			q := &outsideQueue{speed: what.Speed, flow: what.Flow, drains: []float64{what.Speed}}
			q.work.decayed, q.work.changed = now, now
			s.outside.queues[of] = q
		}
	}
}

func (l learnt) pack() []byte {
	plain, err := json.Marshal(l)
	if err != nil {
		return nil // a sum is no number any more: it is learnt again
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return nil
	}
	_, _ = w.Write(plain) // a buffer takes everything
	_ = w.Close()
	return packed.Bytes()
}

func unpackLesson(packed []byte) (l learnt, ok bool) {
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), largestLesson))
	if err != nil || json.Unmarshal(plain, &l) != nil {
		return learnt{}, false
	}
	impossible := func(d time.Duration) bool { return d <= 0 || d > 24*time.Hour }
	l.Starts = recent(slices.DeleteFunc(l.Starts, impossible))
	l.Inherited = recent(slices.DeleteFunc(l.Inherited, impossible))
	return l, l.Service >= 0 && l.Speed >= 0 && l.Flow >= 0
}

// recent keeps the last starts.
func recent(starts []time.Duration) []time.Duration {
	return starts[max(len(starts)-keptColdStarts, 0):]
}

// lessons gives what was learnt of each process: by the group that had demand last.
func (m *Meter) lessons() map[process]learnt {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := map[process]springtide.GroupID{}
	for id := range m.groups {
		of := processOf(id)
		if before, known := last[of]; !known || m.newer(id, before) {
			last[of] = id
		}
	}
	all := make(map[process]learnt, len(last))
	for of, id := range last {
		if what := m.groups[id].lesson(id); len(what.Starts)+len(what.Inherited)+len(what.Curve) > 0 || what.Service > 0 {
			all[of] = what
		}
	}
	return all
}

// newer says that a group had demand after another, or is of a later release.
func (m *Meter) newer(a, b springtide.GroupID) bool {
	return cmp.Or(m.groups[a].lastDemand.Compare(m.groups[b].lastDemand), cmp.Compare(a.Release, b.Release), cmp.Compare(a.Generation, b.Generation)) > 0
}

func (g *groupMeter) lesson(id springtide.GroupID) learnt {
	what := learnt{
		Group: id, Service: g.service.mean().Seconds(), Inherited: recent(g.starts.inherited),
		Starts: slices.Concat(g.starts.own[g.starts.next:], g.starts.own[:g.starts.next]),
	}
	for i := range g.instances {
		if one := g.instances[i].ID; g.timed[one] {
			what.Timed = append(what.Timed, one)
		}
	}
	if g.curve == nil {
		return what
	}
	for index, b := range g.curve.bins {
		what.Curve = append(what.Curve, learntBin{
			Index: index, At: b.at.Round(0), Latencies: slices.Clone(b.latencies[:]), Service: b.service, Completed: b.completed,
			Concurrency: b.concurrency, Seconds: b.seconds,
		})
	}
	slices.SortFunc(what.Curve, func(a, b learntBin) int { return cmp.Compare(a.Index, b.Index) })
	return what
}

// recall has a group that has no predecessor know what was learnt before this
// scaler was.
func (m *Meter) recall(now time.Time, id springtide.GroupID, g *groupMeter) {
	what, known := m.taught[processOf(id)]
	if !known {
		return
	}
	before := coldStarts{own: what.Starts, inherited: what.Inherited}
	if what.Group == id {
		g.starts = before
		g.starts.sum()
		for _, one := range what.Timed {
			g.timed[one] = true
		}
	} else {
		g.starts = newColdStarts(&before)
	}
	if what.Service > 0 {
		g.service = newServiceMeter(now, &serviceMeter{seconds: what.Service, completed: 1})
	}
}

// recall begins with what was learnt before this scaler was.
func (m *curveMeter) recall(bins []learntBin) {
	m.bins = make(map[int]*curveBin, len(bins))
	for _, b := range bins {
		bin := &curveBin{at: b.At, service: b.Service, completed: b.Completed, concurrency: b.Concurrency, seconds: b.Seconds}
		copy(bin.latencies[:], b.Latencies)
		for _, n := range bin.latencies {
			bin.requests += float64(n)
		}
		m.bins[b.Index] = bin
	}
}

// lessons adds what was learnt of outside queues.
func (m *outsideMeter) lessons(known map[process]learnt) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for of, q := range m.queues {
		if q.speed > 0 {
			what := known[of]
			what.Speed, what.Flow = q.speed, q.flow
			known[of] = what
		}
	}
}
