package observe

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/springtide/springtide"
)

// Safety is how safe a service, or the shared files, of an environment are. Times
// are zero where there is none.
type Safety struct {
	Environment springtide.EnvironmentID
	// Of is the name of a service, or [springtide.BackupFiles].
	Of string
	// Newest is when the newest backup was finished, Restorable the newest moment
	// that can be gone back to, Proven when a restore last succeeded.
	Newest, Restorable, Proven time.Time
	// Size is that of the newest backup, in bytes; Took is how long it took.
	Size int64
	Took time.Duration
	// Late says that there should be a newer backup.
	Late bool
}

// backupMetrics are of what is kept safe. It implements prometheus.Collector.
type backupMetrics struct {
	newest, restorable, proven, size, took, late *prometheus.Desc
	// all tells how safe everything is; nil: nobody knows.
	all func() []Safety
}

func newBackupMetrics() *backupMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tide_backup_"+name, help, []string{"app", "environment", "of"}, nil)
	}
	return &backupMetrics{
		newest:     desc("last_success_timestamp_seconds", "When the newest backup was finished."),
		restorable: desc("restorable_timestamp_seconds", "The newest moment that can be gone back to."),
		proven:     desc("proven_timestamp_seconds", "When a restore of the newest backup last succeeded."),
		size:       desc("size_bytes", "Size of the newest backup at its target."),
		took:       desc("duration_seconds", "How long the newest backup took."),
		late:       desc("late", "Whether there should be a newer backup."),
	}
}

// Backups says who knows how safe everything is, before anybody reads the metrics.
func (m *Metrics) Backups(all func() []Safety) { m.backups.all = all }

// Describe implements prometheus.Collector.
func (b *backupMetrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{b.newest, b.restorable, b.proven, b.size, b.took, b.late} {
		descriptions <- description
	}
}

// Collect implements prometheus.Collector.
func (b *backupMetrics) Collect(metrics chan<- prometheus.Metric) {
	if b.all == nil {
		return
	}
	for _, safety := range b.all() {
		labels := []string{string(safety.Environment.App), string(safety.Environment.Name), safety.Of}
		gauge := func(description *prometheus.Desc, value float64) {
			metrics <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
		}
		for description, at := range map[*prometheus.Desc]time.Time{b.newest: safety.Newest, b.restorable: safety.Restorable, b.proven: safety.Proven} {
			if !at.IsZero() {
				gauge(description, float64(at.UnixMilli())/1e3)
			}
		}
		gauge(b.size, float64(safety.Size))
		gauge(b.took, safety.Took.Seconds())
		late := 0.0
		if safety.Late {
			late = 1
		}
		gauge(b.late, late)
	}
}
