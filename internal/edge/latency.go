package edge

import (
	"math"
	"math/bits"
	"time"
)

// How latency counts in balancing. The figures are those that did best in the
// simulation of the tests.
const (
	// risingShare and fallingShare are how far one answer moves what is known:
	// slowness is believed sooner than speed.
	risingShare, fallingShare = 1.0 / 8, 1.0 / 32
	// usualShare is how much less it moves what is usual for all instances.
	usualShare = 1.0 / 4
	// forgottenShare is how far an instance that answered nothing for a while
	// comes back to what is usual: it is tried again after some 15 s.
	forgottenShare = 1.0 / 128
	// tolerated is the slowness that counts as chance, in doublings.
	tolerated = 1
	// heaviest is the most that slowness makes of a request.
	heaviest = 16
	// lightest is the share that a new instance begins with.
	lightest = 0.1
)

// pace is how long answers take to begin, as the moving average of its logarithm
// to base 2; 0: unknown. One answer that takes a thousand times as long as the
// others is thus an answer among others, and not a reason to keep away from its
// instance, as it would be by a mean; what is slow throughout shows all the same.
type pace float64

// paceOf gives the logarithm of a latency, interpolated between powers of two: it
// is off by less than a tenth.
func paceOf(latency time.Duration) pace {
	n := uint64(max(latency, time.Microsecond))
	whole := bits.Len64(n) - 1
	return pace(whole-1) + pace(n)/pace(uint64(1)<<whole)
}

// learn takes the pace of one answer; share scales how far it counts.
func (p *pace) learn(sample pace, share float64) {
	switch {
	case *p == 0:
		*p = sample
	case sample > *p:
		*p += (sample - *p) * pace(risingShare*share)
	default:
		*p += (sample - *p) * pace(fallingShare*share)
	}
}

// forget moves what is known some way to what is usual.
func (p *pace) forget(usual pace) {
	if *p != 0 {
		*p += (usual - *p) * forgottenShare
	}
}

// weight says for how many requests one counts on an instance of that pace.
func (p pace) weight(usual pace) float64 {
	if p == 0 || p-usual <= tolerated {
		return 1
	}
	return min(math.Exp2(float64(p-usual)), heaviest)
}
