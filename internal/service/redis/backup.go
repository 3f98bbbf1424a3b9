package redis

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Backup writes the data as the server's own file of it (RDB), which has been
// read through before. Rows are the keys of each database that do not expire, as
// counted at its beginning.
func (Driver) Backup(ctx context.Context, server service.Server, to io.Writer) (service.BackupInfo, error) {
	var info service.BackupInfo
	err := with(ctx, server, func(c *connection) error {
		facts, err := c.info("server", "replication", "keyspace")
		if err != nil {
			return err
		}
		info = service.BackupInfo{Begin: facts["master_repl_offset"], Rows: keys(facts), Version: facts["redis_version"]}
		if version, ok := facts["valkey_version"]; ok {
			info.Version = version
		}
		return nil
	})
	if err != nil {
		return info, err
	}
	file, err := copied(ctx, server)
	if err != nil {
		return info, err
	}
	defer file.Close()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return info, err
	}
	_, err = io.Copy(to, file)
	return info, err
}

// keys counts those that do not expire: the others may be gone at any time.
func keys(facts map[string]string) map[string]int64 {
	rows := map[string]int64{}
	for name, text := range facts {
		if isDatabase(name) {
			counts := parseCounts(text)
			all, _ := strconv.ParseInt(counts["keys"], 10, 64)
			expiring, _ := strconv.ParseInt(counts["expires"], 10, 64)
			rows[name] = all - expiring
		}
	}
	return rows
}

// copied gives a copy of the data that has been checked. It goes to a file first:
// as long as the server sends it, each change costs it memory. The file has no
// name, so that nothing is left of it whatever happens.
func copied(ctx context.Context, server service.Server) (*os.File, error) {
	file, err := os.CreateTemp(server.Folder, ".copy.*")
	if err != nil {
		return nil, err
	}
	err = give(server, file.Name())
	if err = errors.Join(err, os.Remove(file.Name())); err == nil {
		err = with(ctx, server, func(c *connection) error { return c.copyData(file) })
	}
	if err == nil {
		err = checkCopy(ctx, server, file)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// checkCopy has the server's own program read through a copy of data. The error of
// a damaged one is of kind Failed.
func checkCopy(ctx context.Context, server service.Server, file *os.File) error {
	path, err := checker(server)
	if err != nil {
		return err
	}
	command := server.Command(ctx, service.Process{Path: path, Args: []string{"/proc/self/fd/3"}})
	command.ExtraFiles = []*os.File{file}
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	failed := springtide.Errorf(springtide.Failed, "the copy of redis of service %s is damaged: %w", server.ID, err)
	failed.Lines = lines[max(0, len(lines)-10):]
	return failed
}

// Restore makes the data from a copy, which is checked. There is nothing to be
// done on top of it: a moment that is not a backup's cannot be gone back to.
func (Driver) Restore(ctx context.Context, server service.Server, from io.Reader, until service.RestoreTo) error {
	if !until.Time.IsZero() {
		return springtide.Errorf(springtide.Invalid, "service %s: redis keeps no changes between backups", server.ID).
			WithHint("restore one of its backups as it is")
	}
	if _, err := os.Stat(filepath.Join(server.Folder, "data")); err == nil {
		return springtide.Errorf(springtide.Conflict, "there is data of service %s where it is to be restored", server.ID)
	}
	if err := prepare(server); err != nil {
		return err
	}
	return install(server, func(file *os.File) error {
		if _, err := io.Copy(file, from); err != nil {
			return err
		}
		return checkCopy(ctx, server, file)
	})
}

// Fork copies the data, and nothing else: users are not among it.
func (Driver) Fork(ctx context.Context, from, to service.Server) error {
	if err := check(to.ID.Name, to.Spec); err != nil {
		return err
	}
	if err := prepare(to); err != nil {
		return err
	}
	return install(to, func(file *os.File) error {
		return with(ctx, from, func(c *connection) error { return c.copyData(file) })
	})
}

// Dump is the same as Backup: servers of later versions read it too.
func (d Driver) Dump(ctx context.Context, server service.Server, to io.Writer) error {
	_, err := d.Backup(ctx, server, to)
	return err
}

// Changes says that none are kept.
func (Driver) Changes(context.Context, service.Server) (string, error) { return "", nil }

// Rows counts the keys of each database that do not expire.
func (Driver) Rows(ctx context.Context, server service.Server) (rows map[string]int64, err error) {
	err = with(ctx, server, func(c *connection) error {
		facts, err := c.info("keyspace")
		rows = keys(facts)
		return err
	})
	return rows, err
}

// Verify has the server write all its data, and reads through it.
func (d Driver) Verify(ctx context.Context, server service.Server) (found service.Verification, err error) {
	if found.Rows, err = d.Rows(ctx, server); err != nil {
		return found, err
	}
	file, err := copied(ctx, server)
	switch {
	case err == nil:
		file.Close()
	case springtide.KindOf(err) == springtide.Failed:
		found.Problems = append(found.Problems, err.Error())
	default:
		return found, err
	}
	found.Checked = "all keys, by redis-check-rdb on a whole copy"
	return found, nil
}
