package apitest

import (
	"context"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// announcements implements [api.Announcements]: each happens once, and what is
// over stays.
type announcements struct{ *Platform }

// Announced implements [api.Announcements].
func (p announcements) Announced(_ context.Context, id springtide.EnvironmentID) (all []api.Announced, err error) {
	err = p.with(id, func(e *environment) error {
		for _, o := range e.occasions {
			told := api.Announced{Occasion: o, Next: []api.Period{{From: o.From, Until: o.Until}}, Reserves: map[springtide.ProcessName]api.Reserved{}}
			for process, n := range o.Min {
				told.Reserves[process] = api.Reserved{Instances: n, Memory: int64(n) << 28}
			}
			all = append(all, told)
		}
		return nil
	})
	return all, err
}

// Announce implements [api.Announcements].
func (p announcements) Announce(ctx context.Context, id springtide.EnvironmentID, change api.AnnouncementsChange) ([]api.Announced, error) {
	err := p.with(id, func(e *environment) error {
		after := slices.DeleteFunc(slices.Clone(e.occasions), func(o springtide.Occasion) bool {
			return change.Calendar != "" && o.Calendar == change.Calendar || slices.Contains(change.Remove, o.Name)
		})
		if change.Calendar == "" && len(change.Remove) > 0 && len(after) == len(e.occasions) {
			return springtide.Errorf(springtide.NotFound, "there is no event %q besides those of the manifest", change.Remove[0])
		}
		for _, o := range change.Add {
			o.Calendar = change.Calendar
			after = append(after, o)
		}
		e.occasions = after
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p.Announced(ctx, id)
}
