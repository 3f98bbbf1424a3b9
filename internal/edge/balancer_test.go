package edge

import (
	"container/heap"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func newBalancer(instances int) *balancer {
	b := &balancer{random: rand.IntN}
	for range instances {
		b.ready = append(b.ready, &instance{weight: 1})
	}
	return b
}

func anyInstance(*instance) bool { return true }

func TestOfFewInstancesTheLeastBusyIsChosen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBalancer(rapid.IntRange(1, fewInstances).Draw(t, "instances"))
		least := 1000
		for _, i := range b.ready {
			i.requests = rapid.IntRange(0, 20).Draw(t, "requests")
			least = min(least, i.requests)
		}
		if chosen := b.choose(time.Now(), anyInstance); chosen.requests != least {
			t.Fatalf("chose one with %d, the least is %d", chosen.requests, least)
		}
	})
}

func TestAUsableInstanceIsFoundAmongMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBalancer(rapid.IntRange(0, 40).Draw(t, "instances"))
		usable := map[*instance]bool{}
		for _, i := range b.ready {
			i.requests = rapid.IntRange(0, 9).Draw(t, "requests")
			if rapid.IntRange(0, 9).Draw(t, "usable") == 0 {
				usable[i] = true
			}
		}
		chosen := b.choose(time.Now(), func(i *instance) bool { return usable[i] })
		if (chosen == nil) != (len(usable) == 0) || chosen != nil && !usable[chosen] {
			t.Fatalf("chose %v of %d that are usable", chosen, len(usable))
		}
	})
}

func TestTwoChoicesKeepManyInstancesEven(t *testing.T) {
	b := newBalancer(50)
	for range 5000 {
		b.choose(time.Now(), anyInstance).requests++
	}
	for _, i := range b.ready {
		if i.requests < 90 || i.requests > 110 {
			t.Errorf("one of 50 has %d of 5000", i.requests)
		}
	}
}

// simulation has requests arrive at random, at a mean rate a second, for a time;
// service says how long the instance of that number takes. It is the same in
// every run.
type simulation struct {
	instances int
	rate      float64
	length    time.Duration
	service   func(number int, at time.Duration, random *rand.Rand) time.Duration
	// blind: latencies are not learnt, so that the one with the least open is chosen.
	blind     bool
	slowStart time.Duration
	// late joins the last instance then.
	late time.Duration
}

type outcome struct {
	p50, p99, p999 time.Duration
	share          []float64
}

// run leaves out the first tenth.
func (s simulation) run() outcome {
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Unix(0, 0)
	b := newBalancer(s.instances)
	b.random, b.slowStart, b.swept = random.IntN, s.slowStart, start
	all := b.ready
	for _, i := range all {
		i.since = start.Add(-time.Hour)
	}
	if s.late > 0 {
		last := len(all) - 1
		b.ready, all[last].since = all[:last], start.Add(s.late)
	}
	var open ends
	var took []time.Duration
	served := make([]int, s.instances)
	for at := time.Duration(0); at < s.length; at += time.Duration(random.ExpFloat64() / s.rate * float64(time.Second)) {
		for len(open) > 0 && open[0].at <= at {
			ended := heap.Pop(&open).(end)
			ended.on.requests--
			if !s.blind {
				b.learn(ended.on, ended.took, start.Add(ended.at))
			}
		}
		if s.late > 0 && at > s.late {
			b.ready = all
		}
		chosen := b.choose(start.Add(at), anyInstance)
		number := slices.Index(all, chosen)
		service := s.service(number, at, random)
		chosen.requests++
		heap.Push(&open, end{at + service, service, chosen})
		if at > s.length/10 {
			took = append(took, service)
			served[number]++
		}
	}
	slices.Sort(took)
	of := func(share float64) time.Duration { return took[int(share*float64(len(took)))] }
	result := outcome{p50: of(0.5), p99: of(0.99), p999: of(0.999)}
	for _, n := range served {
		result.share = append(result.share, float64(n)/float64(len(took)))
	}
	return result
}

type end struct {
	at, took time.Duration
	on       *instance
}

type ends []end

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].at < e[j].at }
func (e ends) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *ends) Push(x any)        { *e = append(*e, x.(end)) }
func (e *ends) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func exponential(mean time.Duration, random *rand.Rand) time.Duration {
	return time.Duration(random.ExpFloat64()*float64(mean)) + time.Microsecond
}

const usualTime = 10 * time.Millisecond

func alike(_ int, _ time.Duration, random *rand.Rand) time.Duration {
	return exponential(usualTime, random)
}

// mixed is of an app where one request in a hundred takes a second.
func mixed(_ int, _ time.Duration, random *rand.Rand) time.Duration {
	if random.IntN(100) == 0 {
		return time.Second
	}
	return exponential(usualTime, random)
}

