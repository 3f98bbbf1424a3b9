package jobs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Coming is a slot that is to come.
type Coming struct {
	Schedule springtide.ScheduleName `json:"schedule"`
	Slot     time.Time               `json:"slot"`
	// Zone is the name of the schedule's time zone.
	Zone string `json:"zone"`
}

// Coming gives the next slots of an environment's schedules, but for those that
// are paused: at most count, the soonest first.
func (s *Service) Coming(ctx context.Context, id springtide.EnvironmentID, count int) ([]Coming, error) {
	schedules, err := s.ledger.Schedules(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []Coming
	for _, status := range schedules {
		if status.Paused {
			continue
		}
		slot := status.Next
		for range count {
			if slot.IsZero() {
				break
			}
			all = append(all, Coming{Schedule: status.Name, Slot: slot, Zone: cmp.Or(status.Schedule.Timezone, "UTC")})
			if slot, err = s.options.Next(status.Schedule, slot); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Coming) int { return a.Slot.Compare(b.Slot) })
	return all[:min(count, len(all))], nil
}
