package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"strconv"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// slowLogLimit is how long the log of slow statements becomes, in bytes, before it
// is begun anew. The one before is kept.
const slowLogLimit = 8 * mib

// Ready gives nil when the server answers; of a replica when it follows, or would
// if its primary were there.
func (Driver) Ready(ctx context.Context, server service.Server) error {
	return with(ctx, server, func(conn *sql.Conn) error {
		if err := boundSlowLog(ctx, conn, server.Folder); err != nil {
			return err
		}
		if server.Role == service.RoleReplica {
			return join(ctx, conn, server)
		}
		return do(ctx, conn, "SELECT 1")
	})
}

func boundSlowLog(ctx context.Context, conn *sql.Conn, folder string) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Lstat("log/" + slowLog)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() < slowLogLimit {
		return nil
	}
	if err == nil {
		err = root.Rename("log/"+slowLog, "log/"+slowLog+".1")
	}
	if err != nil {
		return err
	}
	return do(ctx, conn, "FLUSH NO_WRITE_TO_BINLOG SLOW LOGS")
}

// Settle makes the database and the logins, and sets the limits. It writes nothing
// if they are there: a primary that waits for a replica would have to.
func (Driver) Settle(ctx context.Context, server service.Server) error {
	if err := check(server); err != nil {
		return err
	}
	return with(ctx, server, func(conn *sql.Conn) error {
		// What follows must not wait for a replica that is away.
		if !waits(server) {
			if err := setWaiting(ctx, conn, false); err != nil {
				return err
			}
		}
		if err := settleDatabase(ctx, conn, server); err != nil {
			return err
		}
		for name, wanted := range map[string]int64{
			"max_connections":         2*int64(service.Connections(server.Spec)) + reserved,
			"innodb_buffer_pool_size": memory(server.Spec),
		} {
			if err := setVariable(ctx, conn, name, strconv.FormatInt(wanted, 10)); err != nil {
				return err
			}
		}
		if waits(server) {
			return setWaiting(ctx, conn, true)
		}
		return nil
	})
}

func settleDatabase(ctx context.Context, conn *sql.Conn, server service.Server) error {
	name := server.Logins.Database
	found, err := askOne(ctx, conn, "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?", name)
	if err != nil {
		return err
	}
	if found == nil {
		if err := do(ctx, conn, "CREATE DATABASE IF NOT EXISTS "+quoted(name)+" CHARACTER SET utf8mb4"); err != nil {
			return err
		}
	}
	if err := settleApp(ctx, conn, server, server.Logins.Current); err != nil {
		return err
	}
	if server.Logins.Previous.Name != "" {
		if err := settleApp(ctx, conn, server, server.Logins.Previous); err != nil {
			return err
		}
	}
	return settleReplication(ctx, conn, server.Logins.Replication)
}

// setVariable changes a number while the server runs, if it is another one.
func setVariable(ctx context.Context, conn *sql.Conn, name, wanted string) error {
	found, err := askOne(ctx, conn, "SELECT @@"+name+" AS value")
	if err != nil || found["value"] == wanted {
		return err
	}
	return do(ctx, conn, "SET GLOBAL "+name+" = "+wanted)
}

// setWaiting has the primary acknowledge nothing that its replica does not have
// in its log, or has it not wait.
func setWaiting(ctx context.Context, conn *sql.Conn, wait bool) error {
	if !wait {
		return setVariable(ctx, conn, "rpl_semi_sync_master_enabled", "0")
	}
	if err := do(ctx, conn, "SET GLOBAL rpl_semi_sync_master_timeout = "+forEver+", rpl_semi_sync_master_wait_point = 'AFTER_SYNC', rpl_semi_sync_master_enabled = 1"); err != nil {
		return err
	}
	found, err := askOne(ctx, conn, "SHOW STATUS LIKE 'Rpl_semi_sync_master_status'")
	if err == nil && found["Value"] != "ON" {
		return springtide.Errorf(springtide.Unavailable, "the primary does not wait for its replica yet")
	}
	return err
}
