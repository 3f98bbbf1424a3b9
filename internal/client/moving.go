package client

import (
	"context"
	"io"
	"net/url"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/moving"
)

// Export gives an export of apps, all where none is named, as it comes. One that
// breaks off ends with an error, and cannot be decrypted to its end.
func (c *Client) Export(ctx context.Context, apps []springtide.AppName, recipients []string) (io.ReadCloser, error) {
	response, err := c.send(ctx, request{
		method: "POST", path: "/v1/platform/export", accept: "application/octet-stream",
		body: api.ExportRequest{Apps: apps, Recipients: recipients},
	})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// PlanImport tells what importing a file with that inventory would do.
func (c *Client) PlanImport(ctx context.Context, inventory moving.Inventory) (moving.ImportPlan, error) {
	return call[moving.ImportPlan](ctx, c, request{method: "POST", path: "/v1/platform/import/plan", body: inventory})
}

// Import takes in a decrypted file, or some of its apps.
func (c *Client) Import(ctx context.Context, apps []springtide.AppName, file io.Reader) (moving.ImportPlan, error) {
	query := url.Values{}
	for _, app := range apps {
		query.Add("app", string(app))
	}
	return call[moving.ImportPlan](ctx, c, request{method: "POST", path: "/v1/platform/import", query: query, body: file, contentType: "application/x-tar"})
}
