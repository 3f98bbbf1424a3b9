package client

import (
	"context"
	"net/url"

	"github.com/springtide/springtide/internal/api"
)

// Status tells what platform it is and how it stands.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return call[api.Status](ctx, c, request{method: "GET", path: "/v1/status"})
}

// CertificateAuthority gives the certificate of the platform's own authority, in PEM.
func (c *Client) CertificateAuthority(ctx context.Context) (string, error) {
	authority, err := call[api.Authority](ctx, c, request{method: "GET", path: "/v1/ca"})
	return authority.PEM, err
}

// Drain lets go of every instance; it returns when nothing runs.
func (c *Client) Drain(ctx context.Context) error { return c.do(ctx, "POST", "/v1/platform/drain") }

// Upgrade has the tide in a file of the server's take over, or, if none is named,
// the one that is in place; it returns when that has begun.
func (c *Client) Upgrade(ctx context.Context, file string) (api.Upgrade, error) {
	return call[api.Upgrade](ctx, c, request{method: "POST", path: "/v1/platform/upgrade", body: api.UpgradePlatformRequest{File: file}})
}

// Tokens lists the tokens.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	return call[[]api.Token](ctx, c, request{method: "GET", path: "/v1/tokens"})
}

// CreateToken makes a token; its secret is told this once.
func (c *Client) CreateToken(ctx context.Context, name string) (api.NewToken, error) {
	return call[api.NewToken](ctx, c, request{method: "POST", path: "/v1/tokens", body: map[string]string{"name": name}})
}

// DeleteToken revokes a token.
func (c *Client) DeleteToken(ctx context.Context, name string) error {
	return c.do(ctx, "DELETE", "/v1/tokens/"+url.PathEscape(name))
}

// Registry tells how images are pulled.
func (c *Client) Registry(ctx context.Context) (api.PullAccess, error) {
	return call[api.PullAccess](ctx, c, request{method: "GET", path: "/v1/registry"})
}
