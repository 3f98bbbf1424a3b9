package edge

import (
	"net/http"
	"time"

	"github.com/springtide/springtide"
)

// meter counts the demand of one group. Its gate's lock guards it.
type meter struct {
	demand springtide.Demand
	// touched says that something was counted since the last report.
	touched bool
	// busyUntil is up to when BusyTime is summed.
	busyUntil time.Time
}

func newMeter(group springtide.GroupID, now time.Time) *meter {
	return &meter{demand: springtide.Demand{Group: group}, busyUntil: now}
}

// integrate brings BusyTime up to now; it goes before every change of Busy.
func (m *meter) integrate(now time.Time) {
	if elapsed := now.Sub(m.busyUntil); elapsed > 0 {
		m.demand.BusyTime += elapsed * time.Duration(m.demand.Busy)
		m.busyUntil = now
	}
	m.touched = true
}

func (m *meter) arrived() {
	m.demand.Arrived++
	m.touched = true
}

func (m *meter) held(again bool) {
	m.demand.Held++
	if !again {
		m.demand.Waited++
	}
	m.touched = true
}

func (m *meter) released(waited time.Duration) {
	m.demand.Held--
	m.demand.HeldTime += waited
	m.touched = true
}

func (m *meter) begun(now time.Time) {
	m.integrate(now)
	m.demand.Busy++
}

func (m *meter) ended(now time.Time) {
	m.integrate(now)
	m.demand.Busy--
}

// answered counts the first byte of an instance's answer.
func (m *meter) answered(status int, latency time.Duration) {
	if status >= http.StatusInternalServerError {
		m.demand.Failed++
	}
	m.demand.Latencies.Add(latency)
	m.touched = true
}

func (m *meter) completed(service time.Duration) {
	m.demand.Completed++
	m.demand.Service += service
	m.touched = true
}

func (m *meter) streams(change int) {
	m.demand.Streams += change
	m.touched = true
}

func (m *meter) refused() {
	m.demand.Refused++
	m.touched = true
}

func (m *meter) limited(per springtide.RatePer, count int) {
	if m.demand.Limited == nil {
		m.demand.Limited = map[springtide.RatePer]int{}
	}
	m.demand.Limited[per] += count
	m.touched = true
}

func (m *meter) ejected() {
	m.demand.Ejected++
	m.touched = true
}

func (m *meter) retried() {
	m.demand.Retried++
	m.touched = true
}

func (m *meter) sent(bytes int64) {
	m.demand.BytesOut += bytes
	m.touched = true
}

func (m *meter) cached(result springtide.CacheResult, count int) {
	if m.demand.Cache == nil {
		m.demand.Cache = map[springtide.CacheResult]int{}
	}
	m.demand.Cache[result] += count
	m.touched = true
}

// quiet says that there is nothing to report.
func (m *meter) quiet() bool {
	return !m.touched && m.demand.Busy == 0 && m.demand.Held == 0 && m.demand.Streams == 0
}

// take gives the demand of the interval that ends now, and begins the next.
func (m *meter) take(now time.Time, interval time.Duration) springtide.Demand {
	m.integrate(now)
	taken := m.demand
	taken.Interval = interval
	m.demand = springtide.Demand{Group: taken.Group, Held: taken.Held, Busy: taken.Busy, Streams: taken.Streams}
	m.touched = false
	return taken
}

// putBack adds the counts of an interval that could not be reported.
func (m *meter) putBack(d *springtide.Demand) {
	m.demand.Arrived += d.Arrived
	m.demand.Completed += d.Completed
	m.demand.Service += d.Service
	m.demand.BusyTime += d.BusyTime
	m.demand.Waited += d.Waited
	m.demand.HeldTime += d.HeldTime
	m.demand.Refused += d.Refused
	m.demand.Failed += d.Failed
	m.demand.Retried += d.Retried
	m.demand.Ejected += d.Ejected
	m.demand.Latencies.Merge(&d.Latencies)
	m.demand.BytesOut += d.BytesOut
	for result, count := range d.Cache {
		m.cached(result, count)
	}
	for per, count := range d.Limited {
		m.limited(per, count)
	}
	m.touched = true
}
