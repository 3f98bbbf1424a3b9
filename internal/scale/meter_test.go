package scale

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// report gives an edge's report on one group.
func report(edge string, d springtide.Demand) springtide.EdgeReport {
	if d.Group == (springtide.GroupID{}) {
		d.Group = simulatedGroup
	}
	return springtide.EdgeReport{Edge: edge, Demand: []springtide.Demand{d}}
}

func TestTheDemandOfSeveralEdgesIsSummed(t *testing.T) {
	m := NewMeter()
	m.Report(noon, report("a", springtide.Demand{Interval: time.Second, Arrived: 30, Held: 2, Busy: 5, Streams: 1}))
	m.Report(noon, report("b", springtide.Demand{Interval: time.Second, Arrived: 12, Busy: 3}))
	o, h := m.View(noon, simulatedGroup, nil)
	if o.Held != 2 || o.Busy != 8 || o.Streams != 1 || o.Edges != 2 {
		t.Errorf("held %d, busy %d, streams %d of %d edges", o.Held, o.Busy, o.Streams, o.Edges)
	}
	if last := h.Seconds[len(h.Seconds)-1].Arrived; last != 42 {
		t.Errorf("%v arrived in the last second, want 42", last)
	}
}

func TestAnEdgeThatVanishesIsDroppedAfterTenSeconds(t *testing.T) {
	m := NewMeter()
	m.Report(noon, report("gone", springtide.Demand{Held: 2, Busy: 5}))
	m.Report(noon, report("here", springtide.Demand{Busy: 3}))
	m.Report(noon.Add(9*time.Second), report("here", springtide.Demand{Busy: 3}))
	if o, _ := m.View(noon.Add(10*time.Second), simulatedGroup, nil); o.Busy != 8 || o.Edges != 2 {
		t.Errorf("after 10 s: %d busy, %d edges", o.Busy, o.Edges)
	}
	changed := m.Changed(simulatedGroup)
	o, h := m.View(noon.Add(11*time.Second), simulatedGroup, nil)
	if o.Busy != 3 || o.Held != 0 || o.Edges != 1 {
		t.Errorf("after 11 s: %d busy, %d held, %d edges", o.Busy, o.Held, o.Edges)
	}
	if !h.Since.Equal(noon) {
		t.Errorf("watched since %s, want %s: one edge was there all the time", h.Since, noon)
	}
	if !m.Changed(simulatedGroup).After(changed) {
		t.Error("that an edge was dropped is no news")
	}
	o, h = m.View(noon.Add(time.Minute), simulatedGroup, nil)
	if o.Edges != 0 || !h.Since.Equal(noon.Add(time.Minute)) {
		t.Errorf("with no edge: %d edges, watched since %s", o.Edges, h.Since)
	}
}

func TestAGroupThatIsNotInAReportHasNothingUnderWayThere(t *testing.T) {
	m := NewMeter()
	m.Report(noon, report("a", springtide.Demand{Busy: 5}))
	news, _ := m.Report(noon.Add(time.Second), springtide.EdgeReport{Edge: "a"})
	o, h := m.View(noon.Add(2*time.Second), simulatedGroup, nil)
	if !news || o.Busy != 0 || !h.LastDemand.Equal(noon.Add(time.Second)) {
		t.Errorf("news %v, %d busy, last demand at %s", news, o.Busy, h.LastDemand)
	}
}

func TestAReportOfALongIntervalIsSpreadOverIt(t *testing.T) {
	m := NewMeter()
	at := noon.Add(500 * time.Millisecond)
	m.Report(noon, springtide.EdgeReport{Edge: "a"})
	m.Report(at, report("a", springtide.Demand{Interval: 4 * time.Second, Arrived: 400, BusyTime: 8 * time.Second}))
	_, h := m.View(at, simulatedGroup, nil)
	if h.Elapsed != 500*time.Millisecond || math.Abs(float64(h.Current.Arrived)-50) > 0.01 {
		t.Errorf("%v arrived in the %s of this second, want 50", h.Current.Arrived, h.Elapsed)
	}
	for ago := 1; ago <= 3; ago++ {
		s := h.Seconds[len(h.Seconds)-ago]
		if math.Abs(float64(s.Arrived)-100) > 0.01 || math.Abs(float64(s.Busy)-2) > 0.01 {
			t.Errorf("%d s ago: %+v, want 100 arrived and 2 busy", ago, s)
		}
	}
	if six, one := h.arrivedWithin(6), h.arrivedWithin(1); math.Abs(six-400) > 0.1 || math.Abs(one-100) > 0.1 {
		t.Errorf("%v in six seconds and %v in one", six, one)
	}
}

