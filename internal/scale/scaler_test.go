package scale

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

// platform is everything around a scaler: an engine whose instances become
// ready after a cold start, edges under a given load, and a record of what the
// scaler did. Requests are a fluid: fractions of them arrive and end.
type platform struct {
	coldStart time.Duration
	service   time.Duration
	edges     []string
	noise     *rand.Rand // nil: as many arrive as the rate says

	mu         sync.Mutex
	targets    []Target
	changed    chan struct{}
	scaler     *Scaler
	stop       func()
	instances  []springtide.Instance
	ordered    int
	rate       func() float64
	backlog    float64
	busy       float64
	mostHeld   float64
	refusal    error // of SetReplicas
	unreadable error // of Targets
	reads      int   // of the targets
	applied    []springtide.Decision
	recorded   []springtide.Decision
}

func newPlatform(t *testing.T, replicas int, scale springtide.Scale) *platform {
	p := &platform{
		coldStart: 3 * time.Second, service: 200 * time.Millisecond, edges: []string{"edge-1"},
		changed: make(chan struct{}, 1), rate: func() float64 { return 0 },
		targets: []Target{{
			Group: simulatedGroup, Replicas: replicas,
			Process: springtide.Process{HTTP: true, Scale: scale},
		}},
	}
	for range replicas {
		p.add(time.Now().Add(-time.Hour))
	}
	p.start(t)
	return p
}

// start starts a scaler that knows nothing; stop ends it.
func (p *platform) start(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	scaler := New(Options{Targets: p, Applier: p, Recorder: p, Logger: slog.New(slog.DiscardHandler)})
	p.mu.Lock()
	p.scaler = scaler
	p.mu.Unlock()
	var running sync.WaitGroup
	running.Go(func() {
		if err := scaler.Run(ctx); err != nil {
			t.Errorf("the scaler ended: %v", err)
		}
	})
	p.observe()
	p.stop = func() {
		cancel()
		running.Wait()
	}
}

func (p *platform) Targets(context.Context) ([]Target, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	if p.unreadable != nil {
		return nil, p.unreadable
	}
	return slices.Clone(p.targets), nil
}

func (p *platform) Changed() <-chan struct{} { return p.changed }

func (p *platform) SetReplicas(_ context.Context, id springtide.GroupID, n int, d springtide.Decision) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refusal != nil {
		return p.refusal
	}
	target := &p.targets[0]
	if id != target.Group || d.From != target.Replicas || d.To != n {
		return fmt.Errorf("%s from %d to %d, but %s has %d", id, d.From, n, target.Group, target.Replicas)
	}
	target.Replicas = n
	p.applied = append(p.applied, d)
	for len(p.instances) > n {
		p.instances = p.instances[1:]
	}
	for len(p.instances) < n {
		p.add(time.Now())
	}
	go p.observe()
	return nil
}

func (p *platform) RecordDecision(_ context.Context, d springtide.Decision) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded = append(p.recorded, d)
	return nil
}

func (p *platform) add(ordered time.Time) {
	p.ordered++
	i := springtide.Instance{
		ID: springtide.InstanceID(fmt.Sprintf("web-1-%05d", p.ordered)), Group: simulatedGroup,
		State: springtide.InstanceStarting, Ordered: ordered, Started: ordered,
	}
	ready := ordered.Add(p.coldStart)
	if ready.After(time.Now()) {
		time.AfterFunc(time.Until(ready), func() { p.makeReady(i.ID) })
	} else {
		i.State, i.Ready = springtide.InstanceReady, ready
	}
	p.instances = append(p.instances, i)
}

func (p *platform) makeReady(id springtide.InstanceID) {
	p.mu.Lock()
	for i := range p.instances {
		if p.instances[i].ID == id {
			p.instances[i].State, p.instances[i].Ready = springtide.InstanceReady, time.Now()
		}
	}
	p.mu.Unlock()
	p.observe()
}

func (p *platform) observe() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.scaler.Observe(springtide.Snapshot{Instances: slices.Clone(p.instances)})
}

