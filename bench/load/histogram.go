package load

import (
	"math"
	"math/bits"
	"time"
)

// A histogram has 32 buckets for each doubling, so that a quantile is at most
// 3% above the truth; 1 µs to over an hour.
const (
	bucketBits = 5
	buckets    = (32 - bucketBits + 1) << bucketBits
)

// histogram counts durations.
type histogram struct {
	counts  [buckets]uint32
	n       int
	longest time.Duration
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(d)]++
	h.n++
	h.longest = max(h.longest, d)
}

// bucketOf keeps the highest bits of the microseconds.
func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	shift := max(bits.Len64(us)-bucketBits-1, 0)
	return min(shift<<bucketBits+int(us>>shift), buckets-1)
}

// boundOf is the longest duration of a bucket.
func boundOf(bucket int) time.Duration {
	shift := max(bucket>>bucketBits-1, 0)
	us := uint64(bucket-shift<<bucketBits+1)<<shift - 1
	return time.Duration(us)*time.Microsecond + time.Microsecond - 1
}

// quantile gives an upper bound of the quantile q; 0 if nothing was added.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int(math.Ceil(q * float64(h.n)))
	if h.n == 0 {
		return 0
	}
	for i, count := range h.counts {
		rank -= int(count)
		if rank <= 0 {
			return min(boundOf(i), h.longest)
		}
	}
	return h.longest
}

func (h *histogram) latency() Latency {
	return Latency{
		P50: h.quantile(0.50), P90: h.quantile(0.90), P95: h.quantile(0.95), P99: h.quantile(0.99), Max: h.longest,
	}
}