func TestTheServiceTimeForgetsWhatIsLongAgo(t *testing.T) {
	m := NewMeter()
	if _, h := m.View(noon, simulatedGroup, nil); h.Service != 0 {
		t.Errorf("service time %s before any request", h.Service)
	}
	at := noon
	for range 600 {
		at = at.Add(100 * time.Millisecond)
		m.Report(at, report("a", springtide.Demand{Interval: 100 * time.Millisecond, Arrived: 10, Completed: 10, Service: time.Second}))
	}
	if _, h := m.View(at, simulatedGroup, nil); h.Service.Round(time.Millisecond) != 100*time.Millisecond {
		t.Errorf("service time %s, want 100ms", h.Service)
	}
	for range 600 {
		at = at.Add(100 * time.Millisecond)
		m.Report(at, report("a", springtide.Demand{Interval: 100 * time.Millisecond, Arrived: 10, Completed: 10, Service: 4 * time.Second}))
	}
	if _, h := m.View(at.Add(24*time.Hour), simulatedGroup, nil); h.Service < 395*time.Millisecond || h.Service > 400*time.Millisecond {
		t.Errorf("service time %s, want nearly 400ms, also after a quiet day", h.Service)
	}
}

// started gives an instance that was ready so long after it was ordered.
func started(group springtide.GroupID, number int, took time.Duration) springtide.Instance {
	return springtide.Instance{
		ID: springtide.InstanceID(fmt.Sprintf("web-%d-%d", group.Release, number)), Group: group,
		State: springtide.InstanceReady, Ordered: noon, Ready: noon.Add(took),
	}
}

func TestTheColdStartIsLearntAndInherited(t *testing.T) {
	m := NewMeter()
	if _, h := m.View(noon, simulatedGroup, nil); h.ColdStart != time.Second {
		t.Errorf("cold start %s before any was seen", h.ColdStart)
	}
	var instances []springtide.Instance
	for i := range 10 {
		instances = append(instances, started(simulatedGroup, i, time.Duration(i+1)*time.Second))
	}
	crashed := started(simulatedGroup, 99, time.Hour)
	crashed.Restarts = 1
	for range 5 { // seen again and again, counted once
		m.Observe(noon, springtide.Snapshot{Instances: append(instances, crashed)})
	}
	_, h := m.View(noon, simulatedGroup, nil)
	if h.ColdStart != 9*time.Second || h.SlowStart != 10*time.Second {
		t.Errorf("cold start %s, slow start %s", h.ColdStart, h.SlowStart)
	}

	next := simulatedGroup
	next.Release = 2
	m.Report(noon, report("a", springtide.Demand{Interval: time.Second, Completed: 5, Service: time.Second}))
	if _, h := m.View(noon, next, nil); h.ColdStart != 9*time.Second || h.Service != 200*time.Millisecond {
		t.Errorf("the next release begins with a cold start of %s and a service time of %s", h.ColdStart, h.Service)
	}
	fast := []springtide.Instance{started(next, 1, time.Second), started(next, 2, time.Second), started(next, 3, time.Second)}
	m.Observe(noon, springtide.Snapshot{Instances: fast})
	if _, h := m.View(noon, next, nil); h.ColdStart != time.Second {
		t.Errorf("cold start %s after three of its own", h.ColdStart)
	}
	other := simulatedGroup
	other.Process = "admin"
	if _, h := m.View(noon, other, nil); h.ColdStart != time.Second || h.Service != 0 {
		t.Errorf("another process inherited %s and %s", h.ColdStart, h.Service)
	}
}

