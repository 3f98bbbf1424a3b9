package client

import (
	"context"
	"io"
	"net/url"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// checkEvery is how often a deploy is asked for besides its events, in case the
// last of them is lost.
const checkEvery = 5 * time.Second

// Deploy sends a source, an app's folder as tar.gz, and returns when it has
// arrived. [Client.FollowDeploy] tells the rest.
func (c *Client) Deploy(ctx context.Context, id springtide.EnvironmentID, source io.Reader, description string) (api.Deploy, error) {
	query := url.Values{}
	if description != "" {
		query.Set("description", description)
	}
	return call[api.Deploy](ctx, c, request{method: "POST", path: environmentPath(id, "deploys"), query: query, body: source})
}

// Rollback rolls out an earlier release; 0 is the one before.
func (c *Client) Rollback(ctx context.Context, id springtide.EnvironmentID, number int) (api.Deploy, error) {
	return call[api.Deploy](ctx, c, request{method: "POST", path: environmentPath(id, "rollback"), body: map[string]int{"release": number}})
}

// Restart rolls out the active release again.
func (c *Client) Restart(ctx context.Context, id springtide.EnvironmentID) (api.Deploy, error) {
	return call[api.Deploy](ctx, c, request{method: "POST", path: environmentPath(id, "restart")})
}

// DeployStatus tells how far a deploy has come.
func (c *Client) DeployStatus(ctx context.Context, id api.DeployID) (api.Deploy, error) {
	return call[api.Deploy](ctx, c, request{method: "GET", path: "/v1/deploys/" + url.PathEscape(string(id))})
}

// FollowDeploy calls tell with every event of the deploy, from its first, until
// it is done, and gives how it ended.
func (c *Client) FollowDeploy(ctx context.Context, id api.DeployID, tell func(springtide.Event)) (api.Deploy, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	go c.stopWhenDone(following, id, stop)
	for event, err := range c.events(following, api.EventQuery{Deploy: id}, true) {
		if following.Err() != nil {
			break
		}
		if err != nil {
			return api.Deploy{}, err
		}
		tell(event)
		if event.Kind == "deploy.done" || event.Kind == "deploy.failed" {
			break
		}
	}
	return c.waitDone(ctx, id)
}

// stopWhenDone asks for the deploy now and then, and calls stop when its last
// event should have come.
func (c *Client) stopWhenDone(ctx context.Context, id api.DeployID, stop func()) {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for done := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if done {
			stop()
			return
		}
		deploy, err := c.DeployStatus(ctx, id)
		done = err == nil && deploy.Done
	}
}

// waitDone asks until the deploy is done.
func (c *Client) waitDone(ctx context.Context, id api.DeployID) (api.Deploy, error) {
	var deploy api.Deploy
	for {
		err := c.patiently(ctx, func() (err error) {
			deploy, err = c.DeployStatus(ctx, id)
			return err
		})
		if err != nil || deploy.Done {
			return deploy, err
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return deploy, err
		}
	}
}
