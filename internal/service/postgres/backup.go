package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// countedSize is up to which size of a table a backup counts its rows, in bytes.
// Of larger ones it knows the server's estimate.
const countedSize = 64 * mib

// Backup writes a tar stream of the running server's data, with the part of the
// log that makes it consistent: it can be restored without the changes that were
// shipped, and with them. A slot has that part kept for as long as it takes. The
// rows are counted at the end, which is the moment that the backup is of.
func (d *Driver) Backup(ctx context.Context, s service.Server, to io.Writer) (service.BackupInfo, error) {
	info := service.BackupInfo{Version: s.Version}
	err := within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "select pg_create_physical_replication_slot('backup_' || pg_backend_pid(), true, true)")
		if err != nil {
			return err
		}
		said, err := run(ctx, s, program{
			Process: service.Process{
				Path: d.program(s.Version, "pg_basebackup"),
				Args: append(toward(s), "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--no-password", "--verbose"),
			},
			Output: to,
		})
		if err != nil {
			return err
		}
		info.Begin, info.End, err = parsePositions(said)
		return err
	})
	if err != nil {
		return info, err
	}
	err = within(ctx, s, s.Logins.Database, func(conn *pgx.Conn) (err error) {
		info.Rows, err = countRows(ctx, conn, countedSize)
		return err
	})
	if err != nil {
		return info, err
	}
	if err := os.Remove(filepath.Join(s.Folder, gapFile)); !errors.Is(err, fs.ErrNotExist) {
		return info, err
	}
	return info, nil
}

// parsePositions finds in what pg_basebackup says from where to where the log was
// taken.
func parsePositions(said string) (begin, end string, err error) {
	position := func(name string) string {
		found := regexp.MustCompile("write-ahead log " + name + " point: ([0-9A-F]{1,8}/[0-9A-F]{1,8})\\b").FindStringSubmatch(said)
		if found == nil {
			return ""
		}
		return found[1]
	}
	begin, end = position("start"), position("end")
	if begin == "" || end == "" {
		return "", "", springtide.Errorf(springtide.Internal, "pg_basebackup does not say where in the log the backup begins and ends")
	}
	return begin, end, nil
}

// Dump writes the app's database in pg_dump's own compressed format.
func (d *Driver) Dump(ctx context.Context, s service.Server, to io.Writer) error {
	_, err := run(ctx, s, program{Process: d.dump(s, s.Version), Output: to})
	return err
}

// dump is made by the program of a version that is not older than the server.
func (d *Driver) dump(s service.Server, version string) service.Process {
	return service.Process{
		Path: d.program(version, "pg_dump"),
		Args: append(toward(s), "--format=custom", "--no-password", "--dbname="+s.Logins.Database),
	}
}

// countRows counts the rows of each table of the database that is kept in
// backups, by "schema.table"; of those beyond a size it gives the estimate.
// exactly -1 counts all.
func countRows(ctx context.Context, conn *pgx.Conn, exactBelow int64) (map[string]int64, error) {
	type table struct {
		Schema, Name   string
		Size, Estimate int64
	}
	rows, err := conn.Query(ctx, `
		select n.nspname, c.relname, pg_relation_size(c.oid),
			greatest(coalesce(pg_stat_get_live_tuples(c.oid), 0), c.reltuples::int8, 0)
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'm') and c.relpersistence = 'p' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'`)
	if err != nil {
		return nil, err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowToStructByPos[table])
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int64, len(tables))
	for _, one := range tables {
		name := pgx.Identifier{one.Schema, one.Name}.Sanitize()
		count := one.Estimate
		if exactBelow < 0 || one.Size <= exactBelow {
			if count, err = ask[int64](ctx, conn, "select count(*) from "+name); isGone(err) {
				continue
			} else if err != nil {
				return nil, fmt.Errorf("count the rows of %s: %w", name, err)
			}
		}
		counts[one.Schema+"."+one.Name] = count
	}
	return counts, nil
}
