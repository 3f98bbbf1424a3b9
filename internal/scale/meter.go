package scale

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/springtide/springtide"
)

const (
	// edgeLost is for how long an edge counts that does not report.
	edgeLost = 10 * time.Second
	// keptSeconds covers the longest window that is not asked for, the mean at
	// its beginning, and the seconds that tell noise.
	keptSeconds = int((mostStable + workMean) / time.Second)
)

// Meter folds what edges and the engine report into what [Decide] needs to know
// of each group. It is told the time, and keeps nothing over a restart.
type Meter struct {
	mu     sync.Mutex
	epoch  time.Time // second 0 began then
	groups map[springtide.GroupID]*groupMeter
	edges  map[string]*edgeMeter
	used   usageMeter
	taught map[process]learnt // before this meter was
	// sighted is since when at least one edge has reported without a gap.
	sighted  time.Time
	capacity string
}

// NewMeter gives a meter that has seen nothing.
func NewMeter() *Meter {
	return &Meter{
		groups: make(map[springtide.GroupID]*groupMeter),
		edges:  make(map[string]*edgeMeter),
	}
}

// groupMeter is what is known of one group.
type groupMeter struct {
	seconds  ring
	quarters ring // of a second, in a time that goes four times as fast
	live     liveRing
	total    Totals
	gauges   map[string]gauge // by edge

	service   serviceMeter
	starts    coldStarts
	curve     *curveMeter                    // nil: its latency is no target
	measured  time.Time                      // when it was told last what its instances use
	timed     map[springtide.InstanceID]bool // whose start was learnt
	instances []springtide.Instance

	lastDemand time.Time
	changed    time.Time // when anything about it was last new
}

// edgeMeter is what is known of one edge.
type edgeMeter struct {
	last    time.Time // when it reported
	reports int64
	// sequence is the highest that a report of it had.
	sequence int64
	open     map[springtide.GroupID]bool // the groups that have a gauge of it
}

// gauge is what an edge said is under way, in its last report.
type gauge struct {
	held, busy, streams int
	report              int64
}

func (g gauge) open() int { return g.held + g.busy + g.streams }

// Report takes in what an edge saw until now. A group that is not in the report
// has nothing under way at the edge. Report tells whether any group's demand is
// new, and whether any request is held.
func (m *Meter) Report(now time.Time, report springtide.EdgeReport) (news, held bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLostEdges(now)
	edge := m.edge(now, report.Edge)
	if report.Sequence > 0 {
		if report.Sequence <= edge.sequence { // it was told before, or it is late
			return false, false
		}
		edge.sequence = report.Sequence
	}
	edge.reports++
	edge.last = now
	since, busy := m.since(now), m.used.busyAt(now)
	for i := range report.Demand {
		d := &report.Demand[i]
		g := m.group(now, d.Group)
		if g.count(now, since, d, busy) {
			news = true
		}
		after := gauge{max(d.Held, 0), max(d.Busy, 0), max(d.Streams, 0), edge.reports}
		if g.set(now, report.Edge, after) {
			news = true
		}
		if after.open() > 0 {
			edge.open[d.Group] = true
		}
		held = held || d.Held > 0
	}
	for id := range edge.open {
		g := m.groups[id]
		if g.gauges[report.Edge].report == edge.reports {
			continue
		}
		delete(edge.open, id)
		if g.set(now, report.Edge, gauge{}) {
			news = true
		}
	}
	return news, held
}

// edge gives what is known of an edge.
func (m *Meter) edge(now time.Time, name string) *edgeMeter {
	if edge, ok := m.edges[name]; ok {
		return edge
	}
	if len(m.edges) == 0 {
		m.sighted = now
	}
	edge := &edgeMeter{open: make(map[springtide.GroupID]bool)}
	m.edges[name] = edge
	return edge
}

// Observe takes in what the engine sees now. It tells whether it is new to any
// group how its instances are.
func (m *Meter) Observe(now time.Time, snapshot springtide.Snapshot) (news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	full := (m.capacity == "") != (snapshot.Capacity == "")
	m.capacity = snapshot.Capacity
	seen := make(map[springtide.GroupID]bool)
	for rest := snapshot.Instances; len(rest) > 0; {
		id, n := rest[0].Group, 1
		for n < len(rest) && rest[n].Group == id {
			n++
		}
		seen[id] = true
		if m.group(now, id).observe(now, rest[:n:n]) {
			news = true
		}
		rest = rest[n:]
	}
	for id, g := range m.groups {
		if !seen[id] && g.observe(now, nil) || full {
			g.changed = now
			news = true
		}
	}
	return news
}