func TestLiveFiguresAreOfTheLastSecondAndTheLastTen(t *testing.T) {
	m := NewMeter()
	m.Report(noon, springtide.EdgeReport{Edge: "a"})
	var fast, slow springtide.Latencies
	for range 99 {
		fast.Add(10 * time.Millisecond)
	}
	slow.Add(time.Second)
	m.Report(noon.Add(2500*time.Millisecond), report("a", springtide.Demand{Arrived: 99, Completed: 99, Latencies: fast}))
	m.Report(noon.Add(9500*time.Millisecond), report("a", springtide.Demand{Arrived: 1, Completed: 1, Failed: 1, Refused: 2, Latencies: slow, Held: 4, Busy: 3, Streams: 2}))
	live := m.Live(noon.Add(10*time.Second), simulatedGroup)
	if live.Second.Requests != 1 || live.Second.Errors != 3 || live.Second.P50 < time.Second {
		t.Errorf("the last second: %+v", live.Second)
	}
	if live.TenSeconds.Requests != 10 || live.TenSeconds.P50 > 20*time.Millisecond || live.TenSeconds.P99 > 20*time.Millisecond {
		t.Errorf("the last ten: %+v", live.TenSeconds)
	}
	if live.Held != 4 || live.Busy != 3 || live.Streams != 2 || live.Total.Arrived != 100 || live.Total.Latencies.Count() != 100 {
		t.Errorf("now: %d held, %d busy, %d streams, %d in all", live.Held, live.Busy, live.Streams, live.Total.Arrived)
	}
	if live := m.Live(noon.Add(30*time.Second), simulatedGroup); live.TenSeconds.Requests != 0 {
		t.Errorf("twenty seconds later: %+v", live.TenSeconds)
	}
}

func TestNonsenseFromAnEdgeDoesNoHarm(t *testing.T) {
	m := NewMeter()
	m.Report(noon, report("a", springtide.Demand{
		Interval: -time.Hour, Arrived: -5, Completed: -3, Service: -time.Second,
		Held: -1, Busy: -1, Streams: -1, BusyTime: -time.Second,
	}))
	m.Report(noon.Add(-time.Minute), report("a", springtide.Demand{Interval: 10_000 * time.Hour, Arrived: 1 << 40}))
	o, h := m.View(noon, simulatedGroup, nil)
	if o.Held != 0 || o.Busy != 0 || h.Service != 0 {
		t.Errorf("%+v", o)
	}
	for _, s := range h.Seconds {
		if s.Arrived < 0 || s.Busy < 0 {
			t.Fatalf("negative demand: %+v", s)
		}
	}
}

func TestReportsCountOnceAndInOrder(t *testing.T) {
	m := NewMeter()
	tell := func(after time.Duration, edge string, sequence int64, arrived, held int) {
		r := report(edge, springtide.Demand{Interval: time.Second, Arrived: arrived, Held: held})
		r.Sequence = sequence
		m.Report(noon.Add(after), r)
	}
	arrived := func(at time.Duration) (sum float32) {
		_, h := m.View(noon.Add(at), simulatedGroup, nil)
		for _, s := range append(h.Seconds, h.Current) {
			sum += s.Arrived
		}
		return sum
	}
	tell(1*time.Second, "a", 1, 5, 2)
	tell(2*time.Second, "a", 3, 7, 0) // the second is lost: what it counted is too, and no more
	tell(2*time.Second, "a", 3, 7, 9)
	tell(2*time.Second, "a", 2, 11, 9)
	if o, _ := m.View(noon.Add(2*time.Second), simulatedGroup, nil); o.Held != 0 || arrived(2*time.Second) != 12 {
		t.Errorf("%d held, %v arrived", o.Held, arrived(2*time.Second))
	}
	// An edge that restarts has another name and counts anew; what the old one held
	// is gone with it, and nothing is counted twice.
	tell(2500*time.Millisecond, "b", 1, 3, 4)
	if o, _ := m.View(noon.Add(20*time.Second), simulatedGroup, nil); o.Held != 0 || o.Edges != 0 || arrived(20*time.Second) != 15 {
		t.Errorf("%d held, %d edges, %v arrived", o.Held, o.Edges, arrived(20*time.Second))
	}
}

