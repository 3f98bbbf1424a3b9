package client

import (
	"context"
	"net/url"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// BackupStatus tells how safe everything is.
func (c *Client) BackupStatus(ctx context.Context, id springtide.EnvironmentID) ([]api.BackupStatus, error) {
	return call[[]api.BackupStatus](ctx, c, request{method: "GET", path: environmentPath(id, "backups", "status")})
}

// Backups lists those of one thing, or of all, the newest first.
func (c *Client) Backups(ctx context.Context, id springtide.EnvironmentID, of string) ([]api.BackupRecord, error) {
	query := url.Values{}
	set(query, "of", of)
	return call[[]api.BackupRecord](ctx, c, request{method: "GET", path: environmentPath(id, "backups"), query: query})
}

// RunBackup makes a backup now.
func (c *Client) RunBackup(ctx context.Context, id springtide.EnvironmentID, of string) (springtide.RunID, error) {
	return c.startBackup(ctx, id, of, "run")
}

// RunDrill proves now that the newest backup can be restored.
func (c *Client) RunDrill(ctx context.Context, id springtide.EnvironmentID, of string) (springtide.RunID, error) {
	return c.startBackup(ctx, id, of, "drill")
}

func (c *Client) startBackup(ctx context.Context, id springtide.EnvironmentID, of, what string) (springtide.RunID, error) {
	started, err := call[api.StartedRun](ctx, c, request{method: "POST", path: environmentPath(id, "backups", of, what)})
	return started.Run, err
}

// AcceptFiles has shared files kept safe as they are, though they were emptied.
func (c *Client) AcceptFiles(ctx context.Context, id springtide.EnvironmentID) error {
	return c.do(ctx, "POST", environmentPath(id, "backups", "files", "accept"))
}

// VerifyBackups reads all backups of a thing again.
func (c *Client) VerifyBackups(ctx context.Context, id springtide.EnvironmentID, of string) (api.Verification, error) {
	return call[api.Verification](ctx, c, request{method: "POST", path: environmentPath(id, "backups", of, "verify")})
}

// Restore makes a state of the past beside what is in use.
func (c *Client) Restore(ctx context.Context, id springtide.EnvironmentID, of string, past api.RestoreRequest) (api.Restored, error) {
	return call[api.Restored](ctx, c, request{method: "POST", path: environmentPath(id, "backups", of, "restore"), body: past})
}

// PromoteRestored has what was restored take the place of what is in use.
func (c *Client) PromoteRestored(ctx context.Context, id springtide.EnvironmentID, of, restored string) error {
	return c.do(ctx, "POST", environmentPath(id, "backups", of, "restored", restored, "promote"))
}

// DiscardRestored deletes what was restored and is not in use.
func (c *Client) DiscardRestored(ctx context.Context, id springtide.EnvironmentID, of, restored string) error {
	return c.do(ctx, "DELETE", environmentPath(id, "backups", of, "restored", restored))
}
