package observe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/observe"
)

func TestHowServicesDoIsMeasured(t *testing.T) {
	m := newMetrics()
	if strings.Contains(scrape(t, m), "tide_service_") {
		t.Error("something is told although nobody knows")
	}
	id := func(name springtide.ServiceName) springtide.ServiceID {
		return springtide.ServiceID{Environment: quiz, Name: name}
	}
	m.Services(func() []observe.Service {
		return []observe.Service{
			{
				ID: id("db"), Up: true, Restarts: 2, Failovers: 1, Replica: true, Lag: 1500 * time.Millisecond, LagBytes: 4096,
				Sample: &observe.ServiceSample{Connections: 7, MaxConnections: 100, Size: 1 << 20, Transactions: 12, CacheHits: 90, CacheMisses: 10},
			},
			{ID: id("cache"), Up: true, Sample: &observe.ServiceSample{Memory: 2048, Evicted: 3, Latency: 300 * time.Microsecond}},
			{ID: id("gone")},
		}
	})
	const db, cache, gone = `{app="quiz",environment="production",service="db"}`, `{app="quiz",environment="production",service="cache"}`, `{app="quiz",environment="production",service="gone"}`
	text := scrape(t, m)
	wantLines(t, text,
		"tide_service_up"+db+" 1", "tide_service_up"+gone+" 0",
		"tide_service_restarts_total"+db+" 2", "tide_service_failovers_total"+db+" 1",
		"tide_service_replication_lag_seconds"+db+" 1.5", "tide_service_replication_lag_bytes"+db+" 4096",
		"tide_service_connections"+db+" 7", "tide_service_connections_limit"+db+" 100", "tide_service_size_bytes"+db+" 1.048576e+06",
		"tide_service_transactions_total"+db+" 12", "tide_service_cache_hits_total"+db+" 90", "tide_service_cache_misses_total"+db+" 10",
		"tide_service_memory_bytes"+cache+" 2048", "tide_service_evictions_total"+cache+" 3", "tide_service_latency_p99_seconds"+cache+" 0.0003",
	)
	for _, absent := range []string{"replication_lag_seconds" + cache, "memory_bytes" + db, "connections" + gone} {
		if strings.Contains(text, absent) {
			t.Errorf("%s is told although there is none", absent)
		}
	}
}