// Keep makes the meter remember the demand of a group for as long as a window
// of that length needs.
func (m *Meter) Keep(now time.Time, id springtide.GroupID, window time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := int((min(window, longestWindow) + workMean) / time.Second)
	m.group(now, id).seconds.grow(max(n, keptSeconds))
}

// Learn makes the meter learn how the latency of a group depends on its load.
func (m *Meter) Learn(now time.Time, id springtide.GroupID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g := m.group(now, id)
	if g.curve != nil {
		return
	}
	g.curve = &curveMeter{}
	if p := m.predecessor(id); p != nil && p.curve != nil {
		g.curve.inherit(p.curve)
	} else if p == nil {
		g.curve.recall(m.taught[processOf(id)].Curve)
	}
}

// Retain forgets the groups that are not to be kept and of which nothing runs
// and nothing was new for ten minutes.
func (m *Meter) Retain(now time.Time, keep func(springtide.GroupID) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, g := range m.groups {
		if !keep(id) && len(g.instances) == 0 && len(g.gauges) == 0 && now.Sub(g.changed) > 10*time.Minute {
			delete(m.groups, id)
		}
	}
}

// Changed gives when anything about the group was last new.
func (m *Meter) Changed(id springtide.GroupID) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g, ok := m.groups[id]; ok {
		return g.changed
	}
	return time.Time{}
}

// View gives what is known of a group, but for what only its scaler knows:
// Replicas, LastOut and LastIn. The seconds are appended to the given slice.
func (m *Meter) View(now time.Time, id springtide.GroupID, seconds []Second) (Observation, History) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLostEdges(now)
	g := m.group(now, id)
	sum := g.sum()
	if sum.open() > 0 {
		g.lastDemand = now
	}
	second, elapsed := m.second(now)
	o := Observation{
		Instances: g.instances, Capacity: m.capacity, Edges: len(m.edges),
		Held: sum.held, Busy: sum.busy, Streams: sum.streams,
	}
	h := History{
		Since: m.sighted, Elapsed: elapsed,
		Service: g.service.mean(), ColdStart: g.starts.p90, SlowStart: g.starts.p99,
		LastDemand: g.lastDemand,
	}
	h.Seconds, h.Current = g.seconds.until(second, seconds)
	h.Quarters, h.Quarter = g.lastQuarters(m.since(now))
	h.Processor = now.Sub(g.measured) <= usageLost
	if g.curve != nil {
		g.curve.learn(now, second, g)
		h.Curve = g.curve.known(now, second)
	}
	return o, h
}

// Live gives how a group is doing.
func (m *Meter) Live(now time.Time, id springtide.GroupID) Live {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dropLostEdges(now)
	g, ok := m.groups[id]
	if !ok {
		return Live{}
	}
	second, _ := m.second(now)
	sum := g.sum()
	return Live{
		Second: g.live.figures(second, 1), TenSeconds: g.live.figures(second, liveSeconds-1),
		Held: sum.held, Busy: sum.busy, Streams: sum.streams, Total: g.total,
	}
}

// group gives the meter of a group; a new one inherits from another
// release of the same process.
func (m *Meter) group(now time.Time, id springtide.GroupID) *groupMeter {
	if g, ok := m.groups[id]; ok {
		return g
	}
	g := &groupMeter{
		gauges: make(map[string]gauge), timed: make(map[springtide.InstanceID]bool),
		changed: now,
	}
	g.seconds.grow(keptSeconds)
	g.quarters.grow(len(History{}.Quarters) - 1)
	var starts *coldStarts
	var service *serviceMeter
	if p := m.predecessor(id); p != nil {
		starts = &p.starts
		service = &p.service
	}
	g.starts, g.service = newColdStarts(starts), newServiceMeter(now, service)
	if service == nil {
		m.recall(now, id, g)
	}
	m.groups[id] = g
	return g
}

// predecessor gives the other group of the same process that had demand last;
// nil if there is none.
func (m *Meter) predecessor(id springtide.GroupID) *groupMeter {
	var last *groupMeter
	var lastID springtide.GroupID
	for other, g := range m.groups {
		if other == id || other.Environment != id.Environment || other.Process != id.Process {
			continue
		}
		if last == nil || cmp.Or(g.lastDemand.Compare(last.lastDemand),
			cmp.Compare(other.Release, lastID.Release), cmp.Compare(other.Generation, lastID.Generation)) > 0 {
			last, lastID = g, other
		}
	}
	return last
}

