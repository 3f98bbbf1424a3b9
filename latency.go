package springtide

import (
	"encoding/json"
	"math"
	"time"
)

// latencyBuckets spans 0.1 ms to about 3 minutes in steps of a quarter of an octave.
const latencyBuckets = 84

// Latencies is a histogram of durations in logarithmic buckets 19% apart. Its
// zero value is empty.
type Latencies [latencyBuckets]uint32

// LatencyBound gives the upper bound of bucket i.
func LatencyBound(i int) time.Duration {
	return time.Duration(float64(100*time.Microsecond) * math.Exp2(float64(i)/4))
}

// Add counts one duration.
func (l *Latencies) Add(d time.Duration) {
	i := 0
	if d > 100*time.Microsecond {
		i = int(math.Ceil(4 * math.Log2(float64(d)/float64(100*time.Microsecond))))
	}
	l[min(i, latencyBuckets-1)]++
}

// Merge adds the counts of another histogram.
func (l *Latencies) Merge(other *Latencies) {
	for i, n := range other {
		l[i] += n
	}
}

// Count gives how many durations were added.
func (l *Latencies) Count() int {
	n := 0
	for _, c := range l {
		n += int(c)
	}
	return n
}

// Quantile gives the upper bound of the bucket that holds the quantile q, 0 < q
// <= 1; 0 if the histogram is empty.
func (l *Latencies) Quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(l.Count())))
	if rank == 0 {
		return 0
	}
	for i, c := range l {
		rank -= int(c)
		if rank <= 0 {
			return LatencyBound(i)
		}
	}
	return LatencyBound(latencyBuckets - 1)
}

// MarshalJSON writes bucket and count in turn, of the buckets that are not empty.
func (l Latencies) MarshalJSON() ([]byte, error) {
	pairs := make([]uint32, 0, 16)
	for i, n := range l {
		if n > 0 {
			pairs = append(pairs, uint32(i), n)
		}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON is the reverse of MarshalJSON.
func (l *Latencies) UnmarshalJSON(data []byte) error {
	var pairs []uint32
	if err := json.Unmarshal(data, &pairs); err != nil {
		return err
	}
	*l = Latencies{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] >= latencyBuckets {
			return Errorf(Invalid, "latency bucket %d: there are %d", pairs[i], latencyBuckets)
		}
		l[pairs[i]] = pairs[i+1]
	}
	return nil
}
