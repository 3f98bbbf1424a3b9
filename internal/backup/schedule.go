package backup

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

const (
	// Queue is that of the runs that make backups.
	Queue springtide.QueueName = "backups"
	// scheduleJitter is over how long the daily backups of all environments are spread.
	scheduleJitter = 30 * time.Minute
	backupTimeout  = 6 * time.Hour
	backupAttempts = 5
)

// Schedule makes the daily schedule of a subject's backups. Its start is spread
// by the schedule's jitter, so that not all environments begin at once. An error
// is of kind Invalid: Daily is no time of day.
func Schedule(backup springtide.Backup, of Subject) (springtide.Schedule, error) {
	daily, err := time.Parse("15:04", strings.TrimSpace(backup.Daily))
	if err != nil {
		return springtide.Schedule{}, springtide.Errorf(springtide.Invalid, "the backup of %s cannot be made daily at %q", of, backup.Daily).
			WithHint("write a time of day in UTC, such as 04:30")
	}
	payload, err := json.Marshal(springtide.BackupTask{Of: of.Of})
	if err != nil {
		return springtide.Schedule{}, err
	}
	return springtide.Schedule{
		Cron: fmt.Sprintf("%d %d * * *", daily.Minute(), daily.Hour()),
		Job: springtide.Job{
			Queue: Queue, Kind: springtide.RunBackup, Payload: payload, Attempts: backupAttempts, Timeout: backupTimeout, OnLost: springtide.LostRetry,
		},
		Missed: springtide.MissedLatest, Overlap: springtide.OverlapSkip, Deadline: time.Hour + scheduleJitter, Jitter: scheduleJitter,
	}, nil
}
