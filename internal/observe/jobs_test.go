package observe_test

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestJobsAreMeasured(t *testing.T) {
	m := newMetrics()
	scrape(t, m) // before anybody said who knows how the queues stand
	m.Queues(func() []jobs.QueueStatus {
		return []jobs.QueueStatus{{
			Environment: quiz, Name: "default", Oldest: 90 * time.Second,
			States: map[springtide.RunState]int{springtide.RunAvailable: 3, springtide.RunDead: 2, springtide.RunSucceeded: 1000},
		}}
	})
	run := springtide.Run{Environment: quiz, Queue: "default", Schedule: "tidy", Slot: time.Unix(0, 0), Attempt: 1}
	m.RunClaimed(run, 20*time.Millisecond)
	run.Attempt = 2 // the same slot
	m.RunClaimed(run, 7*time.Second)
	m.RunClaimed(springtide.Run{Environment: quiz, Queue: "default", Schedule: "tidy", Attempt: 1}, 0) // by hand, no slot
	m.AttemptOver(quiz, "default", jobs.Succeeded, 2*time.Second)
	m.AttemptOver(quiz, "default", jobs.Returned, time.Second)
	m.AttemptOver(quiz, "", jobs.Failed, 0) // leased through another server
	for _, kind := range []string{"slot.late", "slot.missed", "slot.skipped", "run.dead", "run.lost"} {
		m.JobHappened(jobs.Happened{Kind: kind, Run: springtide.Run{Environment: quiz}})
	}
	const environment = `app="quiz",environment="production"`
	wantLines(t, scrape(t, m),
		`tide_jobs_depth{`+environment+`,queue="default",state="available"} 3`,
		`tide_jobs_depth{`+environment+`,queue="default",state="dead"} 2`,
		`tide_jobs_oldest_seconds{`+environment+`,queue="default"} 90`,
		`tide_jobs_wait_seconds_bucket{`+environment+`,queue="default",le="0.025"} 2`,
		`tide_jobs_wait_seconds_count{`+environment+`,queue="default"} 3`,
		`tide_jobs_run_seconds_sum{`+environment+`,queue="default"} 2`,
		`tide_jobs_run_seconds_count{`+environment+`,queue="default"} 1`,
		`tide_jobs_attempts_total{`+environment+`,verdict="succeeded"} 1`,
		`tide_jobs_attempts_total{`+environment+`,verdict="failed"} 1`,
		`tide_jobs_attempts_total{`+environment+`,verdict="returned"} 1`,
		`tide_jobs_dead_total{`+environment+`} 1`,
		`tide_schedule_slots_total{`+environment+`,state="started"} 1`,
		`tide_schedule_slots_total{`+environment+`,state="missed"} 1`,
		`tide_schedule_slots_total{`+environment+`,state="skipped"} 1`,
		`tide_schedule_late_total{`+environment+`} 1`,
	)
	if strings.Contains(scrape(t, m), `state="succeeded"`) {
		t.Error("runs that are over count as depth")
	}
	m.Forget(quiz)
	m.Queues(func() []jobs.QueueStatus { return nil })
	if strings.Contains(scrape(t, m), "tide_jobs") {
		t.Error("a destroyed environment is still told of")
	}
}
