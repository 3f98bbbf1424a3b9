package scale

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// sharedApp plays instances whose requests wait for something outside, and then
// share the cores of their instance: the more there are, the longer each takes.
type sharedApp struct {
	wait, work time.Duration // of one request, the work with nobody beside it
	cores      float64       // of one instance
	target     time.Duration

	spec      Spec
	random    *rand.Rand
	meter     *Meter
	memory    Memory
	now, last time.Time
	copies    []*sharedInstance
	made      int
	queue     []time.Time
	demand    springtide.Demand
	used      map[springtide.InstanceID]time.Duration

	answered, late, most int
	instanceSeconds      float64
	sentences            []string
}

type sharedInstance struct {
	springtide.Instance
	requests []sharedRequest
	retiring bool
}

type sharedRequest struct {
	arrived, begun time.Time
	wait, work     time.Duration
}

const sharedStep = 5 * time.Millisecond

func newSharedApp(wait, work, target time.Duration, scale springtide.Scale) *sharedApp {
	scale.P95 = target
	a := &sharedApp{
		wait: wait, work: work, cores: 1, target: target, random: rand.New(rand.NewPCG(7, 1)), meter: NewMeter(), now: noon, last: noon,
		spec: Spec{Group: simulatedGroup, Requests: true, Scale: scale}, used: map[springtide.InstanceID]time.Duration{},
	}
	a.meter.Learn(noon, simulatedGroup)
	a.scale(max(scale.Min, 1))
	return a
}

func (a *sharedApp) scale(n int) {
	for i := len(a.copies) - 1; i >= 0 && a.count() > n; i-- {
		a.copies[i].retiring = true
	}
	for a.count() < n {
		a.made++
		a.copies = append(a.copies, &sharedInstance{Instance: springtide.Instance{
			ID: springtide.InstanceID(fmt.Sprintf("web-1-%05d", a.made)), Group: simulatedGroup,
			State: springtide.InstanceStarting, Ordered: a.now, Started: a.now,
		}})
	}
	a.most = max(a.most, n)
	a.observe()
}

func (a *sharedApp) count() (n int) {
	for _, one := range a.copies {
		if !one.retiring {
			n++
		}
	}
	return n
}

func (a *sharedApp) observe() {
	var snapshot springtide.Snapshot
	for _, one := range a.copies {
		if !one.retiring {
			snapshot.Instances = append(snapshot.Instances, one.Instance)
		}
	}
	a.meter.Observe(a.now, snapshot)
}

// run plays so long at a rate that is asked with the time since it began, and
// gives the share of late answers in percent.
func (a *sharedApp) run(length time.Duration, rate func(time.Duration) float64) float64 {
	begin := a.now
	a.answered, a.late, a.instanceSeconds, a.most = 0, 0, 0, a.count()
	for step := 0; a.now.Before(begin.Add(length)); step++ {
		a.now = a.now.Add(sharedStep)
		a.boot()
		for range poisson(a.random, rate(a.now.Sub(begin))*sharedStep.Seconds()) {
			a.demand.Arrived++
			a.queue = append(a.queue, a.now)
		}
		a.dispatch()
		for _, one := range a.copies {
			a.serve(one)
		}
		a.instanceSeconds += float64(a.count()) * sharedStep.Seconds()
		if step%20 == 19 {
			a.tell()
		}
		if step%200 == 199 {
			a.measure()
		}
		if step%50 == 49 {
			a.decide()
		}
	}
	return 100 * float64(a.late) / float64(max(a.answered, 1))
}

func (a *sharedApp) boot() {
	changed := false
	for i := 0; i < len(a.copies); i++ {
		one := a.copies[i]
		if one.State == springtide.InstanceStarting && a.now.Sub(one.Ordered) >= 3*time.Second {
			one.State, one.Ready = springtide.InstanceReady, a.now
			changed = true
		}
		if one.retiring && len(one.requests) == 0 {
			a.copies = append(a.copies[:i], a.copies[i+1:]...)
			i--
		}
	}
	if changed {
		a.observe()
	}
}

// dispatch gives what waits to the least loaded.
func (a *sharedApp) dispatch() {
	for len(a.queue) > 0 {
		var least *sharedInstance
		for _, one := range a.copies {
			if one.State == springtide.InstanceReady && !one.retiring && (least == nil || len(one.requests) < len(least.requests)) {
				least = one
			}
		}
		if least == nil || len(least.requests) >= a.spec.Scale.Concurrency {
			return
		}
		least.requests = append(least.requests, sharedRequest{
			arrived: a.queue[0], begun: a.now, wait: a.wait,
			work: time.Duration((0.5 + a.random.Float64()) * float64(a.work)),
		})
		if waited := a.now.Sub(a.queue[0]); waited > 0 {
			a.demand.Waited++
			a.demand.HeldTime += waited
		}
		a.queue = a.queue[1:]
	}
}

func (a *sharedApp) serve(one *sharedInstance) {
	a.demand.BusyTime += time.Duration(len(one.requests)) * sharedStep
	working := 0
	for _, r := range one.requests {
		if r.wait <= 0 {
			working++
		}
	}
	share := time.Duration(float64(sharedStep) * min(1, a.cores/float64(max(working, 1))))
	a.used[one.ID] += time.Duration(working) * share
	kept := one.requests[:0]
	for _, r := range one.requests {
		if r.wait > 0 {
			r.wait -= sharedStep
		} else {
			r.work -= share
		}
		if r.wait > 0 || r.work > 0 {
			kept = append(kept, r)
			continue
		}
		took := a.now.Sub(r.arrived)
		a.demand.Completed++
		a.demand.Service += a.now.Sub(r.begun)
		a.demand.Latencies.Add(took)
		a.answered++
		if took > a.target {
			a.late++
		}
	}
	one.requests = kept
}

