package redis

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// Follow makes the folder of a replica, which takes its data from the primary
// once it runs.
func (Driver) Follow(_ context.Context, replica service.Server) error {
	if err := check(replica.ID.Name, replica.Spec); err != nil {
		return err
	}
	following := filepath.Join(replica.Folder, followingFile)
	if whom, err := os.ReadFile(following); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if string(whom) != replica.PrimaryFolder {
		// What it has is not of this primary, and must not be shown to anybody.
		if err := os.RemoveAll(filepath.Join(replica.Folder, "data")); err != nil {
			return err
		}
	}
	if err := prepare(replica); err != nil {
		return err
	}
	if err := install(replica, nil); err != nil {
		return err
	}
	return durable.WriteFile(following, []byte(replica.PrimaryFolder), 0o600)
}

// Promote has the replica follow nobody. If it got the primary's data just now it
// is waited for until that is in its own append-only file.
func (Driver) Promote(ctx context.Context, replica service.Server) error {
	err := with(ctx, replica, func(c *connection) error {
		facts, err := c.info("replication", "keyspace")
		if err != nil {
			return err
		}
		if facts["role"] != "slave" {
			return nil
		}
		if !hasData(facts) {
			return springtide.Errorf(springtide.Conflict, "the replica of service %s never had its primary's data", replica.ID)
		}
		_, err = c.do("REPLICAOF", "NO", "ONE")
		return err
	})
	if err == nil {
		err = rewritten(ctx, replica)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(replica.Folder, followingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.SyncFolder(replica.Folder)
}

// rewritten returns when the append-only file is not being made anew: until then a
// server that has its data from another one refuses to end.
func rewritten(ctx context.Context, server service.Server) error {
	return with(ctx, server, func(c *connection) error {
		for {
			facts, err := c.info("persistence")
			if err != nil {
				return err
			}
			if facts["aof_rewrite_in_progress"] != "1" && facts["aof_rewrite_scheduled"] != "1" {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
}

// hasData says whether a replica has been given its primary's data, now or before
// it was started.
func hasData(facts map[string]string) bool {
	if facts["role"] != "slave" || facts["master_link_status"] == "up" {
		return true
	}
	if facts["master_sync_in_progress"] == "1" {
		return false
	}
	for name := range facts {
		if isDatabase(name) {
			return true
		}
	}
	return facts["master_link_down_since_seconds"] != "-1"
}

// isDatabase reports whether a fact is of a database: "db0".
func isDatabase(name string) bool {
	number, ok := strings.CutPrefix(name, "db")
	_, err := strconv.Atoi(number)
	return ok && err == nil
}

// Lag compares what both have. While the primary is away it is the time since.
func (Driver) Lag(ctx context.Context, replica service.Server) (time.Duration, int64, error) {
	var facts map[string]string
	err := with(ctx, replica, func(c *connection) (err error) {
		facts, err = c.info("replication")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	if facts["master_link_status"] != "up" {
		down, _ := strconv.Atoi(facts["master_link_down_since_seconds"])
		return time.Duration(max(down, 0)) * time.Second, 0,
			springtide.Errorf(springtide.Unavailable, "the replica of service %s is not connected to its primary", replica.ID)
	}
	var ahead map[string]string
	primary := replica
	primary.Folder, primary.Role = replica.PrimaryFolder, service.RolePrimary
	err = with(ctx, primary, func(c *connection) (err error) {
		ahead, err = c.info("replication")
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	written, _ := strconv.ParseInt(ahead["master_repl_offset"], 10, 64)
	has, _ := strconv.ParseInt(facts["slave_repl_offset"], 10, 64)
	if written <= has {
		return 0, 0, nil
	}
	quiet, _ := strconv.Atoi(facts["master_last_io_seconds_ago"])
	return time.Duration(max(quiet, 0)) * time.Second, written - has, nil
}
