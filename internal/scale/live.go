package scale

import (
	"time"

	"github.com/springtide/springtide"
)

// Live is how a group is doing now, for people and for metrics.
type Live struct {
	// Second is the last whole second, TenSeconds the last ten.
	Second     Figures `json:"second"`
	TenSeconds Figures `json:"ten_seconds"`
	// Held, Busy and Streams are of now, over all edges.
	Held    int `json:"held"`
	Busy    int `json:"busy"`
	Streams int `json:"streams"`
	// Total counts since the meter began; it only grows.
	Total Totals `json:"total"`
}

// Figures are of some seconds.
type Figures struct {
	// Requests is how many arrived per second.
	Requests float64 `json:"requests_per_second"`
	// P50 and P99 are times to the first byte of the answer.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	// Errors counts 5xx answers of instances and those the edge gave itself.
	Errors int `json:"errors"`
}

// Totals are sums over all that edges reported of a group.
type Totals struct {
	Arrived   int64                `json:"arrived"`
	Completed int64                `json:"completed"`
	Waited    int64                `json:"waited"`
	HeldTime  time.Duration        `json:"held_time"`
	Refused   int64                `json:"refused"`
	Failed    int64                `json:"failed"`
	Retried   int64                `json:"retried"`
	BytesOut  int64                `json:"bytes_out"`
	Latencies springtide.Latencies `json:"latencies"`
}

func (t *Totals) add(d *springtide.Demand) {
	t.Arrived += int64(d.Arrived)
	t.Completed += int64(d.Completed)
	t.Waited += int64(d.Waited)
	t.HeldTime += d.HeldTime
	t.Refused += int64(d.Refused)
	t.Failed += int64(d.Failed)
	t.Retried += int64(d.Retried)
	t.BytesOut += d.BytesOut
	t.Latencies.Merge(&d.Latencies)
}

// liveSeconds is how many seconds of figures are kept: ten whole ones and the
// one that has begun.
const liveSeconds = 11

// liveSecond sums one second.
type liveSecond struct {
	index     int64 // which second; the slot is stale if it is another
	arrived   int
	errors    int
	latencies springtide.Latencies
	// completed and service are of the answers, heldTime is of requests that were
	// let go.
	completed         int
	service, heldTime time.Duration
}

// liveRing holds the last seconds. Its zero value is empty.
type liveRing struct{ slots []liveSecond }

func (r *liveRing) add(second int64, d *springtide.Demand) {
	if r.slots == nil {
		r.slots = make([]liveSecond, liveSeconds)
		for i := range r.slots {
			r.slots[i].index = -1
		}
	}
	slot := &r.slots[second%liveSeconds]
	if slot.index != second {
		*slot = liveSecond{index: second}
	}
	slot.arrived += d.Arrived
	slot.errors += d.Failed + d.Refused
	slot.completed += d.Completed
	slot.service += d.Service
	slot.heldTime += d.HeldTime
	slot.latencies.Merge(&d.Latencies)
}

// at gives the sums of a second; nil where there are none.
func (r *liveRing) at(second int64) *liveSecond {
	if second < 0 || r.slots == nil || r.slots[second%liveSeconds].index != second {
		return nil
	}
	return &r.slots[second%liveSeconds]
}

// figures sums the n seconds before the given one.
func (r *liveRing) figures(second int64, n int64) Figures {
	var f Figures
	var latencies springtide.Latencies
	arrived := 0
	for i := range r.slots {
		slot := &r.slots[i]
		if slot.index >= 0 && slot.index >= second-n && slot.index < second {
			arrived += slot.arrived
			f.Errors += slot.errors
			latencies.Merge(&slot.latencies)
		}
	}
	f.Requests = float64(arrived) / float64(n)
	f.P50, f.P99 = latencies.Quantile(0.50), latencies.Quantile(0.99)
	return f
}
