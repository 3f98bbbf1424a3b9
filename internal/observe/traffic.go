package observe

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// traffic collects what the edges saw. Edges report what was added since their
// last report, and what they have in hand.
type traffic struct {
	counters  []trafficCounter
	gauges    []trafficGauge
	durations *prometheus.Desc
	edges     *prometheus.Desc
	cache     *prometheus.Desc
	cached    *prometheus.Desc
	refused   *prometheus.Desc
	limited   *prometheus.Desc
	flooding  *prometheus.Desc

	mutex sync.Mutex
	seen  map[series]*seen
	// inHand is the last that each edge said of each group.
	inHand map[string]map[springtide.GroupID]springtide.Demand
	// sizes is what the cache of each edge holds.
	sizes map[string]springtide.CacheSize
	// floods are what each edge has seen.
	floods map[string]springtide.FloodCounts
	// connected counts edges.
	connected int
}

// seen is what all edges saw of a group since the beginning.
type seen struct {
	total     totals
	durations durations
	cache     map[springtide.CacheResult]int64
	limited   map[springtide.RatePer]int64
}

// totals are the sums of the counts of demand.
type totals struct {
	arrived, waited, refused, failed, retried, ejected int
	bytesOut                                           int64
	heldTime, busyTime                                 time.Duration
}

type trafficCounter struct {
	description *prometheus.Desc
	value       func(totals) float64
}

type trafficGauge struct {
	description *prometheus.Desc
	value       func(springtide.Demand) int
}

func newTraffic() *traffic {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, seriesLabels(), nil)
	}
	return &traffic{
		counters: []trafficCounter{
			{
				describe("tide_edge_requests_total", "Requests that arrived at the edges."),
				func(t totals) float64 { return float64(t.arrived) },
			},
			{
				describe("tide_edge_held_requests_total", "Requests that were held until an instance could take them."),
				func(t totals) float64 { return float64(t.waited) },
			},
			{
				describe("tide_edge_hold_seconds_total", "Time that requests were held, in sum."),
				func(t totals) float64 { return t.heldTime.Seconds() },
			},
			{
				describe("tide_edge_busy_seconds_total", "Time that instances had requests in hand, each request counted by itself."),
				func(t totals) float64 { return t.busyTime.Seconds() },
			},
			{
				describe("tide_edge_refused_requests_total", "Requests that the edges answered with 502, 503 or 504 themselves."),
				func(t totals) float64 { return float64(t.refused) },
			},
			{
				describe("tide_edge_failed_requests_total", "Requests that instances answered with a 5xx status."),
				func(t totals) float64 { return float64(t.failed) },
			},
			{
				describe("tide_edge_retried_requests_total", "Requests that were given to a second instance."),
				func(t totals) float64 { return float64(t.retried) },
			},
			{
				describe("tide_edge_ejections_total", "Times that an instance was given no requests for a while, since it failed and others did not."),
				func(t totals) float64 { return float64(t.ejected) },
			},
			{
				describe("tide_edge_response_body_bytes_total", "Bytes of response bodies that the edges sent."),
				func(t totals) float64 { return float64(t.bytesOut) },
			},
		},
		gauges: []trafficGauge{
			{
				describe("tide_edge_requests_held", "Requests that wait for an instance now."),
				func(d springtide.Demand) int { return d.Held },
			},
			{
				describe("tide_edge_requests_in_flight", "Requests that instances have in hand now."),
				func(d springtide.Demand) int { return d.Busy },
			},
			{
				describe("tide_edge_streams_open", "WebSockets and event streams that are open now."),
				func(d springtide.Demand) int { return d.Streams },
			},
		},
		durations: describe("tide_edge_request_duration_seconds",
			"Time from the last byte of a request's head to the first byte of its answer; the sum is estimated from finer buckets."),
		edges: prometheus.NewDesc("tide_edges_connected", "Edges that are connected to the control plane.", nil, nil),
		cache: prometheus.NewDesc("tide_cache_requests_total", "Requests by what the cache had to do with them.",
			append(seriesLabels(), "result"), nil),
		cached:  prometheus.NewDesc("tide_cache_bytes", "What the caches of the edges hold, in memory and on disk.", []string{"tier"}, nil),
		refused: prometheus.NewDesc("tide_cache_disk_errors", "Writes of their caches that the disk has refused to the edges that are connected.", nil, nil),
		limited: prometheus.NewDesc("tide_edge_limited_requests_total", "Requests that the edges refused with 429, by whose limit it was: client, route or token.",
			append(seriesLabels(), "per"), nil),
		flooding: prometheus.NewDesc("tide_edge_flood_connections", "Connections of clients who flood that the edges which are connected have ended and refused.", []string{"result"}, nil),
		sizes:    map[string]springtide.CacheSize{},
		floods:   map[string]springtide.FloodCounts{},
		seen:     map[series]*seen{},
		inHand:   map[string]map[springtide.GroupID]springtide.Demand{},
	}
}

func (t *traffic) add(report springtide.EdgeReport) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.sizes[report.Edge], t.floods[report.Edge] = report.Cache, report.Floods
	inHand := t.inHand[report.Edge]
	if inHand == nil {
		inHand = map[springtide.GroupID]springtide.Demand{}
		t.inHand[report.Edge] = inHand
	}
	for _, demand := range report.Demand {
		inHand[demand.Group] = demand
		s := t.seen[seriesOf(demand.Group)]
		if s == nil {
			s = &seen{cache: map[springtide.CacheResult]int64{}, limited: map[springtide.RatePer]int64{}}
			t.seen[seriesOf(demand.Group)] = s
		}
		s.total.add(demand)
		s.durations.add(&demand.Latencies)
		for result, count := range demand.Cache {
			s.cache[result] += int64(count)
		}
		for per, count := range demand.Limited {
			s.limited[per] += int64(count)
		}
	}
}

