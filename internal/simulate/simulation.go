package simulate

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/springtide/springtide"
)

// Conditions are what a subject is put to, apart from the trace.
type Conditions struct {
	ColdStart time.Duration // the median; the 99th percentile is half as much again
	Service   time.Duration // the mean of a log-normal with as large a deviation
	Slots     int           // requests that an instance serves at a time
	Min, Max  int
	HoldFor   time.Duration
	HoldLimit int
	Seed      uint64
}

// lateAfter is for how long a request may be held without being late.
const lateAfter = 250 * time.Millisecond

// instance is one that was ordered.
type instance struct {
	ordered, ready time.Duration // when; ready may lie in the future
	number         int
}

// Sight is all that a subject may see. Sums only grow.
type Sight struct {
	Now        time.Duration
	Conditions Conditions
	Step       time.Duration

	Arrived, Completed, Refused int64
	Service                     time.Duration // of those completed
	BusyTime, HeldTime          time.Duration // integrals of busy and held
	Waits                       []int64       // answers by the steps from arrival to answer

	Held, Busy int
	Replicas   int // ordered and not taken away
	Ready      int // of them
	instances  []instance
	Changed    int // counts changes of instances
}

// Subject decides how many instances there are.
type Subject interface {
	// Decide gives how many there are to be. It is asked every period.
	Decide(s *Sight) int
}

// periodic is a subject that is not asked every 250 ms.
type periodic interface{ Period() time.Duration }

// watchful is a subject that is told of each step, and may ask to decide at once.
type watchful interface{ Watch(s *Sight) (now bool) }

// simulation plays every request on its own, in steps of a hundredth of a second or less.
type simulation struct {
	Sight
	trace  Trace
	random *rand.Rand
	steps  int64 // so far

	ends    []ending // a ring: the requests that end in a step
	lengths []int32  // of requests, in steps, drawn from at random
	queue   []waiting
	first   int     // of the queue
	drained float64 // requests that instances have which are going
	orders  *rand.Rand
	result  Outcome
	// of the step window
	windowFrom, windowTo int64
	lastLate             int64
	recovered            bool
}

// ending is how many requests end in a step, and how many steps they took.
type ending struct {
	count int32
	steps int64
}

type waiting struct {
	step  int64
	count int
}

// Outcome is what a run cost, and whom.
type Outcome struct {
	Requests, Late, Dropped int64
	// WindowRequests and WindowLate are those that arrived from the step to 300 s
	// after it; all, where there is no step. What was dropped was late.
	WindowRequests, WindowLate int64
	Recover                    time.Duration // from the step to the end of the first lateness
	InstanceSeconds            float64
	Peak, Starts, Flaps        int
	Series                     []Point // for the chart
	direction                  int
}

// Point is a moment of a run.
type Point struct{ Ready, Ordered, Held int }

// Run plays a trace to a subject. The same seed gives the same run.
func Run(trace Trace, c Conditions, s Subject) Outcome {
	sim := newSimulation(trace, c)
	period := 250 * time.Millisecond
	if p, ok := s.(periodic); ok {
		period = p.Period()
	}
	watcher, _ := s.(watchful)
	due := time.Duration(0)
	for second := range trace.Rates {
		rate := trace.Rates[second] / max(trace.Clump, 1)
		per := rate * sim.Step.Seconds()
		none := math.Exp(-per)
		for range int(time.Second / sim.Step) {
			sim.advance(sim.draw(per, none))
			if watcher != nil && watcher.Watch(&sim.Sight) || sim.Now >= due {
				sim.apply(s.Decide(&sim.Sight))
				if sim.Now >= due {
					due += period
				}
			}
		}
		sim.result.Series = append(sim.result.Series, Point{sim.Ready, sim.Replicas, sim.Held})
	}
	return sim.end()
}

