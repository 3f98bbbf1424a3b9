package observe

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// OutsideSample is how the outside queue of a process is.
type OutsideSample struct {
	Environment springtide.EnvironmentID
	Process     springtide.ProcessName
	// Waiting and UnderWay count messages, as of when it was seen last.
	Waiting, UnderWay int
	// Up says that it can be reached.
	Up bool
}

// outsideMetrics collect how outside queues are.
type outsideMetrics struct {
	up, messages *prometheus.Desc
	samples      func() []OutsideSample
}

// Outside gives metrics of outside queues, which the function tells of.
func (m *Metrics) Outside(samples func() []OutsideSample) {
	labels := []string{"app", "environment", "process"}
	m.registry.MustRegister(&outsideMetrics{
		up:       prometheus.NewDesc("tide_outside_queue_up", "1 if the outside queue of a process can be reached.", labels, nil),
		messages: prometheus.NewDesc("tide_outside_queue_messages", "Messages in the outside queue of a process, by state: waiting or running.", append(labels, "state"), nil),
		samples:  samples,
	})
}

// Describe implements prometheus.Collector.
func (m *outsideMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- m.up
	descriptions <- m.messages
}

// Collect implements prometheus.Collector.
func (m *outsideMetrics) Collect(metrics chan<- prometheus.Metric) {
	for _, s := range m.samples() {
		of := []string{string(s.Environment.App), string(s.Environment.Name), string(s.Process)}
		up := 0.0
		if s.Up {
			up = 1
		}
		metrics <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up, of...)
		metrics <- prometheus.MustNewConstMetric(m.messages, prometheus.GaugeValue, float64(s.Waiting), append(of, "waiting")...)
		metrics <- prometheus.MustNewConstMetric(m.messages, prometheus.GaugeValue, float64(s.UnderWay), append(of, "running")...)
	}
}
