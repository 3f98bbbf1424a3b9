package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// Certificate is what a host name is served with.
type Certificate struct {
	Environment springtide.EnvironmentID
	Name        string
	// NotAfter is when it runs out; zero: the platform's own authority takes care.
	NotAfter time.Time
	// Failures counts failed attempts to obtain one since the start.
	Failures int
}

// certificateMetrics are of what host names are served with. It implements
// prometheus.Collector.
type certificateMetrics struct {
	notAfter, failures *prometheus.Desc
	// all tells of all host names; nil: nobody knows.
	all func() []Certificate
}

func newCertificateMetrics() *certificateMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tide_certificate_"+name, help, []string{"app", "environment", "name"}, nil)
	}
	return &certificateMetrics{
		notAfter: desc("not_after_seconds", "When the certificate that a host name is served with runs out, as a Unix time."),
		failures: desc("failures_total", "Failed attempts to obtain a certificate for a host name."),
	}
}

// Certificates says who knows what host names are served with, before anybody
// reads the metrics.
func (m *Metrics) Certificates(all func() []Certificate) { m.certificates.all = all }

// Describe implements prometheus.Collector.
func (c *certificateMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- c.notAfter
	descriptions <- c.failures
}

// Collect implements prometheus.Collector.
func (c *certificateMetrics) Collect(metrics chan<- prometheus.Metric) {
	if c.all == nil {
		return
	}
	seen := map[string]bool{} // a name may be wished for by two environments
	for _, served := range c.all() {
		if seen[served.Name] {
			continue
		}
		seen[served.Name] = true
		labels := []string{string(served.Environment.App), string(served.Environment.Name), served.Name}
		if !served.NotAfter.IsZero() {
			metrics <- prometheus.MustNewConstMetric(c.notAfter, prometheus.GaugeValue, float64(served.NotAfter.Unix()), labels...)
		}
		metrics <- prometheus.MustNewConstMetric(c.failures, prometheus.CounterValue, float64(served.Failures), labels...)
	}
}
