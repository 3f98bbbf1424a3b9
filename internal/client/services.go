package client

import (
	"context"
	"io"
	"net/url"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Services lists the services of an environment, or of all where it is the zero value.
func (c *Client) Services(ctx context.Context, id springtide.EnvironmentID) ([]api.ServiceStatus, error) {
	path := "/v1/services"
	if id != (springtide.EnvironmentID{}) {
		path = environmentPath(id, "services")
	}
	return call[[]api.ServiceStatus](ctx, c, request{method: "GET", path: path})
}

// Service tells how a service stands.
func (c *Client) Service(ctx context.Context, id springtide.ServiceID) (api.ServiceDetails, error) {
	return call[api.ServiceDetails](ctx, c, request{method: "GET", path: servicePath(id)})
}

// ServiceLog gives the end of what its servers wrote.
func (c *Client) ServiceLog(ctx context.Context, id springtide.ServiceID) (io.ReadCloser, error) {
	response, err := c.send(ctx, request{method: "GET", path: servicePath(id, "log"), accept: "text/plain"})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// RestartService restarts its servers.
func (c *Client) RestartService(ctx context.Context, id springtide.ServiceID) error {
	return c.do(ctx, "POST", servicePath(id, "restart"))
}

// PromoteService has the replica take over.
func (c *Client) PromoteService(ctx context.Context, id springtide.ServiceID) error {
	return c.do(ctx, "POST", servicePath(id, "promote"))
}

// RotateService gives the app a new login; it returns when the old one is worth nothing.
func (c *Client) RotateService(ctx context.Context, id springtide.ServiceID) error {
	return c.do(ctx, "POST", servicePath(id, "rotate"))
}

// ForkService gives another environment of the app a copy.
func (c *Client) ForkService(ctx context.Context, id springtide.ServiceID, to springtide.EnvironmentName, scrub string) error {
	response, err := c.send(ctx, request{method: "POST", path: servicePath(id, "fork"), body: api.ForkRequest{Environment: to, Scrub: scrub}})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// UpgradeService takes it, or a copy of it, to another version, and tells how
// long that took.
func (c *Client) UpgradeService(ctx context.Context, id springtide.ServiceID, version string, rehearse bool) (time.Duration, error) {
	body := api.UpgradeRequest{Version: version, Rehearse: rehearse}
	upgraded, err := call[api.Upgraded](ctx, c, request{method: "POST", path: servicePath(id, "upgrade"), body: body})
	return time.Duration(upgraded.TookSeconds * float64(time.Second)), err
}

// DestroyService deletes it and all of its data.
func (c *Client) DestroyService(ctx context.Context, id springtide.ServiceID) error {
	return c.doQuery(ctx, "DELETE", servicePath(id), url.Values{"confirm": {id.String()}})
}

func servicePath(id springtide.ServiceID, below ...string) string {
	return environmentPath(id.Environment, append([]string{"services", string(id.Name)}, below...)...)
}
