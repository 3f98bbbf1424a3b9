package scale

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// aim is one target besides the concurrency, and how many instances it needs.
// As in [demand], every number is rounded as it is printed before it is used.
type aim struct {
	name string
	// wanted is what is needed and each what one instance gives, in the unit of
	// the target: requests a second, requests at a time, or cores.
	wanted, each float64
	lasting      float64       // what is needed at the rate of now, in that unit
	service      time.Duration // of p95: how long a request takes at the target
	need         int
	words        string // spell the need out
	note         string // what to know besides
}

// cpuTolerance is by how much the processors may be busier than they are to be
// before more instances are ordered: what Kubernetes' autoscaler tolerates.
const cpuTolerance = 0.1

// aims reckons what the targets besides the concurrency need. replicas are the
// instances that there are but for the spare ones.
func aims(spec Spec, h History, d demand, minute, rate float64, replicas int) []aim {
	var all []aim
	if spec.Scale.Requests > 0 {
		all = append(all, requestsAim(spec.Scale.Requests, d, minute, rate))
	}
	if spec.Scale.P95 > 0 {
		all = append(all, latencyAim(spec.Scale.P95, h, d, minute, replicas))
	}
	if spec.Scale.CPU > 0 {
		all = append(all, processorAim(spec, h, d, replicas))
	}
	return all
}

// requestsAim divides the rate: that of the last minute, or of now less two
// standard deviations, or the one that is expected. It has no head-room: that is
// for whoever says how many an instance is to have.
func requestsAim(each float64, d demand, minute, rate float64) aim {
	certain := roundRate(max(minute, rate-2*math.Sqrt(d.noise*rate/6)))
	a := aim{name: "requests", wanted: max(certain, d.coming), each: each, lasting: certain}
	a.need = instances(a.wanted, each)
	a.words = fmt.Sprintf("%s req/s", number(certain))
	if d.coming > certain {
		a.words += fmt.Sprintf(", %s expected in %s (a cold start)", number(d.coming), spell(d.ahead))
	}
	a.words += fmt.Sprintf(", %s each", number(each))
	return a
}

// latencyAim is rules 2 to 5 with as many slots as an instance may have in use
// without its latency exceeding the target.
func latencyAim(target time.Duration, h History, d demand, minute float64, replicas int) aim {
	a := aim{name: "p95"}
	k := h.Curve.knee(target)
	if k.base > 0 {
		a.note = fmt.Sprintf("p95 is %s without load, so that no number of instances holds %s", spell(k.base), spell(target))
	}
	a.each = math.Floor(k.slots*10+1e-9) / 10
	if k.slots == 0 || a.each >= float64(d.slots) || !d.known {
		return a
	}
	a.service = roundService(min(k.service, h.Service))
	rate := max(d.rate, d.expected)
	busy := round(rate*a.service.Seconds(), 0.1)
	room := headroom(d.calm(minute, rate)*a.service.Seconds(), d.noise, a.each, a.service)
	a.wanted, a.lasting = busy+room, round(d.rate*a.service.Seconds(), 0.1)+room
	a.need = instances(a.wanted, a.each)
	enough := d.coming == 0 && a.need > replicas && instances(busy+room/2, a.each) <= replicas
	if enough {
		a.need = replicas
	}
	var b strings.Builder
	fmt.Fprintf(&b, "p95 holds %s up to %s at a time: %s req/s", spell(held(k, target)), number(a.each), number(d.rate))
	if d.expected > 0 {
		fmt.Fprintf(&b, ", %s expected in %s (a cold start),", number(d.expected), spell(d.ahead))
	}
	fmt.Fprintf(&b, " x %s = %s busy slots, %s slots of head-room", spell(a.service), number(busy), number(room))
	if enough {
		b.WriteString(" (half of it is enough)")
	}
	fmt.Fprintf(&b, ", %s slots each", number(a.each))
	a.words = b.String()
	return a
}

// held is the latency that is held: the target, or what can be had instead.
func held(k knee, target time.Duration) time.Duration {
	if k.base > 0 {
		return roundService(time.Duration(overBase * float64(k.base)))
	}
	return target
}

// processorAim is the ratio of what the processors do to what they are to do, as
// Kubernetes' horizontal pod autoscaler has it, and of what they will do where
// the rate rises.
func processorAim(spec Spec, h History, d demand, replicas int) aim {
	a := aim{name: "cpu"}
	if !h.Processor {
		a.note = "the processors are not measured"
		return a
	}
	limit := spec.Limits.CPU
	if limit <= 0 {
		limit = 1
	}
	a.each = round(limit*spec.Scale.CPU, 0.001)
	// They are measured once a second: of the last whole one not all may be known.
	const window = 10
	busy, arrived := 0.0, 0.0
	end := max(len(h.Seconds)-1, 0)
	last := h.Seconds[max(end-window, 0):end]
	for _, second := range last {
		busy += float64(second.Cores)
		arrived += float64(second.Arrived)
	}
	busy = round(busy/float64(max(len(last), 1)), 0.01)
	a.wanted, a.lasting = busy, busy
	a.words = fmt.Sprintf("%s cores in use", number(busy))
	if seen := arrived / float64(max(len(last), 1)); d.coming > seen && seen > 0 {
		a.wanted = round(busy*min(d.coming/seen, mostRise), 0.01)
		a.words += fmt.Sprintf(", %s expected in %s (a cold start)", number(a.wanted), spell(d.ahead))
	}
	a.need = instances(a.wanted, a.each)
	if a.need > replicas && a.wanted <= (1+cpuTolerance)*a.each*float64(replicas)+1e-9 {
		a.need = replicas
		a.words += " (within 10%)"
	}
	a.words += fmt.Sprintf(", %s each", number(a.each))
	return a
}

// stable gives the need of the target, in instances, at these means.
func (a aim) stable(noise, arrived, cores float64) float64 {
	switch {
	case a.each <= 0 || a.words == "":
		return 0
	case a.name == "cpu":
		return cores / a.each
	case a.service > 0:
		slots := arrived * a.service.Seconds()
		return (slots + headroom(slots, noise, a.each, a.service)) / a.each
	}
	return arrived / a.each
}
