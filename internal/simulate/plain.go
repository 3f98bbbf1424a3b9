package simulate

import "time"

// fixed is always the same number: what the peak needs.
type fixed int

// NewFixedPeak has what the highest rate needs, all the time.
func NewFixedPeak(trace Trace, c Conditions) Subject {
	peak := 0
	for _, rate := range trace.Rates {
		peak = max(peak, needed(rate, c))
	}
	return fixed(peak)
}

func (f fixed) Decide(*Sight) int { return int(f) }

// clairvoyant knows the rates to come, but not the noise: it has what the
// highest rate needs until whatever it orders now is there.
type clairvoyant struct{ need []int }

// NewClairvoyant knows the rates to come.
func NewClairvoyant(trace Trace, c Conditions) Subject {
	lead := int(1.5*c.ColdStart.Seconds()) + 2
	need := make([]int, len(trace.Rates))
	var highest []int // indices of falling needs within the lead
	own := make([]int, len(trace.Rates))
	for i, rate := range trace.Rates {
		own[i] = needed(rate, c)
	}
	for i := len(own) - 1; i >= 0; i-- {
		for len(highest) > 0 && own[highest[len(highest)-1]] <= own[i] {
			highest = highest[:len(highest)-1]
		}
		highest = append(highest, i)
		for highest[0] > i+lead {
			highest = highest[1:]
		}
		need[i] = own[highest[0]]
	}
	return clairvoyant{need}
}

func (k clairvoyant) Decide(s *Sight) int {
	return k.need[min(int(s.Now/time.Second), len(k.need)-1)]
}