func (a *sharedApp) tell() {
	a.demand.Group, a.demand.Interval, a.demand.Held, a.demand.Busy = simulatedGroup, a.now.Sub(a.last), len(a.queue), 0
	for _, one := range a.copies {
		a.demand.Busy += len(one.requests)
	}
	a.meter.Report(a.now, springtide.EdgeReport{Edge: "edge-1", Demand: []springtide.Demand{a.demand}})
	a.demand, a.last = springtide.Demand{}, a.now
}

func (a *sharedApp) measure() {
	usage := springtide.Usage{CPUs: 64}
	for _, one := range a.copies {
		usage.Instances = append(usage.Instances, springtide.InstanceUsage{Instance: one.ID, Group: simulatedGroup, CPU: a.used[one.ID]})
	}
	a.meter.Use(a.now, usage)
}

func (a *sharedApp) decide() {
	o, h := a.meter.View(a.now, simulatedGroup, nil)
	o.Replicas = a.count()
	a.memory.Recall(a.now, &h)
	v := Decide(a.now, a.spec, o, h)
	a.memory.Remember(a.now, v)
	a.sentences = append(a.sentences, v.Sentence)
	if v.To != v.From {
		a.scale(v.To)
	}
}

func constant(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

func ramp(from, to float64, over time.Duration) func(time.Duration) float64 {
	return func(t time.Duration) float64 { return from + (to-from)*min(t.Seconds()/over.Seconds(), 1) }
}

func TestALatencyThatTheLoadMakesIsHeldByAsManyInstancesAsItTakes(t *testing.T) {
	// An instance does 100 requests a second at most; one core is 65% busy at the
	// target, for the work of one takes 10 ms and 60 ms are left for it.
	a := newSharedApp(90*time.Millisecond, 10*time.Millisecond, 150*time.Millisecond, springtide.Scale{Min: 1, Max: 60, Concurrency: 40, Idle: time.Hour})
	t.Logf("learning: %.2f%% late, %d instances, at most %d", a.run(10*time.Minute, ramp(30, 400, 8*time.Minute)), a.count(), a.most)
	late := a.run(10*time.Minute, constant(400))
	mean := a.instanceSeconds / 600
	t.Logf("400 req/s: %.2f%% late, %.1f instances, at most %d: %s", late, mean, a.most, a.sentences[len(a.sentences)-1])
	if late > 5 {
		t.Errorf("%.2f%% took longer than the target", late)
	}
	if mean > 9 {
		t.Errorf("%.1f instances, 5 to 7 are needed", mean)
	}
	// What was learnt orders instances before the next rise has a queue.
	late = a.run(2*time.Minute, ramp(400, 1200, 20*time.Second))
	t.Logf("rise to 1200 req/s: %.2f%% late, %d instances", late, a.count())
	if late > 5 {
		t.Errorf("%.2f%% of the rise took longer than the target", late)
	}
	if !slices.ContainsFunc(a.sentences, func(s string) bool {
		return strings.Contains(s, "by p95: p95 holds 150 ms up to ") && strings.Contains(s, " expected in ")
	}) {
		t.Errorf("it does not say what needs most: %s", a.sentences[len(a.sentences)-1])
	}
}

func TestALatencyThatTheLoadDoesNotMakeOrdersNoInstancesForEver(t *testing.T) {
	a := newSharedApp(500*time.Millisecond, time.Millisecond, 300*time.Millisecond, springtide.Scale{Min: 1, Max: 60, Concurrency: 40, Idle: time.Hour})
	a.run(15*time.Minute, ramp(10, 100, time.Minute))
	last := a.sentences[len(a.sentences)-1]
	t.Logf("at most %d, now %d: %s", a.most, a.count(), last)
	// 51 requests are under way: two instances have the slots for them and noise.
	if a.most > 8 || a.count() > 3 {
		t.Errorf("%d instances, at most %d, and two have slots enough", a.count(), a.most)
	}
	if !strings.Contains(last, "without load, so that no number of instances holds 300 ms") {
		t.Errorf("it does not say that instances do not help: %s", last)
	}
	// What it waited for is fast again: then it is a target like any other.
	a.wait = 50 * time.Millisecond
	if late := a.run(5*time.Minute, constant(100)); late > 5 || a.count() > 3 {
		t.Errorf("%.2f%% late with %d instances: %s", late, a.count(), a.sentences[len(a.sentences)-1])
	}
}

func TestAnUpstreamThatIsSlowForAWhileIsPaidForOnce(t *testing.T) {
	a := newSharedApp(60*time.Millisecond, 5*time.Millisecond, 150*time.Millisecond, springtide.Scale{Min: 1, Max: 60, Concurrency: 20, Idle: time.Hour})
	a.run(5*time.Minute, constant(150))
	before := a.count()
	a.wait = 300 * time.Millisecond
	a.run(10*time.Minute, constant(150))
	slow, most := a.count(), a.most
	a.wait = 60 * time.Millisecond
	late := a.run(15*time.Minute, constant(150))
	t.Logf("before %d, while it is slow %d (at most %d), after it %d with %.2f%% late: %s", before, slow, most, a.count(), late, a.sentences[len(a.sentences)-1])
	if most > 16 || a.count() > before+2 || late > 5 {
		t.Errorf("%d before, %d at most while it was slow, %d after it with %.2f%% late", before, most, a.count(), late)
	}
}
