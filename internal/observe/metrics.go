package observe

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/springtide/springtide"
)

// scrapes is how many clients may read the metrics at the same time.
const scrapes = 4

// Metrics are what Prometheus reads. They are fed by whoever knows: each method
// takes one kind of fact. All may be called at the same time.
//
// Series of a group are dropped when the group is gone ([Metrics.Groups]), those
// of an environment when it is destroyed ([Metrics.Forget]), so that their
// number stays in proportion to what runs.
type Metrics struct {
	registry     *prometheus.Registry
	traffic      *traffic
	fleet        *fleet
	jobs         *jobMetrics
	backups      *backupMetrics
	certificates *certificateMetrics
	services     *serviceMetrics
	machine      *machineMetrics

	decisions *prometheus.CounterVec
	rollouts  *prometheus.CounterVec
	rollout   *prometheus.HistogramVec
	build     *prometheus.HistogramVec
	table     prometheus.Gauge
}

// NewMetrics makes metrics in which nothing has happened yet, with those of the
// Go runtime and the process. Of the events it tells how many were dropped.
func NewMetrics(events *Events) *Metrics {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		traffic:      newTraffic(),
		fleet:        newFleet(),
		jobs:         newJobMetrics(),
		backups:      newBackupMetrics(),
		certificates: newCertificateMetrics(),
		services:     newServiceMetrics(),
		machine:      newMachineMetrics(),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tide_scale_decisions_total",
			Help: "Decisions on the number of instances, by direction: out, in or none.",
		}, []string{"app", "environment", "process", "direction"}),
		rollouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tide_rollouts_total",
			Help: "Rollouts that are over, by result: done or failed.",
		}, []string{"app", "environment", "result"}),
		rollout: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tide_rollout_duration_seconds",
			Help:    "Time from the beginning of a rollout to its end, by result: done or failed.",
			Buckets: []float64{0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800},
		}, []string{"result"}),
		build: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tide_build_duration_seconds",
			Help:    "Time that builds took, by result: done or failed.",
			Buckets: []float64{0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900},
		}, []string{"result"}),
		table: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tide_table_version",
			Help: "Version of the newest routing table.",
		}),
	}
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tide_events_dropped_total",
		Help: "Events that came too fast to be kept.",
	}, func() float64 { return float64(events.Dropped()) })
	m.registry.MustRegister(m.traffic, m.fleet, m.jobs, m.backups, m.certificates, m.services, m.machine, m.decisions, m.rollouts, m.rollout, m.build, m.table, dropped,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})
}

// EdgeReport adds what an edge saw.
func (m *Metrics) EdgeReport(report springtide.EdgeReport) { m.traffic.add(report) }

// Cache gives what the cache had to do with the requests for an environment (nil: for
// all), and what the caches of all edges hold.
func (m *Metrics) Cache(id *springtide.EnvironmentID) (map[springtide.CacheResult]int64, springtide.CacheSize) {
	return m.traffic.cacheOf(id)
}

// Floods gives the floods that the edges which are connected have seen.
func (m *Metrics) Floods() springtide.FloodCounts {
	m.traffic.mutex.Lock()
	defer m.traffic.mutex.Unlock()
	return m.traffic.floodCounts()
}

// Edges says which edges are connected, by their names. What others last had in
// hand does not count any more.
func (m *Metrics) Edges(connected []string) { m.traffic.keepEdges(connected) }

// Snapshot says which instances there are.
func (m *Metrics) Snapshot(snapshot springtide.Snapshot) { m.fleet.setInstances(snapshot) }

// Groups says which groups there are and how many replicas of them are wanted.
func (m *Metrics) Groups(groups []springtide.Group) {
	m.fleet.setGroups(groups)
	m.traffic.keepGroups(groups)
}

// Decision counts a decision.
func (m *Metrics) Decision(decision springtide.Decision) {
	direction := "none"
	switch {
	case decision.To > decision.From:
		direction = "out"
	case decision.To < decision.From:
		direction = "in"
	}
	id := decision.Group
	m.decisions.WithLabelValues(string(id.Environment.App), string(id.Environment.Name), string(id.Process), direction).Inc()
}

// RolloutOver counts a rollout that ended as its Step says.
func (m *Metrics) RolloutOver(rollout springtide.Rollout, took time.Duration) {
	id, result := rollout.Release.Environment, string(rollout.Step)
	m.rollouts.WithLabelValues(string(id.App), string(id.Name), result).Inc()
	m.rollout.WithLabelValues(result).Observe(took.Seconds())
}

// BuildOver counts a build; err is nil if it succeeded.
func (m *Metrics) BuildOver(took time.Duration, err error) {
	result := "done"
	if err != nil {
		result = "failed"
	}
	m.build.WithLabelValues(result).Observe(took.Seconds())
}

// TableVersion says which routing table is the newest.
func (m *Metrics) TableVersion(version int64) { m.table.Set(float64(version)) }

// Forget drops the series of an environment that was destroyed.
func (m *Metrics) Forget(id springtide.EnvironmentID) {
	labels := prometheus.Labels{"app": string(id.App), "environment": string(id.Name)}
	m.decisions.DeletePartialMatch(labels)
	m.rollouts.DeletePartialMatch(labels)
	m.fleet.forget(id)
	m.machine.forget(id)
	m.jobs.forget(id)
	m.traffic.forget(id)
}

// series names what the series of a group are labelled with. All generations of
// a release count together.
type series struct {
	environment springtide.EnvironmentID
	release     int
	process     springtide.ProcessName
}

func seriesOf(id springtide.GroupID) series { return series{id.Environment, id.Release, id.Process} }

// seriesLabels are the labels that values gives the values of.
func seriesLabels() []string { return []string{"app", "environment", "release", "process"} }

func (s series) values(more ...string) []string {
	return slices.Concat([]string{
		string(s.environment.App), string(s.environment.Name), strconv.Itoa(s.release), string(s.process),
	}, more)
}
