package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Environments lists those of one app, or of all when app is empty.
func (c *Client) Environments(ctx context.Context, app springtide.AppName) ([]api.EnvironmentStatus, error) {
	path := "/v1/apps"
	if app != "" {
		path += "/" + url.PathEscape(string(app)) + "/environments"
	}
	return call[[]api.EnvironmentStatus](ctx, c, request{method: "GET", path: path})
}

// Environment tells how an environment stands.
func (c *Client) Environment(ctx context.Context, id springtide.EnvironmentID) (api.EnvironmentStatus, error) {
	return call[api.EnvironmentStatus](ctx, c, request{method: "GET", path: environmentPath(id)})
}

// Stop holds an environment at no instances.
func (c *Client) Stop(ctx context.Context, id springtide.EnvironmentID) error {
	return c.do(ctx, "POST", environmentPath(id, "stop"))
}

// Start ends what Stop began.
func (c *Client) Start(ctx context.Context, id springtide.EnvironmentID) error {
	return c.do(ctx, "POST", environmentPath(id, "start"))
}

// BeginMaintenance has the edges answer with a page, or changes it.
func (c *Client) BeginMaintenance(ctx context.Context, id springtide.EnvironmentID, change api.MaintenanceChange) (springtide.Maintenance, error) {
	return call[springtide.Maintenance](ctx, c, request{method: "PUT", path: environmentPath(id, "maintenance"), body: change})
}

// EndMaintenance has the environment served again.
func (c *Client) EndMaintenance(ctx context.Context, id springtide.EnvironmentID) error {
	return c.do(ctx, "DELETE", environmentPath(id, "maintenance"))
}

// Destroy forgets an environment and its releases; it returns when nothing of it runs.
func (c *Client) Destroy(ctx context.Context, id springtide.EnvironmentID) error {
	return c.do(ctx, "DELETE", environmentPath(id))
}

// Config gives the variables that are set.
func (c *Client) Config(ctx context.Context, id springtide.EnvironmentID) (map[string]string, error) {
	return call[map[string]string](ctx, c, request{method: "GET", path: environmentPath(id, "config")})
}

// ChangeConfig sets and removes variables, and gives what there is then.
func (c *Client) ChangeConfig(ctx context.Context, id springtide.EnvironmentID, change api.ConfigChange) (map[string]string, error) {
	return call[map[string]string](ctx, c, request{method: "PATCH", path: environmentPath(id, "config"), body: change})
}

// Domains lists the host names that were added by hand.
func (c *Client) Domains(ctx context.Context, id springtide.EnvironmentID) ([]string, error) {
	return call[[]string](ctx, c, request{method: "GET", path: environmentPath(id, "domains")})
}

// ChangeDomains adds and removes host names, and gives what there is then.
func (c *Client) ChangeDomains(ctx context.Context, id springtide.EnvironmentID, change api.DomainsChange) ([]string, error) {
	return call[[]string](ctx, c, request{method: "PATCH", path: environmentPath(id, "domains"), body: change})
}

// Scale tells how many instances each process has and may have.
func (c *Client) Scale(ctx context.Context, id springtide.EnvironmentID) ([]api.ProcessStatus, error) {
	return call[[]api.ProcessStatus](ctx, c, request{method: "GET", path: environmentPath(id, "scale")})
}

// ChangeScale sets how many instances processes may have.
func (c *Client) ChangeScale(ctx context.Context, id springtide.EnvironmentID, change api.ScaleChange) ([]api.ProcessStatus, error) {
	return call[[]api.ProcessStatus](ctx, c, request{method: "PATCH", path: environmentPath(id, "scale"), body: change})
}

// Plan tells what a deploy of app would change.
func (c *Client) Plan(ctx context.Context, id springtide.EnvironmentID, app springtide.App) (api.Plan, error) {
	return call[api.Plan](ctx, c, request{method: "POST", path: environmentPath(id, "plan"), body: app})
}

// Releases lists those that are kept, the newest first.
func (c *Client) Releases(ctx context.Context, id springtide.EnvironmentID) ([]api.ListedRelease, error) {
	return call[[]api.ListedRelease](ctx, c, request{method: "GET", path: environmentPath(id, "releases")})
}

// Instances lists the instances.
func (c *Client) Instances(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Instance, error) {
	return call[[]springtide.Instance](ctx, c, request{method: "GET", path: environmentPath(id, "instances")})
}

// Decisions lists scaling decisions, the newest first.
func (c *Client) Decisions(ctx context.Context, id springtide.EnvironmentID, limit int) ([]springtide.Decision, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	return call[[]springtide.Decision](ctx, c, request{method: "GET", path: environmentPath(id, "decisions"), query: query})
}
