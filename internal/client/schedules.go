package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// Schedules tells how the schedules stand.
func (c *Client) Schedules(ctx context.Context, id springtide.EnvironmentID) ([]jobs.ScheduleStatus, error) {
	return call[[]jobs.ScheduleStatus](ctx, c, request{method: "GET", path: environmentPath(id, "schedules")})
}

// Coming lists the next slots of all schedules.
func (c *Client) Coming(ctx context.Context, id springtide.EnvironmentID, count int) ([]jobs.Coming, error) {
	return call[[]jobs.Coming](ctx, c, request{
		method: "GET", path: environmentPath(id, "schedules", "next"), query: url.Values{"count": {strconv.Itoa(count)}},
	})
}

// TriggerSchedule makes a run of a schedule now.
func (c *Client) TriggerSchedule(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName) (jobs.Enqueued, error) {
	return call[jobs.Enqueued](ctx, c, request{method: "POST", path: environmentPath(id, "schedules", string(schedule), "trigger")})
}

// PauseSchedule has slots recorded as skipped, or ends that.
func (c *Client) PauseSchedule(ctx context.Context, id springtide.EnvironmentID, schedule springtide.ScheduleName, paused bool) error {
	return c.do(ctx, "POST", environmentPath(id, "schedules", string(schedule), pauseOrResume(paused)))
}
