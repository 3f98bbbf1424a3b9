package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// jobMetrics are of runs, schedules and queues. It implements
// prometheus.Collector.
type jobMetrics struct {
	waits    *prometheus.HistogramVec
	times    *prometheus.HistogramVec
	attempts *prometheus.CounterVec
	dead     *prometheus.CounterVec
	slots    *prometheus.CounterVec
	late     *prometheus.CounterVec

	depth  *prometheus.Desc
	oldest *prometheus.Desc
	// statuses tells how the queues stand; nil: nobody knows.
	statuses func() []jobs.QueueStatus
}

func newJobMetrics() *jobMetrics {
	labels := func(more ...string) []string { return append([]string{"app", "environment"}, more...) }
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels(more...))
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels("queue"))
	}
	return &jobMetrics{
		waits: histogram("tide_jobs_wait_seconds", "Time from when a run could be claimed to its claim.",
			0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600),
		times: histogram("tide_jobs_run_seconds", "Time that attempts took, but for those that were given back.",
			0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400),
		attempts: counter("tide_jobs_attempts_total", "Attempts that ended, by verdict: succeeded, failed or returned.", "verdict"),
		dead:     counter("tide_jobs_dead_total", "Runs of which all attempts failed."),
		slots:    counter("tide_schedule_slots_total", "Slots of schedules, by what became of them: started, skipped or missed.", "state"),
		late:     counter("tide_schedule_late_total", "Slots that did not start by their deadline."),
		depth:    prometheus.NewDesc("tide_jobs_depth", "Runs in a queue that are not over, or are dead, by state.", labels("queue", "state"), nil),
		oldest:   prometheus.NewDesc("tide_jobs_oldest_seconds", "For how long the oldest run that waits for a worker could have been claimed.", labels("queue"), nil),
	}
}

// Queues says who knows how the queues stand, before anybody reads the metrics.
func (m *Metrics) Queues(statuses func() []jobs.QueueStatus) { m.jobs.statuses = statuses }

// RunClaimed implements jobs.Observer.
func (m *Metrics) RunClaimed(run springtide.Run, waited time.Duration) {
	app, environment := string(run.Environment.App), string(run.Environment.Name)
	m.jobs.waits.WithLabelValues(app, environment, string(run.Queue)).Observe(waited.Seconds())
	if !run.Slot.IsZero() && run.Attempt == 1 {
		m.jobs.slots.WithLabelValues(app, environment, "started").Inc()
	}
}

// AttemptOver implements jobs.Observer.
func (m *Metrics) AttemptOver(id springtide.EnvironmentID, queue springtide.QueueName, verdict jobs.Verdict, took time.Duration) {
	app, environment := string(id.App), string(id.Name)
	m.jobs.attempts.WithLabelValues(app, environment, string(verdict)).Inc()
	if queue != "" && took > 0 && verdict != jobs.Returned {
		m.jobs.times.WithLabelValues(app, environment, string(queue)).Observe(took.Seconds())
	}
}

// JobHappened implements jobs.Observer.
func (m *Metrics) JobHappened(happened jobs.Happened) {
	id := happened.Run.Environment
	app, environment := string(id.App), string(id.Name)
	switch happened.Kind {
	case "slot.late":
		m.jobs.late.WithLabelValues(app, environment).Inc()
	case "slot.missed":
		m.jobs.slots.WithLabelValues(app, environment, "missed").Inc()
	case "slot.skipped":
		m.jobs.slots.WithLabelValues(app, environment, "skipped").Inc()
	case "run.dead":
		m.jobs.dead.WithLabelValues(app, environment).Inc()
	}
}

// vector is of counters or histograms.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

func (j *jobMetrics) vectors() []vector {
	return []vector{j.waits, j.times, j.attempts, j.dead, j.slots, j.late}
}

func (j *jobMetrics) forget(id springtide.EnvironmentID) {
	labels := prometheus.Labels{"app": string(id.App), "environment": string(id.Name)}
	for _, vector := range j.vectors() {
		vector.DeletePartialMatch(labels)
	}
}

// Describe implements prometheus.Collector.
func (j *jobMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, vector := range j.vectors() {
		vector.Describe(descriptions)
	}
	descriptions <- j.depth
	descriptions <- j.oldest
}

// Collect implements prometheus.Collector.
func (j *jobMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, vector := range j.vectors() {
		vector.Collect(metrics)
	}
	if j.statuses == nil {
		return
	}
	for _, status := range j.statuses() {
		id := status.Environment
		labels := []string{string(id.App), string(id.Name), string(status.Name)}
		for state, count := range status.States {
			if !state.Over() || state == springtide.RunDead {
				metrics <- prometheus.MustNewConstMetric(j.depth, prometheus.GaugeValue, float64(count), append(labels, string(state))...)
			}
		}
		metrics <- prometheus.MustNewConstMetric(j.oldest, prometheus.GaugeValue, status.Oldest.Seconds(), labels...)
	}
}
