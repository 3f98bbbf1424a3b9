package demand

import (
	"math"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestAHistogramForgetsHalfOfItselfEachDay(t *testing.T) {
	h := newHistogram(0.01, noon)
	for range 300 {
		h.add(noon, 2, 1)
	}
	if got := h.Percentile(0.5); math.Abs(got/2-1) > 0.06 {
		t.Errorf("half of the samples are 2, told as %v", got)
	}
	later := noon.Add(3 * 24 * time.Hour)
	for range 300 {
		h.add(later, 0.1, 1)
	}
	if got := h.Percentile(0.85); got > 0.12 {
		t.Errorf("three days later an eighth is left of them, but 85%% are below %v", got)
	}
	if got := h.Percentile(0.95); got < 2 {
		t.Errorf("an eighth is left, but 95%% are below %v", got)
	}
	h.add(noon.Add(300*24*time.Hour), 1, 1) // weights are brought down, not lost in infinity
	if got := h.Percentile(0.9); math.Abs(got-1) > 0.1 {
		t.Errorf("%v, want the only sample that counts", got)
	}
}

func TestOnlyTheMostMemoryOfADayCounts(t *testing.T) {
	o, u := newObserved(noon), &used{}
	for i := range 100 {
		o.sample(noon.Add(time.Duration(i)*time.Minute), u, springtide.InstanceUsage{CPU: time.Duration(i) * 30 * time.Second, Memory: int64(i+1) << 20})
	}
	if math.Abs(o.Memory.Total-1) > 0.1 || o.Samples != 99 || o.PeakMemory != 100<<20 {
		t.Errorf("%v samples of memory, %d of processors, peak %d", o.Memory.Total, o.Samples, o.PeakMemory)
	}
	limits := o.Limits()
	if limits.CPU < 0.55 || limits.CPU > 0.65 || limits.Memory < 110<<20 || limits.Memory > 130<<20 {
		t.Errorf("half a processor and 100 MiB give %+v", limits)
	}
}

func TestAnInstanceThatRanOutOfMemoryAsksForMore(t *testing.T) {
	o, u := newObserved(noon), &used{}
	o.sample(noon, u, springtide.InstanceUsage{Memory: 60 << 20})
	dead := springtide.Instance{Reason: "killed: out of memory (limit 64 MiB)", Restarts: 0}
	for range 3 { // seen three times, it died once
		o.died(noon, u, dead, 64<<20)
	}
	if o.OutOfMemory != 1 || o.Limits().Memory < 164<<20 {
		t.Errorf("%d times, %d bytes", o.OutOfMemory, o.Limits().Memory)
	}
	if o.died(noon, u, springtide.Instance{Reason: "exit status 1", Restarts: 1}, 64<<20) {
		t.Error("it ended by itself")
	}
}
