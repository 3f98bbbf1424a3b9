package apitest

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// history implements [api.History]: in the second hour there is twice the traffic.
type history struct{ *Platform }

// Minutes implements [api.History].
func (p history) Minutes(_ context.Context, id springtide.EnvironmentID, process springtide.ProcessName, since time.Time) (all []springtide.Minute, err error) {
	err = p.with(id, func(*environment) error {
		if process != springtide.Web {
			return springtide.Errorf(springtide.NotFound, "%s has no process %s", id, process)
		}
		for i := range 120 {
			at := Epoch().Add(time.Duration(i) * time.Minute)
			if at.Before(since) {
				continue
			}
			all = append(all, springtide.Minute{
				Time: at, Requests: 600 * (1 + i/60), Concurrency: float64(1 + i/60), Peak: 5, Service: 100 * time.Millisecond,
				P95: 200 * time.Millisecond, Need: 4, Instances: 1 + i/60, CPU: 6 * time.Second, Memory: 40 << 20,
			})
		}
		return nil
	})
	return all, err
}

// Recommendations implements [api.History].
func (p history) Recommendations(_ context.Context, id springtide.EnvironmentID) (all []api.Recommendation, err error) {
	err = p.with(id, func(*environment) error {
		all = []api.Recommendation{{
			Process: springtide.Web, Limits: springtide.Limits{Memory: 64 << 20}, Recommended: springtide.Limits{CPU: 0.35, Memory: 168 << 20},
			CPU: api.Used{Median: 0.1, P90: 0.25, P95: 0.3, Peak: 0.8}, Memory: api.Used{Median: 40 << 20, P90: 60 << 20, P95: 145 << 20, Peak: 164 << 20},
			Samples: 1000, Since: Epoch(), Until: Epoch().Add(3 * time.Hour), OutOfMemory: 1, LastOutOfMemory: Epoch().Add(time.Hour),
			Notes: []string{"less than a day was seen: look again after a day with its usual traffic"},
		}}
		return nil
	})
	return all, err
}
