package main

import (
	"math"
	"time"
)

// The laws in this file are written anew from what is published of them.

// window remembers what was seen, to tell means over a time.
type window struct {
	seen []sight
	keep time.Duration
}

func (w *window) add(s *sight) {
	one := *s
	one.instances, one.waits = nil, nil
	w.seen = append(w.seen, one)
	for len(w.seen) > 2 && s.now-w.seen[1].now >= w.keep {
		w.seen = w.seen[1:]
	}
}

// rate gives arrivals per second, inFlight the mean of requests held and being served.
func (w *window) rate() float64 {
	a, b, seconds := w.ends()
	return float64(b.arrived-a.arrived) / seconds
}

func (w *window) inFlight() float64 {
	a, b, seconds := w.ends()
	return (b.busyTime + b.heldTime - a.busyTime - a.heldTime).Seconds() / seconds
}

func (w *window) ends() (a, b sight, seconds float64) {
	a, b = w.seen[0], w.seen[len(w.seen)-1]
	return a, b, max((b.now - a.now).Seconds(), 1e-3)
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

func newKEDA(Trace, Conditions) subject { return &keda{window: window{keep: time.Minute}} }

func (*keda) period() time.Duration { return 15 * time.Second }

func (k *keda) decide(s *sight) int {
	k.add(s)
	wanted := k.rate() / targetRate(s.conditions)
	n := int(math.Ceil(wanted))
	if math.Abs(wanted/float64(max(s.replicas, 1))-1) <= 0.1 {
		n = s.replicas
	}
	k.recommended = append(k.recommended, n)
	if len(k.recommended) > 20 {
		k.recommended = k.recommended[1:]
	}
	if n < s.replicas {
		for _, before := range k.recommended {
			n = max(n, before)
		}
		return min(n, s.replicas)
	}
	return min(n, max(2*s.replicas, s.replicas+4))
}

// nomad is Nomad's autoscaler: the target-value strategy every 10 s on the mean
// load of a minute, nothing for a minute after it did something.
type nomad struct {
	window
	rest time.Duration
}

func newNomad(Trace, Conditions) subject { return &nomad{window: window{keep: time.Minute}} }

func (*nomad) period() time.Duration { return 10 * time.Second }

func (n *nomad) decide(s *sight) int {
	n.add(s)
	wanted := int(math.Ceil(n.inFlight()/(targetShare*float64(s.conditions.Slots)) - 0.01))
	if s.now < n.rest || wanted == s.replicas {
		return s.replicas
	}
	n.rest = s.now + time.Minute
	return wanted
}

// aws is target tracking on the requests per target: above it for 86 s before it
// adds, 10% below it for 363 s before it takes away; five minutes between.
type aws struct {
	window
	above, below time.Duration // since when
	rest         time.Duration
}

func newAWS(Trace, Conditions) subject {
	return &aws{window: window{keep: time.Minute}, above: -1, below: -1}
}

func (*aws) period() time.Duration { return time.Second }

func (a *aws) decide(s *sight) int {
	a.add(s)
	share := a.rate() / float64(max(s.replicas, 1)) / targetRate(s.conditions)
	since := func(at *time.Duration, holds bool) time.Duration {
		if !holds {
			*at = -1
			return -1
		}
		if *at < 0 {
			*at = s.now
		}
		return s.now - *at
	}
	above, below := since(&a.above, share > 1), since(&a.below, share < 0.9)
	wanted := int(math.Ceil(share * float64(s.replicas)))
	switch {
	case above >= 86*time.Second:
		a.above, a.rest = s.now, s.now+5*time.Minute
		return max(wanted, s.replicas)
	case below >= 363*time.Second && s.now >= a.rest:
		a.below, a.rest = s.now, s.now+5*time.Minute
		return min(wanted, s.replicas)
	}
	return s.replicas
}

// heroku adds a dyno a minute while the 95th percentile of response times is
// above a target, and takes one away while fewer would do.
type heroku struct {
	window
	waits []int64
}

func newHeroku(Trace, Conditions) subject { return &heroku{window: window{keep: time.Minute}} }

func (*heroku) period() time.Duration { return time.Minute }

func (h *heroku) decide(s *sight) int {
	h.add(s)
	total, count := int64(0), int64(0)
	if h.waits == nil {
		h.waits = make([]int64, len(s.waits))
	}
	for i, n := range s.waits {
		total += n - h.waits[i]
	}
	p95 := time.Duration(0)
	for i, n := range s.waits {
		if count += n - h.waits[i]; count*20 >= total*19 {
			p95 = time.Duration(i) * s.step
			break
		}
	}
	copy(h.waits, s.waits)
	// The target is what requests take without waiting, and as long again.
	target := 8 * s.conditions.Service
	switch {
	case p95 > target:
		return s.replicas + 1
	case h.rate() < targetRate(s.conditions)*float64(s.replicas-1):
		return s.replicas - 1
	}
	return s.replicas
}
