package simulate

import (
	"math"
	"time"
)

// The laws in this file are written anew from what is published of them.

// window remembers what was seen, to tell means over a time.
type window struct {
	seen []Sight
	keep time.Duration
}

func (w *window) add(s *Sight) {
	one := *s
	one.instances, one.Waits = nil, nil
	w.seen = append(w.seen, one)
	for len(w.seen) > 2 && s.Now-w.seen[1].Now >= w.keep {
		w.seen = w.seen[1:]
	}
}

// rate gives arrivals per second, inFlight the mean of requests held and being served.
func (w *window) rate() float64 {
	a, b, seconds := w.ends()
	return float64(b.Arrived-a.Arrived) / seconds
}

func (w *window) inFlight() float64 {
	a, b, seconds := w.ends()
	return (b.BusyTime + b.HeldTime - a.BusyTime - a.HeldTime).Seconds() / seconds
}

func (w *window) ends() (a, b Sight, seconds float64) {
	a, b = w.seen[0], w.seen[len(w.seen)-1]
	return a, b, max((b.Now - a.Now).Seconds(), 1e-3)
}

// targetShare is how full the instances are to be, the same for all.
const targetShare = 0.7

// targetRate is the rate at which an instance is that full.
func targetRate(c Conditions) float64 {
	return targetShare * float64(c.Slots) / c.Service.Seconds()
}

// keda is KEDA's HTTP add-on: requests per second over a minute, given to a
// horizontal pod autoscaler with its defaults: a look every 15 s, a tolerance of
// 10%, at most twice as many or 4 more each time, the most of five minutes.
type keda struct {
	window
	recommended []int
}

// NewKEDA is the law of KEDA's HTTP add-on, written anew.
func NewKEDA(Trace, Conditions) Subject { return &keda{window: window{keep: time.Minute}} }

func (*keda) Period() time.Duration { return 15 * time.Second }

func (k *keda) Decide(s *Sight) int {
	k.add(s)
	wanted := k.rate() / targetRate(s.Conditions)
	n := int(math.Ceil(wanted))
	if math.Abs(wanted/float64(max(s.Replicas, 1))-1) <= 0.1 {
		n = s.Replicas
	}
	k.recommended = append(k.recommended, n)
	if len(k.recommended) > 20 {
		k.recommended = k.recommended[1:]
	}
	if n < s.Replicas {
		for _, before := range k.recommended {
			n = max(n, before)
		}
		return min(n, s.Replicas)
	}
	return min(n, max(2*s.Replicas, s.Replicas+4))
}

// nomad is Nomad's autoscaler: the target-value strategy every 10 s on the mean
// load of a minute, nothing for a minute after it did something.
type nomad struct {
	window
	rest time.Duration
}

// NewNomad is that of Nomad's autoscaler, written anew.
func NewNomad(Trace, Conditions) Subject { return &nomad{window: window{keep: time.Minute}} }

func (*nomad) Period() time.Duration { return 10 * time.Second }

func (n *nomad) Decide(s *Sight) int {
	n.add(s)
	wanted := int(math.Ceil(n.inFlight()/(targetShare*float64(s.Conditions.Slots)) - 0.01))
	if s.Now < n.rest || wanted == s.Replicas {
		return s.Replicas
	}
	n.rest = s.Now + time.Minute
	return wanted
}

// aws is target tracking on the requests per target: above it for 86 s before it
// adds, 10% below it for 363 s before it takes away; five minutes between.
type aws struct {
	window
	above, below time.Duration // since when
	rest         time.Duration
}

// NewAWS is AWS target tracking, written anew.
func NewAWS(Trace, Conditions) Subject {
	return &aws{window: window{keep: time.Minute}, above: -1, below: -1}
}

func (*aws) Period() time.Duration { return time.Second }

func (a *aws) Decide(s *Sight) int {
	a.add(s)
	share := a.rate() / float64(max(s.Replicas, 1)) / targetRate(s.Conditions)
	since := func(at *time.Duration, holds bool) time.Duration {
		if !holds {
			*at = -1
			return -1
		}
		if *at < 0 {
			*at = s.Now
		}
		return s.Now - *at
	}
	above, below := since(&a.above, share > 1), since(&a.below, share < 0.9)
	wanted := int(math.Ceil(share * float64(s.Replicas)))
	switch {
	case above >= 86*time.Second:
		a.above, a.rest = s.Now, s.Now+5*time.Minute
		return max(wanted, s.Replicas)
	case below >= 363*time.Second && s.Now >= a.rest:
		a.below, a.rest = s.Now, s.Now+5*time.Minute
		return min(wanted, s.Replicas)
	}
	return s.Replicas
}

// heroku adds a dyno a minute while the 95th percentile of response times is
// above a target, and takes one away while fewer would do.
type heroku struct {
	window
	waits []int64
}

// NewHeroku is that of Heroku's autoscaling, written anew.
func NewHeroku(Trace, Conditions) Subject { return &heroku{window: window{keep: time.Minute}} }

func (*heroku) Period() time.Duration { return time.Minute }

func (h *heroku) Decide(s *Sight) int {
	h.add(s)
	total, count := int64(0), int64(0)
	if h.waits == nil {
		h.waits = make([]int64, len(s.Waits))
	}
	for i, n := range s.Waits {
		total += n - h.waits[i]
	}
	p95 := time.Duration(0)
	for i, n := range s.Waits {
		if count += n - h.waits[i]; count*20 >= total*19 {
			p95 = time.Duration(i) * s.Step
			break
		}
	}
	copy(h.waits, s.Waits)
	// The target is what requests take without waiting, and as long again.
	target := 8 * s.Conditions.Service
	switch {
	case p95 > target:
		return s.Replicas + 1
	case h.rate() < targetRate(s.Conditions)*float64(s.Replicas-1):
		return s.Replicas - 1
	}
	return s.Replicas
}