func (p *platform) change(f func()) {
	p.mu.Lock()
	f()
	p.mu.Unlock()
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// play lets time pass under a load of so many requests a second.
func (p *platform) play(length time.Duration, rate func(time.Duration) float64) {
	const tick = 100 * time.Millisecond
	begin := time.Now()
	silent := time.Duration(0)
	for time.Since(begin) < length {
		time.Sleep(tick)
		arrived := rate(time.Since(begin)) * tick.Seconds()
		if p.noise != nil {
			arrived = float64(poisson(p.noise, arrived))
		}
		p.mu.Lock()
		p.backlog += arrived
		slots := 0.0
		for i := range p.instances {
			if p.instances[i].State == springtide.InstanceReady {
				slots += float64(p.targets[0].Process.Scale.Concurrency)
			}
		}
		was := p.busy
		completed := min(p.backlog, slots*tick.Seconds()/p.service.Seconds())
		p.backlog -= completed
		p.busy = completed * p.service.Seconds() / tick.Seconds()
		p.mostHeld = max(p.mostHeld, p.backlog)
		scaler, edges, backlog, busy := p.scaler, p.edges, p.backlog, p.busy
		p.mu.Unlock()
		if arrived == 0 && completed == 0 && backlog == 0 && was == 0 {
			if silent += tick; silent%(5*time.Second) != 0 {
				continue // an edge says every five seconds that there is nothing to say
			}
		}
		for i, edge := range edges {
			share := func(x float64) int { return share(x, i, len(edges)) }
			scaler.Report(report(edge, springtide.Demand{
				Interval: tick, Arrived: share(arrived), Completed: share(completed),
				Service: time.Duration(float64(share(completed)) * float64(p.service)),
				Held:    share(backlog), Busy: share(busy),
				BusyTime: time.Duration(busy / float64(len(edges)) * float64(tick)),
			}))
		}
		synctest.Wait()
	}
}

// share gives part i of n of a number, in whole parts that sum to it, rounded.
func share(x float64, i, n int) int {
	whole := int(math.Round(x))
	return whole*(i+1)/n - whole*i/n
}

func constantly(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

func (p *platform) replicas() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.targets[0].Replicas
}

func (p *platform) decisions() []springtide.Decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.applied)
}

func range1to50() springtide.Scale {
	return springtide.Scale{Min: 1, Max: 50, Concurrency: 10, Idle: 5 * time.Minute}
}

func TestAStepOfTwentyTimesIsFollowedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.play(3*time.Minute, constantly(20))
		p.play(1500*time.Millisecond, constantly(400))
		if n := p.replicas(); n < 10 {
			t.Errorf("%d instances a second and a half after the step, want 10 at least", n)
		}
		p.play(8*time.Second, constantly(400))
		p.mu.Lock()
		held := p.backlog
		p.mu.Unlock()
		if held > 0 {
			t.Errorf("%v requests are held ten seconds after the step", held)
		}
		p.play(10*time.Minute, constantly(400))
		if n := p.replicas(); n < 10 || n > 11 {
			t.Errorf("%d instances in the end, want 10 or 11", n)
		}
	})
}

func TestASlowRampHoldsNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.play(10*time.Minute, func(t time.Duration) float64 { return 20 + 380*t.Minutes()/10 })
		if p.mostHeld > 0 {
			t.Errorf("up to %.1f requests were held", p.mostHeld)
		}
	})
}

func TestNoiseDoesNotMakeItFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 4, range1to50())
		p.noise = rand.New(rand.NewPCG(7, 7))
		p.play(10*time.Minute, constantly(100))
		before := len(p.decisions())
		p.play(time.Hour, constantly(100))
		if after := p.decisions()[before:]; len(after) > 6 {
			t.Errorf("%d changes in an hour of a steady rate, the last %q", len(after), after[len(after)-1].Sentence)
		}
	})
}

func TestALoadThatSwingsFasterThanTheWindowsDoesNotMakeItFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		swing := func(t time.Duration) float64 {
			if t%time.Minute < 30*time.Second {
				return 300
			}
			return 30
		}
		p.play(5*time.Minute, swing)
		before := len(p.decisions())
		p.play(30*time.Minute, swing)
		if after := p.decisions()[before:]; len(after) > 0 {
			t.Errorf("%d changes, the first %q", len(after), after[0].Sentence)
		}
	})
}

