package scale

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// simulation plays requests, an edge and an engine to the meter and the law, in
// steps of 10 ms, each request on its own.
type simulation struct {
	spec      Spec
	coldStart time.Duration
	service   time.Duration
	// exponential makes each request take another time, with service as the mean.
	exponential bool
	random      *rand.Rand
	// processors are those of the machine, 0: enough. Each instance that starts has
	// work for startShare of one and each request for requestShare; what they lack
	// makes requests slower.
	processors, startShare, requestShare float64

	meter           *Meter
	start, now      time.Time
	replicas        int
	instances       []springtide.Instance
	lastOut, lastIn time.Time
	ordered         int

	queue  []time.Time           // arrivals that wait
	ends   map[int]int           // step → requests that end then
	took   map[int]time.Duration // and how long they took together
	report reportSoFar           // since the last report
	result simulationSums        // what is measured
	busy   int
	told   bool // the edge has said that requests are held
	last   time.Time
	log    func(string, ...any)
}

type reportSoFar struct {
	arrived, completed int
	busyTime, service  time.Duration
}

type simulationSums struct {
	requests, late  int
	peak            int
	instanceSeconds float64
	firstLate       time.Time
	lastLate        time.Time
	ins, outs       int
	flaps           int
	direction       int
}

const simulationStep = 10 * time.Millisecond

var simulatedGroup = springtide.GroupID{
	Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production},
	Release:     1, Process: springtide.Web, Generation: 1,
}

func newSimulation(seed uint64, replicas int, scale springtide.Scale) *simulation {
	s := &simulation{
		spec:      Spec{Group: simulatedGroup, Requests: true, Scale: scale},
		coldStart: 3 * time.Second, service: 200 * time.Millisecond,
		random: rand.New(rand.NewPCG(seed, 1)), meter: NewMeter(),
		start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), replicas: replicas,
		ends: make(map[int]int), took: make(map[int]time.Duration), log: func(string, ...any) {},
	}
	s.now, s.last = s.start, s.start
	for range replicas {
		s.order(s.start.Add(-time.Hour))
	}
	s.boot()
	return s
}

func (s *simulation) order(at time.Time) {
	s.ordered++
	s.instances = append(s.instances, springtide.Instance{
		ID: springtide.InstanceID(fmt.Sprintf("web-1-%05d", s.ordered)), Group: s.spec.Group,
		State: springtide.InstanceStarting, Ordered: at, Started: at,
	})
}

// boot makes instances ready whose cold start is over, and tells the meter.
func (s *simulation) boot() {
	changed := false
	for i := range s.instances {
		instance := &s.instances[i]
		if at := instance.Ordered.Add(s.coldStart); instance.State == springtide.InstanceStarting && !at.After(s.now) {
			instance.State, instance.Ready = springtide.InstanceReady, at
			changed = true
		}
	}
	if changed {
		s.observe()
	}
}

func (s *simulation) observe() {
	own := append([]springtide.Instance(nil), s.instances...)
	s.meter.Observe(s.now, springtide.Snapshot{Instances: own})
}

func (s *simulation) ready() int {
	n := 0
	for i := range s.instances {
		if s.instances[i].State == springtide.InstanceReady {
			n++
		}
	}
	return n
}

// run plays so long with arrivals at the given rate, which is asked with the
// time since the start.
func (s *simulation) run(length time.Duration, rate func(time.Duration) float64) {
	for end := s.now.Add(length); s.now.Before(end); {
		s.step(rate(s.now.Sub(s.start)))
	}
}

func (s *simulation) step(rate float64) {
	s.now = s.now.Add(simulationStep)
	step := int(s.now.Sub(s.start) / simulationStep)
	s.boot()
	ended := s.ends[step]
	delete(s.ends, step)
	s.busy -= ended
	s.report.completed += ended
	s.report.service += s.took[step]
	delete(s.took, step)
	arrived := poisson(s.random, rate*simulationStep.Seconds())
	s.report.arrived += arrived
	s.result.requests += arrived
	for range arrived {
		s.queue = append(s.queue, s.now)
	}
	s.serve(step)
	s.report.busyTime += time.Duration(s.busy) * simulationStep
	s.result.instanceSeconds += float64(s.replicas) * simulationStep.Seconds()

	held := len(s.queue) > 0
	if s.now.Sub(s.last) >= 100*time.Millisecond || held && !s.told {
		s.tell()
		s.told = held
		if held || s.now.Sub(s.start)%(250*time.Millisecond) < 100*time.Millisecond {
			s.decide()
		}
	}
}

func (s *simulation) serve(step int) {
	free := s.ready()*s.spec.Scale.Concurrency - s.busy
	for free > 0 && len(s.queue) > 0 {
		if waited := s.now.Sub(s.queue[0]); waited > 250*time.Millisecond {
			s.result.late++
			s.result.lastLate = s.now
			if s.result.firstLate.IsZero() {
				s.result.firstLate = s.queue[0]
			}
		}
		s.queue = s.queue[1:]
		free--
		s.busy++
		takes := s.service
		if s.exponential {
			takes = time.Duration(s.random.ExpFloat64() * float64(s.service))
		}
		takes = time.Duration(float64(takes) * s.slower())
		end := step + max(int(takes/simulationStep), 1)
		s.ends[end]++
		s.took[end] += takes
	}
}