func TestAClockThatStepsLosesNoRequestsAndInventsNone(t *testing.T) {
	m := NewMeter()
	for i, after := range []time.Duration{0, time.Second, -time.Hour, -time.Hour + time.Second, 2 * time.Second, 48 * time.Hour} {
		r := report("a", springtide.Demand{Interval: time.Second, Arrived: 10, Completed: 10, Service: time.Second, Busy: 1, BusyTime: time.Second})
		r.Sequence = int64(i + 1)
		m.Report(noon.Add(after), r)
		o, h := m.View(noon.Add(after), simulatedGroup, nil)
		if o.Busy != 1 || h.Service.Round(time.Millisecond) != 100*time.Millisecond {
			t.Fatalf("after a step to %s: %d busy, %s", after, o.Busy, h.Service)
		}
		sum := h.Current.Arrived
		for _, s := range h.Seconds {
			sum += s.Arrived
		}
		if sum < 0 || sum > float32(10*(i+1)) {
			t.Fatalf("after a step to %s: %v arrived of %d", after, sum, 10*(i+1))
		}
	}
}

func TestALongWindowIsRemembered(t *testing.T) {
	m := NewMeter()
	m.Report(noon, report("a", springtide.Demand{Interval: time.Second, Arrived: 7}))
	m.Keep(noon, simulatedGroup, 20*time.Minute)
	later := noon.Add(20 * time.Minute)
	m.Report(later, report("a", springtide.Demand{Interval: time.Second, Arrived: 9}))
	_, h := m.View(later, simulatedGroup, nil)
	n := len(h.Seconds)
	if h.Seconds[n-1].Arrived != 9 || h.Seconds[n-1-1200].Arrived != 7 {
		t.Errorf("%d seconds: the last %v, the first %v", n, h.Seconds[n-1], h.Seconds[n-1-1200])
	}
}

func TestGroupsOfThePastAreForgotten(t *testing.T) {
	m := NewMeter()
	old, kept := simulatedGroup, simulatedGroup
	kept.Release = 2
	m.Report(noon, report("a", springtide.Demand{Group: old, Arrived: 1}))
	m.Report(noon, report("a", springtide.Demand{Group: kept, Arrived: 1}))
	keep := func(id springtide.GroupID) bool { return id == kept }
	m.Retain(noon.Add(time.Minute), keep)
	if len(m.groups) != 2 {
		t.Errorf("after a minute %d groups are known", len(m.groups))
	}
	m.Retain(noon.Add(11*time.Minute), keep)
	if len(m.groups) != 1 {
		t.Errorf("after eleven minutes %d groups are known", len(m.groups))
	}
}

// BenchmarkReport takes in a report of an edge with 1,000 groups under load.
func BenchmarkReport(b *testing.B) {
	m := NewMeter()
	all := springtide.EdgeReport{Edge: "a"}
	for i := range 1000 {
		d := springtide.Demand{
			Group: simulatedGroup, Interval: 100 * time.Millisecond, Arrived: 40, Completed: 40,
			Service: 8 * time.Second, Busy: 80, BusyTime: 8 * time.Second,
		}
		d.Group.Release = i
		d.Latencies[40] = 40
		all.Demand = append(all.Demand, d)
	}
	at := noon
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(100 * time.Millisecond)
		m.Report(at, all)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/group")
}

// BenchmarkView gives what one decision needs.
func BenchmarkView(b *testing.B) {
	m := NewMeter()
	m.Report(noon, report("a", springtide.Demand{Interval: time.Second, Arrived: 40}))
	var seconds []Second
	b.ReportAllocs()
	for b.Loop() {
		_, h := m.View(noon, simulatedGroup, seconds[:0])
		seconds = h.Seconds
	}
}
