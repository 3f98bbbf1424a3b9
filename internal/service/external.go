package service

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// reachLimit is how long a server of the user's own may take to accept a
// connection.
const reachLimit = 5 * time.Second

// externalURL gives the URL of a server of the user's own.
func (m *Manager) externalURL(id springtide.EnvironmentID, spec springtide.Service) (string, error) {
	name, secret := strings.CutPrefix(spec.External, "secret:")
	if !secret {
		return spec.External, nil
	}
	if m.options.Secret == nil {
		return "", springtide.Errorf(springtide.Invalid, "URLs cannot be secrets here")
	}
	return m.options.Secret(id, springtide.SecretName(name))
}

// externalAddress gives the host and port that a URL leads to. It does not tell
// the URL in its errors, for that has a password.
func externalAddress(text string) (string, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Hostname() == "" {
		return "", springtide.Errorf(springtide.Invalid, "what is given as its URL is none").WithHint("write it as postgres://user:password@host:5432/database")
	}
	port := parsed.Port()
	if port == "" {
		port = map[string]string{"postgres": "5432", "postgresql": "5432", "mysql": "3306", "mariadb": "3306", "redis": "6379", "rediss": "6379"}[parsed.Scheme]
	}
	if port == "" {
		return "", springtide.Errorf(springtide.Invalid, "the port of its URL is not known").WithHint("write the port into the URL")
	}
	return net.JoinHostPort(parsed.Hostname(), port), nil
}

// reach tries whether a server of the user's own accepts connections.
func (m *Manager) reach(ctx context.Context, id springtide.ServiceID, spec springtide.Service) error {
	text, err := m.externalURL(id.Environment, spec)
	if err != nil {
		return err
	}
	address, err := externalAddress(text)
	if err != nil {
		return err
	}
	connection, err := (&net.Dialer{Timeout: reachLimit}).DialContext(ctx, "tcp", address)
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "the server at %s cannot be reached: %w", address, err)
	}
	return connection.Close()
}

// externalUnit is where it is kept how a server of the user's own does.
const externalUnit = "external"

// lookAtExternal takes note of whether a server of the user's own can be reached.
func (c *cluster) lookAtExternal(ctx context.Context) {
	err := c.manager.reach(ctx, c.id, c.snapshot().Spec)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	u := c.unit(externalUnit)
	was, known := u.ready, !u.looked.IsZero()
	u.ready, u.looked, u.reason = err == nil, time.Now(), ""
	if err != nil {
		u.reason = err.Error()
	}
	c.mu.Unlock()
	switch {
	case err != nil && (was || !known):
		c.manager.happened(c.id, "service.unreachable", fmt.Sprintf("service %s: %s", c.id.Name, err))
	case err == nil && !was && known:
		c.manager.happened(c.id, "service.started", fmt.Sprintf("service %s can be reached again", c.id.Name))
	}
}