// slower is how many times longer than alone a request takes that begins now.
func (s *simulation) slower() float64 {
	if s.processors == 0 {
		return 1
	}
	starting := float64(len(s.instances) - s.ready())
	return max((starting*s.startShare+float64(s.busy)*s.requestShare)/s.processors, 1)
}

func (s *simulation) tell() {
	s.meter.Report(s.now, springtide.EdgeReport{Edge: "edge-1", Demand: []springtide.Demand{{
		Group: s.spec.Group, Interval: s.now.Sub(s.last),
		Arrived: s.report.arrived, Completed: s.report.completed,
		Service: s.report.service,
		Held:    len(s.queue), Busy: s.busy, BusyTime: s.report.busyTime,
	}}})
	s.last, s.report = s.now, reportSoFar{}
}

func (s *simulation) decide() {
	o, h := s.meter.View(s.now, s.spec.Group, nil)
	o.Replicas, h.LastOut, h.LastIn = s.replicas, s.lastOut, s.lastIn
	if h.Since.Before(s.start) {
		h.Since = s.start
	}
	verdict := Decide(s.now, s.spec, o, h)
	if verdict.To == verdict.From {
		return
	}
	s.log("%8.2f s  %s", s.now.Sub(s.start).Seconds(), verdict.Sentence)
	direction := 1
	if verdict.To < verdict.From {
		direction = -1
		s.result.ins++
		s.lastIn = s.now
		s.instances = s.instances[verdict.From-verdict.To:]
	} else {
		s.result.outs++
		s.lastOut = s.now
		for range verdict.To - verdict.From {
			s.order(s.now)
		}
	}
	if s.result.direction == -1 && direction == 1 {
		s.result.flaps++
	}
	s.result.direction = direction
	s.replicas = verdict.To
	s.result.peak = max(s.result.peak, s.replicas)
	s.observe()
}

func poisson(random *rand.Rand, mean float64) int {
	limit, product, n := math.Exp(-mean), random.Float64(), 0
	for product > limit {
		product *= random.Float64()
		n++
	}
	return n
}

// clairvoyant gives the instance-seconds of one who knows the rate: as many
// instances as the demand and two standard deviations of it need, no more.
func clairvoyant(s *simulation, length time.Duration, rate func(time.Duration) float64) float64 {
	sum := 0.0
	for t := time.Duration(0); t < length; t += time.Second {
		demand := rate(t) * s.service.Seconds()
		n := math.Ceil((demand + 2*math.Sqrt(demand)) / float64(s.spec.Scale.Concurrency))
		sum += max(n, float64(s.spec.Scale.Min))
	}
	return sum
}

// chartShow is a rise without announcement: twenty requests a second, twenty
// times as many within forty seconds, a last rush, and a slow end.
func chartShow(t time.Duration) float64 {
	logistic := func(at, width float64) float64 { return 1 / (1 + math.Exp(-(t.Seconds()-at)/width)) }
	rate := 20 + 380*logistic(1830, 5)
	rate += 180 * (logistic(5600, 60) - logistic(5900, 5))
	return rate - 380*logistic(5950, 20)
}

func TestARiseOfTwentyTimesIsMetInTime(t *testing.T) {
	cases := []struct {
		name   string
		rate   func(time.Duration) float64
		length time.Duration
		rises  time.Duration
		// What is needed in the end, and the limits: the most instances, the
		// latest of the late requests after the rise began, their share in percent.
		needed, peak int
		recover      time.Duration
		late         float64
	}{
		// 586 req/s x 200 ms and head-room need 14 instances of 10 slots.
		{"chart show", chartShow, 3 * time.Hour, 1810 * time.Second, 14, 18, 15 * time.Second, 0.01},
		// From one moment to the next. The queue of a whole cold start is to be
		// worked off in two seconds, which needs twice what is needed afterwards;
		// and while it grows within a second it looks like a rise.
		{"step", stepAt(10*time.Minute, 20, 400), 30 * time.Minute, 10 * time.Minute, 10, 30, 10 * time.Second, 0.5},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			if testing.Short() {
				t.Skip("plays millions of requests")
			}
			s := newSimulation(17, 2, springtide.Scale{Min: 1, Max: 50, Concurrency: 10})
			s.log = t.Logf
			s.run(test.length, test.rate)
			r := s.result
			late := 100 * float64(r.late) / float64(r.requests)
			recovered := time.Duration(0)
			if r.late > 0 {
				recovered = r.lastLate.Sub(s.start.Add(test.rises))
			}
			t.Logf("late %.3f%% of %d, recovered after %.1f s, instance-s / clairvoyant %.2f, peak %d (%d needed), flaps %.1f/h, %d out, %d in",
				late, r.requests, recovered.Seconds(), r.instanceSeconds/clairvoyant(s, test.length, test.rate),
				r.peak, test.needed, float64(r.flaps)/test.length.Hours(), r.outs, r.ins)
			if late > test.late {
				t.Errorf("%.3f%% were late, want %.3f%% at most", late, test.late)
			}
			if recovered > test.recover {
				t.Errorf("recovered after %s, want %s at most", recovered, test.recover)
			}
			if r.peak > test.peak {
				t.Errorf("peak %d, want %d at most", r.peak, test.peak)
			}
		})
	}
}

func stepAt(at time.Duration, before, after float64) func(time.Duration) float64 {
	return func(t time.Duration) float64 {
		if t < at {
			return before
		}
		return after
	}
}
