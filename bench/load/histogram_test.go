package load

import (
	"testing"
	"time"
)

func TestAQuantileIsAtMostThreePercentAboveTheTruth(t *testing.T) {
	var h histogram
	for i := 1; i <= 100_000; i++ {
		h.add(time.Duration(i) * 37 * time.Microsecond)
	}
	for _, q := range []float64{0.001, 0.5, 0.9, 0.99, 0.999, 1} {
		truth := time.Duration(q*100_000) * 37 * time.Microsecond
		if got := h.quantile(q); got < truth || float64(got) > 1.04*float64(truth) {
			t.Errorf("quantile %v is %v, want %v or a little more", q, got, truth)
		}
	}
}

func TestEveryDurationIsWithinItsBucket(t *testing.T) {
	last := -1
	for us := range int64(1 << 20) {
		d := time.Duration(us) * time.Microsecond
		bucket := bucketOf(d)
		if bucket != last && bucket != last+1 {
			t.Fatalf("%v is in bucket %d, after %d", d, bucket, last)
		}
		if boundOf(bucket) < d || bucket > 0 && boundOf(bucket-1) >= d {
			t.Fatalf("%v is in bucket %d, which ends at %v", d, bucket, boundOf(bucket))
		}
		last = bucket
	}
	if got := bucketOf(1000 * time.Hour); got != buckets-1 {
		t.Errorf("a very long time is in bucket %d", got)
	}
}

func TestAnEmptyHistogramHasNoLatency(t *testing.T) {
	if got := (&histogram{}).latency(); got != (Latency{}) {
		t.Errorf("%+v", got)
	}
}
