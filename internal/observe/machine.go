package observe

import (
	"maps"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// machineMetrics collect how the memory of the machine is shared.
type machineMetrics struct {
	memory, wanted, short *prometheus.Desc

	mutex sync.Mutex
	// bytes are what instances may have and want; known says that they are.
	bytes [2]int64
	known bool
	lacks map[series]int
}

func newMachineMetrics() *machineMetrics {
	return &machineMetrics{
		memory: prometheus.NewDesc("tide_memory_bytes", "Memory that instances may have altogether.", nil, nil),
		wanted: prometheus.NewDesc("tide_memory_wanted_bytes", "Memory that instances have, or would have if there were enough.", nil, nil),
		short:  prometheus.NewDesc("tide_replicas_short", "Replicas that a process wants and that the machine has no memory for.", seriesLabels(), nil),
	}
}

// Machine says how much memory instances may have and want, in bytes (0: not
// known), and which groups lack how many instances.
func (m *Metrics) Machine(memory, wanted int64, lacks map[springtide.GroupID]int) {
	bySeries := make(map[series]int, len(lacks))
	for id, n := range lacks {
		bySeries[seriesOf(id)] += n
	}
	m.machine.mutex.Lock()
	defer m.machine.mutex.Unlock()
	m.machine.bytes, m.machine.known, m.machine.lacks = [2]int64{memory, wanted}, memory > 0, bySeries
}

func (m *machineMetrics) forget(id springtide.EnvironmentID) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	maps.DeleteFunc(m.lacks, func(s series, _ int) bool { return s.environment == id })
}

// Describe implements prometheus.Collector.
func (m *machineMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- m.memory
	descriptions <- m.wanted
	descriptions <- m.short
}

// Collect implements prometheus.Collector.
func (m *machineMetrics) Collect(metrics chan<- prometheus.Metric) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.known {
		metrics <- prometheus.MustNewConstMetric(m.memory, prometheus.GaugeValue, float64(m.bytes[0]))
		metrics <- prometheus.MustNewConstMetric(m.wanted, prometheus.GaugeValue, float64(m.bytes[1]))
	}
	for s, n := range m.lacks {
		metrics <- prometheus.MustNewConstMetric(m.short, prometheus.GaugeValue, float64(n), s.values()...)
	}
}
