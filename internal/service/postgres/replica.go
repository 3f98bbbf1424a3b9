package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// standbyFile has a server follow another for as long as it is there.
const standbyFile = "standby.signal"

// primaryOf is whom a replica follows, as far as we have to know.
func primaryOf(s service.Server) service.Server {
	primary := s
	primary.Role, primary.Folder, primary.Address = service.RolePrimary, s.PrimaryFolder, s.Primary
	primary.Primary, primary.PrimaryFolder = s.Address, ""
	return primary
}

// Follow makes a replica's data from its running primary, unless what it has does
// follow that one and can go on. Data of an earlier day as a primary is replaced,
// when the new is whole: it may hold what the present primary never had. The
// primary must have been settled, and must be there.
func (d *Driver) Follow(ctx context.Context, s service.Server) error {
	if err := d.prepare(s); err != nil {
		return err
	}
	primary := primaryOf(s)
	var system uint64
	var fresh bool
	err := within(ctx, primary, platformDatabase, func(conn *pgx.Conn) (err error) {
		if system, err = ask[uint64](ctx, conn, "select system_identifier from pg_control_system()"); err == nil {
			fresh, err = reserve(ctx, conn)
		}
		return err
	})
	if err != nil {
		return err
	}
	if follows, err := follows(s, system); err != nil || follows && !fresh {
		return err
	}
	old := data(s) + ".old"
	if err := discard(old); err != nil {
		return err
	}
	if err := os.Rename(data(s), old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(d.anew(s, func(folder string) error { return d.copyToFollow(ctx, s, folder) }), discard(old))
}

// reserve has the primary keep its log for the replica, and says whether it did
// not do so up to now.
func reserve(ctx context.Context, conn *pgx.Conn) (fresh bool, err error) {
	_, err = conn.Exec(ctx, "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1 and wal_status = 'lost'", replicaName)
	if err != nil {
		return false, err
	}
	there, err := ask[bool](ctx, conn, "select exists (select from pg_replication_slots where slot_name = $1)", replicaName)
	if err != nil || there {
		return false, err
	}
	_, err = conn.Exec(ctx, "select pg_create_physical_replication_slot($1, true)", replicaName)
	return true, err
}

// follows says whether a replica's data is that of a replica of the same system.
func follows(s service.Server, system uint64) (bool, error) {
	if _, err := os.Stat(filepath.Join(data(s), standbyFile)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	control, err := os.ReadFile(filepath.Join(data(s), "global", "pg_control"))
	if err != nil || len(control) < 8 {
		return false, err
	}
	return binary.NativeEndian.Uint64(control) == system, nil
}

func (d *Driver) copyToFollow(ctx context.Context, s service.Server, folder string) error {
	if err := d.copyRunning(ctx, primaryOf(s), folder, "--slot="+replicaName); err != nil {
		return err
	}
	if err := write(s, filepath.Join(folder, standbyFile), nil); err != nil {
		return err
	}
	return durable.SyncFolder(folder)
}

// copyRunning copies the data of a running server, synced.
func (d *Driver) copyRunning(ctx context.Context, from service.Server, folder string, more ...string) error {
	_, err := run(ctx, from, program{Process: service.Process{
		Path: d.program(from.Version, "pg_basebackup"),
		Args: append(append(toward(from), "--pgdata="+folder, "--wal-method=stream", "--checkpoint=fast", "--no-password"), more...),
	}})
	return err
}

// Promote makes a running replica a primary, when it has done again all that it
// was sent. It may be called again. Of a synchronous one it depends on the server
// whether it waits for a standby from then on: see [Driver.Settle].
func (d *Driver) Promote(ctx context.Context, s service.Server) error {
	primary := s
	primary.Role = service.RolePrimary
	if err := d.prepare(primary); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.PrimaryFolder, changesFolder)); err == nil {
		if err := keepChanges(s); err != nil { // before there are any
			return err
		}
	}
	var timeline int32
	err := within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		if err := reload(ctx, conn, s); err != nil {
			return err
		}
		if err := promote(ctx, conn, s); err != nil {
			return err
		}
		// The control file does not have it before the next checkpoint.
		name, err := ask[string](ctx, conn, "select pg_walfile_name(pg_current_wal_insert_lsn())")
		if err != nil {
			return err
		}
		number, err := strconv.ParseInt(name[:8], 16, 32)
		timeline = int32(number)
		return err
	})
	if err != nil {
		return err
	}
	return inherit(s, fmt.Sprintf("%08X", timeline))
}

func promote(ctx context.Context, conn *pgx.Conn, s service.Server) error {
	recovering, err := ask[bool](ctx, conn, "select pg_is_in_recovery()")
	if err != nil || !recovering {
		return err
	}
	promoted, err := ask[bool](ctx, conn, "select pg_promote(true, 60)")
	if err == nil && !promoted {
		err = springtide.Errorf(springtide.Unavailable, "the replica of %s has not become a primary within a minute", s.ID)
	}
	return err
}

// Lag tells how much a replica is behind its primary: in bytes of its log, and in
// time since the last thing that it did again was done there; 0 if nothing is
// missing. Without the primary it is what was received and not done again. The
// error is of kind Conflict if the replica can never catch up: follow again.
func (d *Driver) Lag(ctx context.Context, s service.Server) (time.Duration, int64, error) {
	var sent, slot string
	_ = within(ctx, primaryOf(s), platformDatabase, func(conn *pgx.Conn) error { // it may be away
		return conn.QueryRow(ctx, `
			select pg_current_wal_lsn()::text, coalesce((select wal_status from pg_replication_slots where slot_name = $1), 'missing')`,
			replicaName).Scan(&sent, &slot)
	})
	if slot == "lost" || slot == "missing" {
		return 0, 0, springtide.Errorf(springtide.Conflict, "the replica of %s was away for too long: its primary has not kept the log for it", s.ID)
	}
	var seconds float64
	var bytes int64
	err := within(ctx, s, platformDatabase, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `
			select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()), 0)::float8,
				greatest(coalesce(pg_wal_lsn_diff(coalesce(nullif($1, '')::pg_lsn, pg_last_wal_receive_lsn()), pg_last_wal_replay_lsn()), 0), 0)::int8`,
			sent).Scan(&seconds, &bytes)
	})
	if bytes == 0 {
		seconds = 0
	}
	return time.Duration(seconds * float64(time.Second)), bytes, err
}
