package client

import (
	"context"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Certificates tells what the host names of all apps are served with.
func (c *Client) Certificates(ctx context.Context) ([]api.Certificate, error) {
	return call[[]api.Certificate](ctx, c, request{method: "GET", path: "/v1/certificates"})
}

// AddCertificate has host names of an environment served with a file of one's own.
func (c *Client) AddCertificate(ctx context.Context, id springtide.EnvironmentID, file api.CertificateFile) ([]api.Certificate, error) {
	return call[[]api.Certificate](ctx, c, request{method: "POST", path: environmentPath(id, "certificates"), body: file})
}

// RemoveCertificate forgets such a file.
func (c *Client) RemoveCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error {
	return c.do(ctx, "DELETE", environmentPath(id, "certificates", name))
}

// RenewCertificate has the ACME server asked now, and waits for what becomes of it.
func (c *Client) RenewCertificate(ctx context.Context, id springtide.EnvironmentID, name string) error {
	return c.do(ctx, "POST", environmentPath(id, "certificates", name, "renew"))
}