func firstIsSlow(number int, _ time.Duration, random *rand.Rand) time.Duration {
	if number == 0 {
		return exponential(10*usualTime, random)
	}
	return exponential(usualTime, random)
}

func TestEqualInstancesShareEvenlyWhateverTheirRequestsAreLike(t *testing.T) {
	for _, instances := range []int{2, 3, 8, 20} {
		for name, service := range map[string]func(int, time.Duration, *rand.Rand) time.Duration{"alike": alike, "mixed": mixed} {
			result := simulation{instances: instances, rate: 500, length: time.Minute, service: service}.run()
			for i, share := range result.share {
				if even := 1 / float64(instances); share < 0.75*even || share > 1.25*even {
					t.Errorf("%s requests: instance %d of %d has %.3f of them", name, i, instances, share)
				}
			}
		}
	}
}

func TestASlowInstanceGetsLessAndTheSlowestRequestsBecomeFast(t *testing.T) {
	for _, rate := range []float64{10, 100, 1000} {
		for _, instances := range []int{2, 3, 8} {
			s := simulation{instances: instances, rate: rate, length: time.Minute, service: firstIsSlow}
			weighted := s.run()
			s.blind = true
			least := s.run()
			t.Logf("%5.0f/s on %d: p99 %v, by the least open alone %v; the slow one's share %.4f and %.4f",
				rate, instances, weighted.p99.Round(time.Millisecond), least.p99.Round(time.Millisecond), weighted.share[0], least.share[0])
			if 3*weighted.p99 > 2*least.p99 || weighted.p50 > least.p50 {
				t.Errorf("%.0f/s on %d: p50 %v and p99 %v, by the least open alone %v and %v", rate, instances, weighted.p50, weighted.p99, least.p50, least.p99)
			}
			if share := weighted.share[0] / weighted.share[1]; share == 0 || share > 0.15 {
				t.Errorf("%.0f/s on %d: the slow one has %.3f of what another has", rate, instances, share)
			}
		}
	}
}

func TestAnInstanceThatIsNotSlowAnyMoreGetsItsShareAgain(t *testing.T) {
	result := simulation{instances: 3, rate: 100, length: 10 * time.Minute, service: func(number int, at time.Duration, random *rand.Rand) time.Duration {
		if number == 0 && at < 2*time.Minute {
			return exponential(10*usualTime, random)
		}
		return exponential(usualTime, random)
	}}.run()
	if result.share[0] < 0.25 { // of the time that counts it was slow in a ninth
		t.Errorf("it had %.3f of all requests, for 8 of 10 minutes as fast as the two others", result.share[0])
	}
}

func TestANewInstanceThatIsColdCostsLessWithASlowStart(t *testing.T) {
	const joins, cold = 10 * time.Second, 5 * time.Second
	s := simulation{instances: 2, rate: 50, length: 40 * time.Second, late: joins, service: func(number int, at time.Duration, random *rand.Rand) time.Duration {
		if number == 1 && at < joins+cold {
			return exponential(20*usualTime, random)
		}
		return exponential(usualTime, random)
	}}
	at, slow := s.run(), s
	slow.slowStart = 2 * cold
	if gentle := slow.run(); gentle.p999 >= at.p999 || gentle.share[1] < 0.1 {
		t.Errorf("with a slow start p99.9 is %v and its share %.3f, without %v and %.3f", gentle.p999, gentle.share[1], at.p999, at.share[1])
	}
}

func TestASlowStartDoesNotKeepCapacityFromASurge(t *testing.T) {
	now := time.Now()
	b := newBalancer(2)
	b.slowStart = time.Minute
	old, young := b.ready[0], b.ready[1]
	old.since, young.since = now.Add(-time.Hour), now
	b.sweep(now)
	if chosen := b.choose(now, anyInstance); chosen != old {
		t.Error("an idle old instance is passed over for a new one")
	}
	old.requests = 10
	if chosen := b.choose(now, anyInstance); chosen != young {
		t.Error("a new instance gets nothing while the old one has ten requests")
	}
	old.requests = 3
	if chosen := b.choose(now, func(i *instance) bool { return i != old }); chosen != young {
		t.Error("a new instance gets nothing while the old one is full")
	}
}

func BenchmarkChoice(b *testing.B) {
	for _, instances := range []int{1, 3, 8, 50} {
		b.Run(strconv.Itoa(instances), func(b *testing.B) {
			balancer, now := newBalancer(instances), time.Now()
			b.ReportAllocs()
			for b.Loop() {
				balancer.choose(now, anyInstance)
			}
		})
	}
}

func BenchmarkLearning(b *testing.B) {
	balancer, now := newBalancer(3), time.Now()
	b.ReportAllocs()
	for b.Loop() {
		balancer.learn(balancer.ready[0], time.Millisecond, now)
	}
}
