package mariadb

import (
	"context"
	"path/filepath"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// Upgrade copies the data and has mariadb-upgrade change the copy. The older
// version need not be there any more: it must have ended in good order.
func (Driver) Upgrade(ctx context.Context, from, to service.Server) error {
	if err := check(to); err != nil {
		return err
	}
	key, err := readKey(from.Folder)
	if err != nil {
		return springtide.Errorf(springtide.NotFound, "there is no data of service %s to upgrade: %w", from.ID, err)
	}
	if err := durable.WriteFile(filepath.Join(to.Folder, keyFile), []byte(key), 0o600); err != nil {
		return err
	}
	return anew(to, func(folder string) error {
		_, err := run(ctx, to, job{Process: service.Process{
			Path: "/bin/cp", Args: []string{"--archive", "--reflink=auto", filepath.Join(from.Folder, "data") + "/.", folder},
		}})
		if err != nil {
			return err
		}
		return temporarily(ctx, to, folder, func(ctx context.Context) error {
			_, err := run(ctx, to, job{Process: client("mariadb-upgrade", key, "--force", "--silent")})
			return err
		})
	})
}
