package demand

import (
	"math"
	"time"
)

// Histogram counts samples in buckets, each 5% wider than the one before, and
// forgets: a sample weighs half as much as one a day younger. It is the method of
// Kubernetes' vertical pod autoscaler (pkg/recommender/util, decaying histogram),
// written anew. Its zero value is not usable: see newHistogram.
type Histogram struct {
	// First is the upper bound of the first bucket.
	First float64 `json:"first"`
	// Since is the time at which a sample weighs 1.
	Since   time.Time `json:"since"`
	Weights []float64 `json:"weights"`
	Total   float64   `json:"total"`
}

const (
	growth   = 1.05
	buckets  = 200
	halfLife = 24 * time.Hour
	// farthest is how many half-lives weights may have grown by before they are
	// brought down again.
	farthest = 100
)

func newHistogram(first float64, now time.Time) Histogram {
	return Histogram{First: first, Since: now, Weights: make([]float64, buckets)}
}

// bucket finds that of a value: bucket i ends at First x (1.05^(i+1) - 1) / 0.05.
func (h *Histogram) bucket(value float64) int {
	if value < h.First {
		return 0
	}
	i := int(math.Log(value/h.First*(growth-1)+1) / math.Log(growth))
	return min(max(i, 0), buckets-1)
}

// add counts a sample, or takes one back that was added with that time.
func (h *Histogram) add(now time.Time, value, weight float64) {
	if math.IsNaN(value) || value < 0 {
		return
	}
	age := now.Sub(h.Since).Hours() / halfLife.Hours()
	if age > farthest {
		for i := range h.Weights {
			h.Weights[i] *= math.Exp2(-age)
		}
		h.Total *= math.Exp2(-age)
		h.Since, age = now, 0
	}
	weight *= math.Exp2(max(age, -farthest))
	i := h.bucket(value)
	weight = max(weight, -h.Weights[i])
	h.Weights[i] += weight
	h.Total += weight
}

// Percentile gives the upper bound of the bucket that holds it, 0 < p <= 1; 0 if
// there are no samples.
func (h *Histogram) Percentile(p float64) float64 {
	if h.Total <= 0 || len(h.Weights) != buckets {
		return 0
	}
	sum, last := 0.0, 0
	for i, weight := range h.Weights {
		if weight < h.Total*1e-9 {
			continue
		}
		last = i
		if sum += weight; sum >= p*h.Total*(1-1e-9) {
			break
		}
	}
	return h.First * (math.Pow(growth, float64(last+1)) - 1) / (growth - 1)
}
