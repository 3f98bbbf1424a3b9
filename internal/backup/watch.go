package backup

import (
	"context"
	"fmt"
	"time"
)

const (
	// lateAfter is how old the newest of the daily backups may be: they are spread
	// over half an hour, and may take some.
	lateAfter = 26 * time.Hour
	// stuckAfter is how long changes may wait for the target.
	stuckAfter = 2 * time.Minute
	// tellEvery is how often it is said again that something is late.
	tellEvery = 24 * time.Hour
)

// Watch tells of all that is late, once a day.
func (k *Keeper) Watch(ctx context.Context) {
	plans, err := k.options.Plans(ctx)
	if err != nil {
		k.options.Logger.Warn("what is to be kept safe is not known", "error", err)
		return
	}
	for _, plan := range plans {
		if plan.Daily == "" {
			continue
		}
		if err := k.look(ctx, plan.Subject); err != nil && ctx.Err() == nil {
			k.options.Logger.Warn("the backups cannot be listed", "of", plan.Subject, "error", err)
		}
		now, tell := time.Now(), false
		standing := k.note(plan.Subject, func(s *Standing) {
			s.Reason = lateness(*s, now)
			s.Late = s.Reason != ""
			tell = s.Late && now.Sub(s.told) > tellEvery
			switch {
			case tell:
				s.told = now
			case !s.Late:
				s.told = time.Time{}
			}
		})
		if tell {
			k.happened(plan.Subject, "backup.late", standing.Reason, nil)
		}
	}
}

// lateness says why a subject is not as safe as it should be; empty: it is.
func lateness(s Standing, now time.Time) string {
	newest, what := s.Last, "the newest backup of %s is %s old"
	if newest.IsZero() {
		newest, what = s.since, "there has been no backup of %s for %s"
	}
	switch {
	case now.Sub(newest) > lateAfter:
		return fmt.Sprintf(what, s.Subject, now.Sub(newest).Round(time.Minute))
	case !s.stuck.IsZero() && now.Sub(s.stuck) > stuckAfter:
		return fmt.Sprintf("the changes of %s have waited for the backup target for %s", s.Subject, now.Sub(s.stuck).Round(time.Second))
	}
	return ""
}