func TestItStopsTheLastInstanceAndStartsOneForAHeldRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scale := range1to50()
		scale.Min = 0
		p := newPlatform(t, 1, scale)
		p.play(time.Minute, constantly(5))
		p.play(5*time.Minute-time.Second, constantly(0))
		if n := p.replicas(); n != 1 {
			t.Fatalf("%d instances before the time is over", n)
		}
		p.play(2*time.Second, constantly(0))
		if n := p.replicas(); n != 0 {
			decision, _ := p.scaler.Last(simulatedGroup)
			t.Fatalf("%d instances after five minutes without a request: %s", n, decision.Sentence)
		}
		p.play(10*time.Minute, constantly(0))
		decided, _ := p.scaler.Last(simulatedGroup)
		p.play(time.Hour, constantly(0))
		if again, _ := p.scaler.Last(simulatedGroup); !again.Time.Equal(decided.Time) {
			t.Errorf("it decided while it was idle, %s after", again.Time.Sub(decided.Time))
		}

		held := time.Now()
		p.scaler.Report(report("edge-1", springtide.Demand{Interval: time.Millisecond, Arrived: 1, Held: 1}))
		synctest.Wait()
		if n := p.replicas(); n != 1 || !time.Now().Equal(held) {
			t.Errorf("%d instances %s after a request was held", n, time.Since(held))
		}
		sentences := p.decisions()
		if got := sentences[len(sentences)-2].Sentence; got != "1 to 0: no request for 5m0s" {
			t.Errorf("it stopped with %q", got)
		}
	})
}

func TestNothingIsDecidedWhileNothingHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, springtide.Scale{Min: 2, Max: 4, Concurrency: 10})
		p.play(time.Minute, constantly(1))
		p.play(time.Minute, constantly(0))
		decided, _ := p.scaler.Last(simulatedGroup)
		reads := p.reads
		p.play(2*time.Hour, constantly(0))
		again, _ := p.scaler.Last(simulatedGroup)
		if !again.Time.Equal(decided.Time) || p.reads != reads {
			t.Errorf("it decided after %s, and read the targets %d times", again.Time.Sub(decided.Time), p.reads-reads)
		}
	})
}

func TestARestartUnderLoadTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.play(5*time.Minute, constantly(400))
		serving := p.replicas()
		p.stop()
		p.start(t)
		before := len(p.decisions())
		// The edge is not back yet, then comes back with a fraction of the load.
		p.edges = nil
		p.play(20*time.Second, constantly(400))
		p.edges = []string{"edge-1"}
		p.play(80*time.Second, constantly(100))
		for _, d := range p.decisions()[before:] {
			if d.To < serving {
				t.Errorf("after the restart: %s", d.Sentence)
			}
		}
		p.play(10*time.Minute, constantly(100))
		if n := p.replicas(); n > 5 {
			t.Errorf("%d instances long after, want 5 at most", n)
		}
	})
}

func TestNothingIsTakenAwayWhileNoEdgeReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.play(5*time.Minute, constantly(400))
		serving := p.replicas()
		p.edges = nil
		p.play(20*time.Minute, constantly(400))
		if n := p.replicas(); n != serving {
			t.Errorf("%d instances, there were %d when the last edge was heard", n, serving)
		}
	})
}

func TestOneOfTwoEdgesMayVanish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.edges = []string{"edge-1", "edge-2"}
		p.play(5*time.Minute, constantly(400))
		both := p.replicas()
		if both < 10 || both > 25 {
			t.Errorf("%d instances for two edges of 200 req/s each", both)
		}
		p.edges = []string{"edge-2"} // and all of the load goes there
		p.play(10*time.Minute, constantly(400))
		if n := p.replicas(); n < 10 || n > 11 {
			t.Errorf("%d instances after one edge vanished, want 10 or 11", n)
		}
		if live := p.scaler.Live(simulatedGroup); live.Busy > 80 {
			t.Errorf("%d being served, the vanished edge counts", live.Busy)
		}
	})
}

func TestOnlyTheGroupWithTheTrafficIsScaled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		old := simulatedGroup
		old.Release = 7
		p.scaler.Report(report("edge-1", springtide.Demand{Group: old, Interval: time.Second, Arrived: 5000, Held: 900, Busy: 20}))
		time.Sleep(time.Minute)
		if n := len(p.decisions()); n != 0 {
			t.Errorf("%d changes for the demand of another group", n)
		}
	})
}

func TestAStoppedGroupIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		p.change(func() { p.targets[0].Stopped, p.targets[0].Replicas = true, 0 })
		p.play(time.Minute, constantly(400))
		if n := len(p.decisions()); n != 0 {
			t.Errorf("%d changes while it was stopped", n)
		}
		p.change(func() { p.targets[0].Stopped, p.targets[0].Replicas = false, 0 })
		synctest.Wait()
		if n := p.replicas(); n == 0 {
			t.Error("it was not started again")
		}
	})
}

func TestANewRangeIsAppliedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, range1to50())
		time.Sleep(time.Minute)
		p.change(func() { p.targets[0].Process.Scale.Min = 5 })
		synctest.Wait()
		if n := p.replicas(); n != 5 {
			t.Errorf("%d instances, want the new minimum of 5", n)
		}
		p.change(func() { p.targets[0].Process.Scale.Min, p.targets[0].Process.Scale.Max = 1, 3 })
		synctest.Wait()
		if n := p.replicas(); n != 3 {
			t.Errorf("%d instances, want the new maximum of 3", n)
		}
	})
}

func TestWhatCannotBeAppliedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 1, range1to50())
		p.refusal = errors.New("the store is away")
		p.play(5*time.Second, constantly(200))
		if n := p.replicas(); n != 1 || len(p.recorded) != 1 {
			t.Errorf("%d instances, recorded %+v", n, p.recorded)
		}
		p.mu.Lock()
		p.refusal = nil
		p.mu.Unlock()
		p.play(1200*time.Millisecond, constantly(200))
		if n := p.replicas(); n < 5 {
			t.Errorf("%d instances when it can be applied again", n)
		}
	})
}

func TestTargetsThatCannotBeReadAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 1, range1to50())
		synctest.Wait()
		p.change(func() { p.targets[0].Process.Scale.Min, p.unreadable = 3, errors.New("the store is away") })
		p.play(10*time.Second, constantly(1))
		if p.reads < 5 || p.reads > 12 {
			t.Errorf("read %d times in ten seconds, want about one a second", p.reads)
		}
		p.mu.Lock()
		p.unreadable = nil
		p.mu.Unlock()
		p.play(1200*time.Millisecond, constantly(1))
		if n := p.replicas(); n != 3 {
			t.Errorf("%d instances, want the new minimum of 3", n)
		}
	})
}

func TestDecisionsThatChangeNothingAreRecordedSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 2, springtide.Scale{Min: 2, Max: 4, Concurrency: 10})
		p.play(time.Hour, constantly(1))
		if n := len(p.recorded); n > 3 {
			t.Errorf("%d records in an hour without a change, the last %q", n, p.recorded[n-1].Sentence)
		}
		p.play(time.Minute, constantly(1000))
		last := p.recorded[len(p.recorded)-1]
		if last.To != 4 || !strings.Contains(last.Sentence, "the maximum") {
			t.Errorf("that the maximum is reached is not recorded, the last is %q", last.Sentence)
		}
	})
}

func TestAnAnnouncedEventWakesAGroupThatIsAtZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, 0, springtide.Scale{Min: 0, Max: 20, Concurrency: 10, Idle: time.Minute})
		begin := time.Now().Add(30 * time.Minute)
		p.change(func() {
			p.targets[0].Process.Announcements = []springtide.Announcement{{Name: "Top 10", From: begin, Until: begin.Add(time.Hour), Instances: 12}}
		})
		p.play(29*time.Minute, constantly(0))
		if n := p.replicas(); n != 0 {
			t.Errorf("%d instances a minute before", n)
		}
		p.play(time.Minute, constantly(0))
		if n := p.replicas(); n != 12 {
			t.Errorf("%d instances when it begins, want 12", n)
		}
		decisions := p.decisions()
		if last := decisions[len(decisions)-1].Sentence; last != "0 to 12: event Top 10 keeps 12" {
			t.Errorf("%s", last)
		}
		p.play(2*time.Hour, constantly(0))
		if n := p.replicas(); n != 0 {
			t.Errorf("%d instances after it", n)
		}
	})
}