func newSimulation(trace Trace, c Conditions) *simulation {
	sim := &simulation{trace: trace, random: rand.New(rand.NewPCG(c.Seed, 1)), orders: rand.New(rand.NewPCG(c.Seed, 2)), lastLate: -1}
	sim.Conditions = c
	sim.Step = min(max(c.Service/20, time.Millisecond), 10*time.Millisecond)
	// The quantiles of the log-normal, made to have the mean.
	sigma := math.Sqrt(math.Ln2)
	sum, exact := 0.0, make([]float64, 1<<14)
	for i := range exact {
		exact[i] = math.Exp(sigma * math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/float64(len(exact))-1))
		sum += exact[i]
	}
	sim.lengths = make([]int32, len(exact))
	longest := int32(0)
	for i, x := range exact {
		steps := x * float64(len(exact)) / sum * float64(c.Service) / float64(sim.Step)
		sim.lengths[i] = max(int32(steps+sim.random.Float64()), 1)
		longest = max(longest, sim.lengths[i])
	}
	sim.ends = make([]ending, longest+1)
	sim.Waits = make([]int64, int(c.HoldFor/sim.Step)+int(longest)+2)
	sim.windowTo = math.MaxInt64
	if trace.Step >= 0 {
		sim.windowFrom = int64(trace.Step) * int64(time.Second/sim.Step)
		sim.windowTo = sim.windowFrom + 300*int64(time.Second/sim.Step)
	}
	// It begins with what the first second needs.
	for range max(c.Min, needed(trace.Rates[0], c)) {
		sim.instances = append(sim.instances, instance{ordered: -time.Hour, ready: -time.Hour + c.ColdStart, number: sim.Changed})
		sim.Changed++
	}
	sim.Replicas, sim.Ready = len(sim.instances), len(sim.instances)
	sim.result.Peak = sim.Replicas
	return sim
}

// needed gives the instances that a rate needs: its busy slots and two standard
// deviations of them.
func needed(rate float64, c Conditions) int {
	busy := rate * c.Service.Seconds()
	return min(max(int(math.Ceil((busy+2*math.Sqrt(busy))/float64(c.Slots))), c.Min), c.Max)
}

// draw gives how many requests arrive in a step.
func (sim *simulation) draw(mean, none float64) int {
	clumps := 0
	if mean > 30 {
		clumps = max(int(math.Round(mean+math.Sqrt(mean)*sim.random.NormFloat64())), 0)
	} else {
		for u, p := sim.random.Float64(), none; u > p && p > 0; {
			u -= p
			clumps++
			p *= mean / float64(clumps)
		}
	}
	if sim.trace.Clump <= 1 {
		return clumps
	}
	n := 0
	for range clumps { // each of a geometric size
		n += 1 + int(math.Log(1-sim.random.Float64())/math.Log(1-1/sim.trace.Clump))
	}
	return n
}

// advance plays one step.
func (sim *simulation) advance(arrived int) {
	sim.steps++
	sim.Now += sim.Step
	c := &sim.Conditions
	slot := &sim.ends[sim.steps%int64(len(sim.ends))]
	if ended := int(slot.count); ended > 0 {
		sim.Service += time.Duration(slot.steps) * sim.Step
		*slot = ending{}
		if sim.drained > 0 {
			sim.drained = max(sim.drained-float64(ended)*sim.drained/float64(sim.Busy), 0)
			if sim.drained < 0.5 {
				sim.drained = 0
			}
		}
		sim.Busy -= ended
		sim.Completed += int64(ended)
	}
	sim.boot()
	if arrived > 0 {
		sim.Arrived += int64(arrived)
		if sim.inWindow(sim.steps) {
			sim.result.WindowRequests += int64(arrived)
		}
		if over := sim.Held + arrived - c.HoldLimit - sim.free(); over > 0 {
			sim.drop(sim.steps, min(over, arrived))
			arrived -= min(over, arrived)
		}
		if arrived > 0 {
			sim.queue = append(sim.queue, waiting{sim.steps, arrived})
			sim.Held += arrived
		}
	}
	sim.serve()
	sim.BusyTime += time.Duration(sim.Busy) * sim.Step
	sim.HeldTime += time.Duration(sim.Held) * sim.Step
	// What is going costs until it has gone.
	going := math.Ceil(sim.drained / float64(c.Slots))
	sim.result.InstanceSeconds += (float64(sim.Replicas) + going) * sim.Step.Seconds()
}

func (sim *simulation) free() int {
	return max(sim.Ready*sim.Conditions.Slots-sim.Busy+int(sim.drained), 0)
}

func (sim *simulation) boot() {
	if sim.Ready == sim.Replicas {
		return
	}
	ready := 0
	for i := range sim.instances {
		if sim.instances[i].ready <= sim.Now {
			ready++
		}
	}
	if ready != sim.Ready {
		sim.Ready = ready
		sim.Changed++
	}
}

