package demand

import (
	"encoding/json"
	"math"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Observed is what the instances of a process used, as far as it is remembered.
type Observed struct {
	// CPU is in cores of one instance, each sample the mean of some seconds; Memory
	// in bytes, each sample the most of an instance in a day.
	CPU    Histogram `json:"cpu"`
	Memory Histogram `json:"memory"`
	// Samples were taken from First to Last.
	Samples int       `json:"samples"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	// PeakCPU and PeakMemory are the most ever.
	PeakCPU    float64 `json:"peak_cpu"`
	PeakMemory int64   `json:"peak_memory"`
	// OutOfMemory counts instances that the kernel ended for want of memory, the
	// last one at LastOutOfMemory.
	OutOfMemory     int       `json:"out_of_memory"`
	LastOutOfMemory time.Time `json:"last_out_of_memory,omitzero"`
}

func newObserved(now time.Time) *Observed {
	return &Observed{CPU: newHistogram(0.01, now), Memory: newHistogram(4<<20, now), First: now}
}

// readObserved reads what was stored; what cannot be read begins anew.
func readObserved(stored []byte, now time.Time) *Observed {
	o := newObserved(now)
	if err := json.Unmarshal(stored, o); err != nil || len(o.CPU.Weights) != buckets || len(o.Memory.Weights) != buckets {
		return newObserved(now)
	}
	return o
}

// used is the last sample of an instance.
type used struct {
	at  time.Time
	cpu time.Duration
	// peak is the most memory within the day that began then.
	peak  int64
	began time.Time
	// died is when it was last ended for want of memory, by its number of restarts.
	died int
}

// sample takes in what an instance uses; it gives the processor time since the
// sample before.
func (o *Observed) sample(now time.Time, u *used, use springtide.InstanceUsage) (cpu time.Duration) {
	if elapsed := now.Sub(u.at); !u.at.IsZero() && use.CPU >= u.cpu && elapsed > 0 {
		cpu = use.CPU - u.cpu
		cores := cpu.Seconds() / elapsed.Seconds()
		o.CPU.add(now, cores, 1)
		o.PeakCPU = max(o.PeakCPU, cores)
		o.Samples++
	}
	u.at, u.cpu = now, use.CPU
	o.Last = now
	o.peak(now, u, use.Memory)
	return cpu
}

// peak takes in how much memory an instance holds: only the most of a day is a
// sample of its own.
func (o *Observed) peak(now time.Time, u *used, memory int64) {
	o.PeakMemory = max(o.PeakMemory, memory)
	if u.began.IsZero() || now.Sub(u.began).Abs() >= 24*time.Hour {
		u.began, u.peak = now, 0
	}
	if memory <= u.peak {
		return
	}
	if u.peak > 0 {
		o.Memory.add(u.began, float64(u.peak), -1)
	}
	o.Memory.add(u.began, float64(memory), 1)
	u.peak = memory
}

// outOfMemory is how a reason begins that says so.
const outOfMemory = "killed: out of memory"

// died takes in that an instance was ended for want of memory: it would have
// needed a fifth more than it may have, or 100 MiB.
func (o *Observed) died(now time.Time, u *used, instance springtide.Instance, limit int64) bool {
	if !strings.HasPrefix(instance.Reason, outOfMemory) || u.died == instance.Restarts+1 {
		return false
	}
	u.died = instance.Restarts + 1
	o.OutOfMemory++
	o.LastOutOfMemory = now
	most := max(limit, u.peak)
	o.peak(now, u, most+max(most/5, 100<<20))
	return true
}

// The recommendation, as VPA makes it: a high percentile and a margin. A limit is
// where an instance is throttled or ended, not what it usually needs, so the
// percentiles are those of VPA's upper bound.
const (
	limitPercentile = 0.95
	margin          = 1.15
	leastCPU        = 0.05
	leastMemory     = 32 << 20
)

// Limits are what is recommended for one instance; zero where nothing is known.
func (o *Observed) Limits() springtide.Limits {
	var limits springtide.Limits
	if o.CPU.Total > 0 {
		limits.CPU = max(math.Ceil(o.CPU.Percentile(limitPercentile)*margin*20)/20, leastCPU)
	}
	if o.Memory.Total > 0 {
		const step = 8 << 20
		limits.Memory = max((int64(o.Memory.Percentile(limitPercentile)*margin)+step-1)/step*step, leastMemory)
	}
	return limits
}

// write gives what readObserved reads.
func (o *Observed) write() []byte {
	for _, weights := range [][]float64{o.CPU.Weights, o.Memory.Weights} {
		for i := range weights { // what is forgotten takes no room
			if weights[i] != 0 && weights[i] < 1e-6 {
				weights[i] = 0
			}
		}
	}
	stored, err := json.Marshal(o)
	if err != nil {
		panic(err) // a weight is no number: add refuses those
	}
	return stored
}
