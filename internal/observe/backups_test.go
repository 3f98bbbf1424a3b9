package observe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/observe"
)

func TestHowSafeEverythingIsIsMeasured(t *testing.T) {
	m := newMetrics()
	if strings.Contains(scrape(t, m), "tide_backup_") {
		t.Error("something is told although nobody knows")
	}
	m.Backups(func() []observe.Safety {
		return []observe.Safety{
			{Environment: quiz, Of: "db", Newest: time.Unix(1000, 5e8), Restorable: time.Unix(1060, 0), Proven: time.Unix(900, 0), Size: 4096, Took: 1500 * time.Millisecond},
			{Environment: quiz, Of: "files", Late: true},
		}
	})
	const db, files = `{app="quiz",environment="production",of="db"}`, `{app="quiz",environment="production",of="files"}`
	text := scrape(t, m)
	wantLines(t, text,
		"tide_backup_last_success_timestamp_seconds"+db+" 1000.5",
		"tide_backup_restorable_timestamp_seconds"+db+" 1060",
		"tide_backup_proven_timestamp_seconds"+db+" 900",
		"tide_backup_size_bytes"+db+" 4096",
		"tide_backup_duration_seconds"+db+" 1.5",
		"tide_backup_late"+db+" 0",
		"tide_backup_late"+files+" 1",
	)
	if strings.Contains(text, "proven_timestamp_seconds"+files) {
		t.Error("what was never proven has a time")
	}
}
