package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// Service is how a database or the like does.
type Service struct {
	ID springtide.ServiceID
	// Up says that its primary serves.
	Up bool
	// Restarts and Failovers count from the start of the control plane.
	Restarts, Failovers int
	// Replica says that it has one that follows, so much behind.
	Replica  bool
	Lag      time.Duration
	LagBytes int64
	// Sample is what the server itself last said; nil: nothing yet, or not lately.
	Sample *ServiceSample
}

// ServiceSample is what a server says of itself. Counts are since it was started;
// what its kind does not count is 0.
type ServiceSample struct {
	Connections, MaxConnections     int
	Size, Memory                    int64 // bytes
	Transactions                    int64
	CacheHits, CacheMisses, Evicted int64
	// Latency is that below which 99 of 100 commands were. 0: not known.
	Latency time.Duration
}

// serviceMetrics are of databases and the like. It implements prometheus.Collector.
type serviceMetrics struct {
	up, restarts, failovers, lag, lagBytes                                                   *prometheus.Desc
	connections, limit, size, memory, transactions, cacheHits, cacheMisses, evicted, latency *prometheus.Desc
	// all tells how they do; nil: nobody knows.
	all func() []Service
}

func newServiceMetrics() *serviceMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tide_service_"+name, help, []string{"app", "environment", "service"}, nil)
	}
	return &serviceMetrics{
		up:           desc("up", "Whether the primary serves."),
		restarts:     desc("restarts_total", "Servers that ended by themselves, and were started again."),
		failovers:    desc("failovers_total", "Replicas that took the place of a primary by themselves."),
		lag:          desc("replication_lag_seconds", "How long ago the primary did what the replica did last; 0: nothing is missing."),
		lagBytes:     desc("replication_lag_bytes", "How much of the primary's log the replica has not done."),
		connections:  desc("connections", "Connections that the app has open."),
		limit:        desc("connections_limit", "Connections that the app may have open."),
		size:         desc("size_bytes", "Size of the data."),
		memory:       desc("memory_bytes", "Memory that the data of a Redis takes."),
		transactions: desc("transactions_total", "Transactions; of MariaDB statements, of Redis commands."),
		cacheHits:    desc("cache_hits_total", "Pages found in memory; of Redis keys that were there."),
		cacheMisses:  desc("cache_misses_total", "Pages read from elsewhere; of Redis keys that were not there."),
		evicted:      desc("evictions_total", "Keys that a Redis dropped because its memory was full."),
		latency:      desc("latency_p99_seconds", "Below which 99 of 100 commands of a Redis were, to a factor of two."),
	}
}

// Services says who knows how services do, before anybody reads the metrics.
func (m *Metrics) Services(all func() []Service) { m.services.all = all }

// Describe implements prometheus.Collector.
func (s *serviceMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{
		s.up, s.restarts, s.failovers, s.lag, s.lagBytes, s.connections, s.limit, s.size, s.memory,
		s.transactions, s.cacheHits, s.cacheMisses, s.evicted, s.latency,
	} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (s *serviceMetrics) Collect(metrics chan<- prometheus.Metric) {
	if s.all == nil {
		return
	}
	for _, one := range s.all() {
		labels := []string{string(one.ID.Environment.App), string(one.ID.Environment.Name), string(one.ID.Name)}
		tell := func(description *prometheus.Desc, kind prometheus.ValueType, value float64) {
			metrics <- prometheus.MustNewConstMetric(description, kind, value, labels...)
		}
		gauge := func(description *prometheus.Desc, value float64) { tell(description, prometheus.GaugeValue, value) }
		count := func(description *prometheus.Desc, value int64) {
			tell(description, prometheus.CounterValue, float64(value))
		}
		up := 0.0
		if one.Up {
			up = 1
		}
		gauge(s.up, up)
		count(s.restarts, int64(one.Restarts))
		count(s.failovers, int64(one.Failovers))
		if one.Replica {
			gauge(s.lag, one.Lag.Seconds())
			gauge(s.lagBytes, float64(one.LagBytes))
		}
		sample := one.Sample
		if sample == nil {
			continue
		}
		gauge(s.connections, float64(sample.Connections))
		gauge(s.limit, float64(sample.MaxConnections))
		gauge(s.size, float64(sample.Size))
		count(s.transactions, sample.Transactions)
		count(s.cacheHits, sample.CacheHits)
		count(s.cacheMisses, sample.CacheMisses)
		if sample.Memory > 0 { // a Redis
			gauge(s.memory, float64(sample.Memory))
			count(s.evicted, sample.Evicted)
		}
		if sample.Latency > 0 {
			gauge(s.latency, sample.Latency.Seconds())
		}
	}
}
