package simulate

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestEveryRequestIsServedOrDroppedAndCountedOnce(t *testing.T) {
	c := Conditions{ColdStart: 3 * time.Second, Service: 200 * time.Millisecond, Slots: 10, Min: 1, Max: 50, HoldFor: 5 * time.Second, HoldLimit: 500, Seed: 1}
	flat := Trace{Name: "too much", Rates: slices.Repeat([]float64{80}, 120), Step: -1, Clump: 1}
	o := Run(flat, c, fixed(1)) // serves about 50 a second
	served := float64(o.Requests - o.Dropped)
	if o.Dropped == 0 || math.Abs(served/120-52) > 4 {
		t.Errorf("%d of %d dropped: %.1f a second were served, one instance serves 50", o.Dropped, o.Requests, served/120)
	}
	if o.Late < o.Dropped || o.Late > o.Requests || o.WindowLate != o.Late || o.WindowRequests != o.Requests {
		t.Errorf("%+v", Outcome{Requests: o.Requests, Late: o.Late, Dropped: o.Dropped, WindowRequests: o.WindowRequests, WindowLate: o.WindowLate})
	}
	if math.Abs(o.InstanceSeconds-120*2) > 1.01 && math.Abs(o.InstanceSeconds-120) > 5 {
		t.Errorf("%.1f instance-seconds", o.InstanceSeconds)
	}
}
