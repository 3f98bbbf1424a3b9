package client

import (
	"context"
	"io"
	"net/url"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Mails lists the mails that were caught, the newest first.
func (c *Client) Mails(ctx context.Context, id springtide.EnvironmentID) ([]api.CaughtMail, error) {
	return call[[]api.CaughtMail](ctx, c, request{method: "GET", path: environmentPath(id, "mail")})
}

// Mail gives a caught mail as it would have been sent.
func (c *Client) Mail(ctx context.Context, id springtide.EnvironmentID, name string) (io.ReadCloser, error) {
	response, err := c.send(ctx, request{method: "GET", path: environmentPath(id, "mail", name), accept: "message/rfc822"})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Suppressions lists the addresses that are sent nothing.
func (c *Client) Suppressions(ctx context.Context, id springtide.EnvironmentID) ([]api.Suppression, error) {
	return call[[]api.Suppression](ctx, c, request{method: "GET", path: environmentPath(id, "mail", "suppressions")})
}

// Suppress has an address sent nothing more.
func (c *Client) Suppress(ctx context.Context, id springtide.EnvironmentID, address string) error {
	response, err := c.send(ctx, request{
		method: "POST", path: environmentPath(id, "mail", "suppressions"), body: map[string]string{"address": address},
	})
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// Unsuppress ends that.
func (c *Client) Unsuppress(ctx context.Context, id springtide.EnvironmentID, address string) error {
	return c.doQuery(ctx, "DELETE", environmentPath(id, "mail", "suppressions"), url.Values{"address": {address}})
}
