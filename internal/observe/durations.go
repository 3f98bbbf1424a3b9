package observe

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// durationBounds are the upper bounds of the histogram's buckets, in seconds: those
// that dashboards expect, and not the many of springtide.Latencies.
func durationBounds() [durationBuckets]float64 {
	return [durationBuckets]float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
}

const durationBuckets = 15

// durations is a histogram over springtide.Latencies.
type durations struct {
	// counts are of each bucket by itself; the last one is of what is longer than
	// all bounds.
	counts [durationBuckets + 1]uint64
	// sum is in seconds.
	sum float64
}

// add counts each fine bucket where its middle belongs: a count is put into a
// wrong bucket only if it is within 9% of the bound.
func (d *durations) add(latencies *springtide.Latencies) {
	bounds := durationBounds()
	for i, count := range latencies {
		if count == 0 {
			continue
		}
		// Bounds are a quarter of an octave apart: the middle is an eighth below.
		middle := springtide.LatencyBound(i).Seconds() / math.Exp2(1.0/8)
		bucket := 0
		for bucket < len(bounds) && middle > bounds[bucket] {
			bucket++
		}
		d.counts[bucket] += uint64(count)
		d.sum += middle * float64(count)
	}
}

func (d *durations) metric(description *prometheus.Desc, s series) prometheus.Metric {
	cumulative := make(map[float64]uint64, durationBuckets)
	total := uint64(0)
	for i, bound := range durationBounds() {
		total += d.counts[i]
		cumulative[bound] = total
	}
	total += d.counts[durationBuckets]
	return prometheus.MustNewConstHistogram(description, total, d.sum, cumulative, s.values()...)
}