// serve gives the longest waiting their slots, and lets go of those that waited too long.
func (sim *simulation) serve() {
	if sim.Held == 0 {
		return
	}
	late := int64(lateAfter / sim.Step)
	for free := sim.free(); free > 0 && sim.Held > 0; {
		w := &sim.queue[sim.first]
		n := min(free, w.count)
		waited := sim.steps - w.step
		if waited > late {
			sim.late(w.step, int64(n))
		}
		for range n {
			length := sim.lengths[sim.random.Uint32()&uint32(len(sim.lengths)-1)]
			end := &sim.ends[(sim.steps+int64(length))%int64(len(sim.ends))]
			end.count++
			end.steps += int64(length)
			sim.Waits[waited+int64(length)]++
		}
		sim.Busy += n
		sim.Held -= n
		free -= n
		w.count -= n
		sim.pop()
	}
	for sim.Held > 0 && sim.steps-sim.queue[sim.first].step >= int64(sim.Conditions.HoldFor/sim.Step) {
		w := &sim.queue[sim.first]
		sim.Held -= w.count
		sim.drop(w.step, w.count)
		w.count = 0
		sim.pop()
	}
}

// pop forgets the head of the queue once it is served.
func (sim *simulation) pop() {
	if sim.queue[sim.first].count > 0 {
		return
	}
	sim.first++
	if sim.first == len(sim.queue) {
		sim.queue, sim.first = sim.queue[:0], 0
	} else if sim.first > 1<<14 {
		sim.queue = sim.queue[:copy(sim.queue, sim.queue[sim.first:])]
		sim.first = 0
	}
}

func (sim *simulation) inWindow(step int64) bool {
	return step >= sim.windowFrom && step < sim.windowTo
}

func (sim *simulation) late(arrived, n int64) {
	sim.result.Late += n
	if !sim.inWindow(arrived) {
		return
	}
	sim.result.WindowLate += n
	// The first lateness is over once nobody was late for 30 s.
	if sim.lastLate >= 0 && sim.steps-sim.lastLate > 30*int64(time.Second/sim.Step) {
		sim.recovered = true
	}
	if !sim.recovered && sim.trace.Step >= 0 {
		sim.lastLate = sim.steps
		sim.result.Recover = time.Duration(sim.steps-sim.windowFrom) * sim.Step
	}
}

func (sim *simulation) drop(arrived int64, n int) {
	sim.Refused += int64(n)
	sim.result.Dropped += int64(n)
	sim.late(arrived, int64(n))
}

// apply orders instances or takes them away: those that are not ready first,
// then the youngest.
func (sim *simulation) apply(n int) {
	c := sim.Conditions
	n = min(max(n, c.Min), c.Max)
	if n == sim.Replicas {
		return
	}
	direction := 1
	for range n - sim.Replicas {
		sim.Changed++
		took := time.Duration(float64(c.ColdStart) * math.Exp(0.174*sim.orders.NormFloat64()))
		sim.instances = append(sim.instances, instance{sim.Now, sim.Now + took, sim.Changed})
		sim.result.Starts++
	}
	if n < sim.Replicas {
		direction = -1
		sim.Changed++
		for len(sim.instances) > n {
			last := 0
			for i := range sim.instances {
				if sim.instances[i].ready >= sim.instances[last].ready {
					last = i
				}
			}
			if sim.instances[last].ready <= sim.Now {
				sim.drained += (float64(sim.Busy) - sim.drained) / float64(sim.Ready)
				sim.Ready--
			}
			sim.instances = append(sim.instances[:last], sim.instances[last+1:]...)
		}
	}
	if direction > 0 && sim.result.direction < 0 {
		sim.result.Flaps++
	}
	sim.result.direction = direction
	sim.Replicas = n
	sim.result.Peak = max(sim.result.Peak, n)
}

func (sim *simulation) end() Outcome {
	sim.result.Requests = sim.Arrived
	return sim.result
}

// engineInstances gives the instances as an engine would tell them.
func (s *Sight) engineInstances(group springtide.GroupID, began time.Time, names []springtide.InstanceID) []springtide.Instance {
	all := make([]springtide.Instance, len(s.instances))
	for i, one := range s.instances {
		all[i] = springtide.Instance{
			ID: names[one.number], Group: group, State: springtide.InstanceStarting,
			Ordered: began.Add(one.ordered), Started: began.Add(one.ordered),
		}
		if one.ready <= s.Now {
			all[i].State, all[i].Ready = springtide.InstanceReady, began.Add(one.ready)
		}
	}
	return all
}
