package client

import (
	"context"
	"net/url"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// Secrets lists the secrets, without what they hold.
func (c *Client) Secrets(ctx context.Context, id springtide.EnvironmentID) ([]api.Secret, error) {
	return call[[]api.Secret](ctx, c, request{method: "GET", path: environmentPath(id, "secrets")})
}

// ChangeSecrets sets and removes secrets.
func (c *Client) ChangeSecrets(ctx context.Context, id springtide.EnvironmentID, change api.SecretsChange) ([]api.Secret, error) {
	return call[[]api.Secret](ctx, c, request{method: "PATCH", path: environmentPath(id, "secrets"), body: change})
}

// ExportSecrets gives a .env file encrypted to an age recipient.
func (c *Client) ExportSecrets(ctx context.Context, id springtide.EnvironmentID, recipient string) (string, error) {
	sealed, err := call[api.SealedFile](ctx, c, request{
		method: "GET", path: environmentPath(id, "secrets", "export"), query: url.Values{"recipient": {recipient}},
	})
	return sealed.Text, err
}

// RotateRootKey seals every key of the platform anew.
func (c *Client) RotateRootKey(ctx context.Context) error {
	return c.do(ctx, "POST", "/v1/platform/root-key/rotate")
}

// RecoveryKey makes the key by which all can be brought back on an empty machine.
func (c *Client) RecoveryKey(ctx context.Context, renew bool) (string, error) {
	query := url.Values{}
	if renew {
		query.Set("renew", "true")
	}
	made, err := call[api.RecoveryKey](ctx, c, request{method: "POST", path: "/v1/platform/recovery-key", query: query})
	return made.Key, err
}

// SetSources says how the places are reached that secrets may refer to.
func (c *Client) SetSources(ctx context.Context, sources api.SecretSources) error {
	response, err := c.send(ctx, request{method: "PATCH", path: "/v1/platform/secret-sources", body: sources})
	if err != nil {
		return err
	}
	return response.Body.Close()
}