// since is how long ago second 0 began.
func (m *Meter) since(now time.Time) time.Duration {
	if m.epoch.IsZero() {
		m.epoch = now.Add(-longestWindow) // a report may be of a while ago
	}
	return max(now.Sub(m.epoch), 0)
}

// second gives the number of the second that goes on, and how much of it is over.
func (m *Meter) second(now time.Time) (int64, time.Duration) {
	since := m.since(now)
	return int64(since / time.Second), since % time.Second
}

// dropLostEdges forgets what edges said that have not reported for a while.
func (m *Meter) dropLostEdges(now time.Time) {
	for name, edge := range m.edges {
		if now.Sub(edge.last) <= edgeLost {
			continue
		}
		delete(m.edges, name)
		for id := range edge.open {
			m.groups[id].set(now, name, gauge{})
		}
	}
	if len(m.edges) == 0 {
		m.sighted = now
	}
}

// count adds what happened in an interval; it tells whether anything did that
// matters to a decision.
func (g *groupMeter) count(now time.Time, since time.Duration, d *springtide.Demand, busy float64) bool {
	g.total.add(d)
	if d.Completed > 0 && d.Service > 0 {
		g.service.add(now, d.Completed, d.Service, busy)
	}
	if d.Arrived > 0 || d.BusyTime > 0 {
		g.seconds.spread(since, d.Interval, Second{Arrived: float32(max(d.Arrived, 0)), Busy: float32(max(d.BusyTime, 0).Seconds())})
		g.quarters.spread(4*since, 4*min(d.Interval, time.Minute), Second{Arrived: float32(max(d.Arrived, 0))})
	}
	if d.Arrived == 0 && d.Completed == 0 && d.Refused == 0 && d.Failed == 0 {
		return false
	}
	if d.Arrived > 0 {
		g.lastDemand = now
	}
	g.live.add(int64(since/time.Second), d)
	g.changed = now
	return true
}

// lastQuarters gives the arrivals of the last quarters of a second, the newest first,
// and for how long that one has lasted.
func (g *groupMeter) lastQuarters(since time.Duration) (last [3]float32, elapsed time.Duration) {
	var whole [len(last) - 1]Second
	quarters, current := g.quarters.until(int64(4*since/time.Second), whole[:0])
	last[0] = current.Arrived
	for i := range quarters {
		last[len(quarters)-i] = quarters[i].Arrived
	}
	return last, 4 * since % time.Second / 4
}

// set takes an edge's gauge; it tells whether it is another than before.
func (g *groupMeter) set(now time.Time, edge string, after gauge) bool {
	before := g.gauges[edge]
	if after.open() == 0 {
		delete(g.gauges, edge)
	} else {
		g.gauges[edge] = after
	}
	if before.open() > 0 || after.open() > 0 {
		g.lastDemand = now
	}
	after.report = before.report
	if before == after {
		return false
	}
	g.changed = now
	return true
}

// observe takes in how the group's instances are; it tells whether that is new.
func (g *groupMeter) observe(now time.Time, instances []springtide.Instance) bool {
	same := slices.EqualFunc(g.instances, instances, func(a, b springtide.Instance) bool {
		return a.ID == b.ID && a.State == b.State && a.CrashLoop == b.CrashLoop && a.Ready.Equal(b.Ready)
	})
	g.instances = instances
	if same {
		return false
	}
	g.changed = now
	here := make(map[springtide.InstanceID]bool, len(instances))
	starting := false
	for i := range instances {
		instance := &instances[i]
		starting = starting || instance.State == springtide.InstanceStarting && !instance.CrashLoop
		// A start that failed before says nothing of how long one takes.
		if instance.State == springtide.InstanceReady && instance.Restarts == 0 && !g.timed[instance.ID] {
			if took := instance.Ready.Sub(instance.Ordered); took > 0 && !instance.Ordered.IsZero() {
				g.starts.add(took)
			}
		}
		if !instance.Ready.IsZero() {
			here[instance.ID] = true
		}
	}
	g.timed = here
	g.service.observe(now, starting)
	return true
}

// ready counts the instances that get requests.
func (g *groupMeter) ready() (n int) {
	for i := range g.instances {
		if g.instances[i].State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

func (g *groupMeter) sum() gauge {
	var sum gauge
	for _, of := range g.gauges {
		sum.held += of.held
		sum.busy += of.busy
		sum.streams += of.streams
	}
	return sum
}