func (t *totals) add(demand springtide.Demand) {
	t.arrived += demand.Arrived
	t.waited += demand.Waited
	t.refused += demand.Refused
	t.failed += demand.Failed
	t.retried += demand.Retried
	t.ejected += demand.Ejected
	t.bytesOut += demand.BytesOut
	t.heldTime += demand.HeldTime
	t.busyTime += demand.BusyTime
}

func (t *traffic) keepEdges(connected []string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.connected = len(connected)
	maps.DeleteFunc(t.sizes, func(edge string, _ springtide.CacheSize) bool { return !slices.Contains(connected, edge) })
	maps.DeleteFunc(t.floods, func(edge string, _ springtide.FloodCounts) bool { return !slices.Contains(connected, edge) })
	maps.DeleteFunc(t.inHand, func(edge string, _ map[springtide.GroupID]springtide.Demand) bool {
		return !slices.Contains(connected, edge)
	})
}

func (t *traffic) keepGroups(groups []springtide.Group) {
	ids := map[springtide.GroupID]bool{}
	known := map[series]bool{}
	for _, group := range groups {
		ids[group.ID] = true
		known[seriesOf(group.ID)] = true
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.dropUnless(func(id springtide.GroupID) bool { return ids[id] }, func(s series) bool { return known[s] })
}

func (t *traffic) forget(id springtide.EnvironmentID) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.dropUnless(func(group springtide.GroupID) bool { return group.Environment != id },
		func(s series) bool { return s.environment != id })
}

// dropUnless drops the groups and series that are not to be kept.
func (t *traffic) dropUnless(keepGroup func(springtide.GroupID) bool, keepSeries func(series) bool) {
	for _, inHand := range t.inHand {
		maps.DeleteFunc(inHand, func(id springtide.GroupID, _ springtide.Demand) bool { return !keepGroup(id) })
	}
	maps.DeleteFunc(t.seen, func(s series, _ *seen) bool { return !keepSeries(s) })
}

// cacheSize adds up what the caches hold.
func (t *traffic) cacheSize() springtide.CacheSize {
	var sum springtide.CacheSize
	for _, size := range t.sizes {
		sum.Memory += size.Memory
		sum.Disk += size.Disk
		sum.Errors += size.Errors
	}
	return sum
}

// floodCounts adds up what the edges have seen.
func (t *traffic) floodCounts() springtide.FloodCounts {
	var sum springtide.FloodCounts
	for _, counts := range t.floods {
		sum.Ended += counts.Ended
		sum.Refused += counts.Refused
	}
	return sum
}

// cacheOf adds up the counts of an environment; nil: of all.
func (t *traffic) cacheOf(id *springtide.EnvironmentID) (map[springtide.CacheResult]int64, springtide.CacheSize) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	counts := map[springtide.CacheResult]int64{}
	for s, seen := range t.seen {
		if id == nil || s.environment == *id {
			for result, count := range seen.cache {
				counts[result] += count
			}
		}
	}
	return counts, t.cacheSize()
}

// Describe implements prometheus.Collector.
func (t *traffic) Describe(descriptions chan<- *prometheus.Desc) {
	for _, counter := range t.counters {
		descriptions <- counter.description
	}
	for _, gauge := range t.gauges {
		descriptions <- gauge.description
	}
	descriptions <- t.durations
	descriptions <- t.edges
	descriptions <- t.cache
	descriptions <- t.cached
	descriptions <- t.refused
	descriptions <- t.limited
	descriptions <- t.flooding
}

// Collect implements prometheus.Collector.
func (t *traffic) Collect(metrics chan<- prometheus.Metric) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	metrics <- prometheus.MustNewConstMetric(t.edges, prometheus.GaugeValue, float64(t.connected))
	size := t.cacheSize()
	metrics <- prometheus.MustNewConstMetric(t.cached, prometheus.GaugeValue, float64(size.Memory), "memory")
	metrics <- prometheus.MustNewConstMetric(t.cached, prometheus.GaugeValue, float64(size.Disk), "disk")
	metrics <- prometheus.MustNewConstMetric(t.refused, prometheus.GaugeValue, float64(size.Errors))
	floods := t.floodCounts()
	metrics <- prometheus.MustNewConstMetric(t.flooding, prometheus.GaugeValue, float64(floods.Ended), "ended")
	metrics <- prometheus.MustNewConstMetric(t.flooding, prometheus.GaugeValue, float64(floods.Refused), "refused")
	for s, seen := range t.seen {
		for result, count := range seen.cache {
			metrics <- prometheus.MustNewConstMetric(t.cache, prometheus.CounterValue, float64(count), append(s.values(), string(result))...)
		}
		for per, count := range seen.limited {
			metrics <- prometheus.MustNewConstMetric(t.limited, prometheus.CounterValue, float64(count), append(s.values(), string(per))...)
		}
		for _, counter := range t.counters {
			metrics <- prometheus.MustNewConstMetric(counter.description, prometheus.CounterValue, counter.value(seen.total), s.values()...)
		}
		metrics <- seen.durations.metric(t.durations, s)
	}
	for _, gauge := range t.gauges {
		sums := map[series]int{}
		for _, inHand := range t.inHand {
			for id, demand := range inHand {
				sums[seriesOf(id)] += gauge.value(demand)
			}
		}
		for s, sum := range sums {
			metrics <- prometheus.MustNewConstMetric(gauge.description, prometheus.GaugeValue, float64(sum), s.values()...)
		}
	}
}
