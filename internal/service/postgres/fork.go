package postgres

import (
	"context"

	"github.com/springtide/springtide/internal/service"
)

// Fork copies a running server. The copy has the logins of the original until it
// is settled, which drops them.
func (d *Driver) Fork(ctx context.Context, from, to service.Server) error {
	return d.anew(to, func(folder string) error { return d.copyRunning(ctx, from, folder) })
}
