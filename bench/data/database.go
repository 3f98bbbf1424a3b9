package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// server is where the platform's PostgreSQL is.
type server struct {
	folder, programs string
	user             *syscall.Credential
	port, database   string
}

// serverOf finds the server of the app's database.
func (b *bench) serverOf(ctx context.Context) (s server, err error) {
	details, err := b.Client.Service(ctx, springtide.ServiceID{Environment: environment, Name: "db"})
	if err != nil {
		return s, err
	}
	process := filepath.Join("/proc", strconv.Itoa(details.Servers[0].PID))
	data, err1 := os.Readlink(filepath.Join(process, "cwd"))
	program, err2 := os.Readlink(filepath.Join(process, "exe"))
	info, err3 := os.Stat(process)
	address, err4 := url.Parse(b.url)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return s, err
	}
	stat := info.Sys().(*syscall.Stat_t)
	return server{
		folder: filepath.Dir(data), programs: filepath.Dir(program), user: &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid},
		port: address.Port(), database: strings.TrimPrefix(address.Path, "/"),
	}, nil
}

// client are the words of a program that is a client of the server, run in its
// folder.
func (s server) client(program string, arguments ...string) []string {
	return append([]string{filepath.Join(s.programs, program), "--host=/proc/self/cwd/run", "--port=" + s.port, "--username=postgres", "--no-password"}, arguments...)
}

// peer makes a folder that belongs to the server's user.
func (b *bench) peer(name string) (string, error) {
	folder := filepath.Join(b.folder, name)
	return folder, errors.Join(os.RemoveAll(folder), os.Mkdir(folder, 0o700), os.Chown(folder, int(b.server.user.Uid), int(b.server.user.Gid)))
}

// fill makes a table anew; where it is to have nothing in it there is none.
func (b *bench) fill(ctx context.Context, table, kind string, seed uint64, size int64) error {
	connection, err := pgx.Connect(ctx, b.url)
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	if _, err := connection.Exec(ctx, "DROP TABLE IF EXISTS "+table); err != nil || size == 0 {
		return err
	}
	if _, err := connection.Exec(ctx, "CREATE TABLE "+table+" (id bigint, body bytea)"); err != nil {
		return err
	}
	_, err = connection.CopyFrom(ctx, pgx.Identifier{table}, []string{"id", "body"}, rowsOf(content(kind, seed), size))
	if err == nil {
		_, err = connection.Exec(ctx, "ANALYZE "+table)
	}
	return err
}

// database measures the backup and the restore of a database with that content.
func (b *bench) database(ctx context.Context, kind string) error {
	if err := b.fill(ctx, "filler", kind, 1, b.size); err != nil {
		return err
	}
	for round := 1; round <= b.rounds; round++ {
		for _, subject := range []struct {
			name            string
			backup, restore func(context.Context, *row) (time.Duration, error)
		}{
			{"tide", b.tideBackup, b.tideRestore},
			{"pg_basebackup", b.plainBackup, b.plainRestore},
			{"pgbackrest", b.restBackup, nil},
		} {
			if _, err := exec.LookPath(subject.name); err != nil && subject.name == "pgbackrest" {
				continue
			}
			if err := b.round(ctx, row{Case: "database backup, " + kind, Subject: subject.name, Round: round}, subject.backup); err != nil {
				return err
			}
			if subject.restore == nil {
				continue
			}
			if err := b.round(ctx, row{Case: "database restore, " + kind, Subject: subject.name, Round: round}, subject.restore); err != nil {
				return err
			}
		}
		if err := b.moment(ctx, kind, round); err != nil {
			return err
		}
	}
	return nil
}

// round measures one piece of work.
func (b *bench) round(ctx context.Context, r row, work func(context.Context, *row) (time.Duration, error)) error {
	took, processor, err := b.timed(func() (time.Duration, error) { return work(ctx, &r) })
	if err != nil {
		return fmt.Errorf("%s, %s: %w", r.Subject, r.Case, err)
	}
	r.Seconds, r.CPU = took.Seconds(), processor.Seconds()
	b.measured(r)
	return nil
}

// tideBackup makes a copy and a dump, both encrypted and read back.
func (b *bench) tideBackup(ctx context.Context, r *row) (time.Duration, error) {
	if _, err := b.tide(ctx, "backups", "run", "db"); err != nil {
		return 0, err
	}
	all, err := b.Client.Backups(ctx, environment, "db")
	if err != nil || len(all) < 2 {
		return 0, fmt.Errorf("there are %d backups: %w", len(all), err)
	}
	r.Bytes = all[0].Size + all[1].Size // the newest come first
	return 0, nil
}

// tideRestore makes a server beside the one in use, and reads all of it.
func (b *bench) tideRestore(ctx context.Context, _ *row) (time.Duration, error) {
	return 0, b.restored(ctx, "db", 0)
}

// restored restores something of which so many counts may differ, and deletes it
// again, which counts for little.
func (b *bench) restored(ctx context.Context, of string, differ int, arguments ...string) error {
	output, err := b.tide(ctx, append([]string{"backups", "restore", of, "--json"}, arguments...)...)
	if err != nil {
		return err
	}
	var made api.Restored
	if err := json.Unmarshal([]byte(output), &made); err != nil {
		return err
	}
	for _, d := range made.Differences {
		if d.InUse != d.Restored {
			differ--
		}
	}
	if differ != 0 {
		return fmt.Errorf("what was restored differs otherwise than it should: %+v", made.Differences)
	}
	_, err = b.tide(ctx, "backups", "discard", of, made.Name)
	return err
}

// plainBackup makes a copy and a dump as an administrator does, neither encrypted
// nor read back.
func (b *bench) plainBackup(ctx context.Context, r *row) (took time.Duration, err error) {
	folder, err := b.peer("plain")
	if err != nil {
		return 0, err
	}
	took, err = commands(
		ctx, b.server.user, b.server.folder,
		b.server.client("pg_basebackup", "--pgdata="+filepath.Join(folder, "copy"), "--format=tar", "--wal-method=fetch", "--checkpoint=fast", "--compress=client-gzip:1"),
		b.server.client("pg_dump", "--format=custom", "--compress=1", "--file="+filepath.Join(folder, "dump"), b.server.database),
	)
	if err == nil {
		r.Bytes, err = sizeOf(folder)
	}
	return took, err
}

// plainRestore unpacks the copy and starts it, but does not read it.
func (b *bench) plainRestore(ctx context.Context, _ *row) (took time.Duration, err error) {
	folder, err := b.peer("restored")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	control := filepath.Join(b.server.programs, "pg_ctl")
	options := "-c listen_addresses= -c unix_socket_directories=" + folder + " -c port=5432"
	unpack := []string{"tar", "--extract", "--gzip", "--file=" + filepath.Join(b.folder, "plain", "copy", "base.tar.gz"), "--directory=" + folder}
	if took, err = command(ctx, b.server.user, folder, unpack...); err != nil {
		return took, err
	}
	for name, text := range map[string]string{"postgresql.conf": "", "pg_hba.conf": "local all all trust\n", "pg_ident.conf": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			return took, err
		}
	}
	more, err := commands(
		ctx, b.server.user, folder,
		[]string{control, "start", "--wait", "--timeout=600", "--silent", "--pgdata=" + folder, "--log=" + filepath.Join(folder, "log"), "--options=" + options},
		[]string{filepath.Join(b.server.programs, "psql"), "--host=" + folder, "--username=postgres", "--command=SELECT id FROM filler LIMIT 1", b.server.database},
		[]string{control, "stop", "--wait", "--silent", "--mode=fast", "--pgdata=" + folder},
	)
	return took + more, err
}

// restBackup makes pgBackRest's full copy, encrypted, and a dump.
func (b *bench) restBackup(ctx context.Context, r *row) (took time.Duration, err error) {
	folder, err := b.peer("pgbackrest")
	if err != nil {
		return 0, err
	}
	key := filepath.Join(folder, "pgbackrest.conf")
	if err := os.WriteFile(key, []byte("[global]\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass=bench\n"), 0o644); err != nil {
		return 0, err
	}
	rest := func(arguments ...string) []string {
		return append([]string{
			"pgbackrest", "--config=" + key, "--stanza=bench", "--repo1-path=" + filepath.Join(folder, "repository"), "--log-level-file=off",
			"--lock-path=" + filepath.Join(folder, "lock"), "--pg1-path=" + filepath.Join(b.server.folder, "data"),
			"--pg1-socket-path=/proc/self/cwd/run", "--pg1-port=" + b.server.port, "--pg1-user=postgres",
		}, arguments...)
	}
	took, err = commands(
		ctx, b.server.user, b.server.folder,
		rest("stanza-create"),
		rest("--no-archive-check", "--start-fast", "--compress-type=zst", "--type=full", "backup"),
		b.server.client("pg_dump", "--format=custom", "--compress=1", "--file="+filepath.Join(folder, "dump"), b.server.database),
	)
	if err == nil {
		r.Bytes, err = sizeOf(folder)
	}
	return took, errors.Join(err, os.RemoveAll(folder))
}

// moment measures going back to a moment after a backup, with changes of an eighth
// of the data in between.
func (b *bench) moment(ctx context.Context, kind string, round int) error {
	err := errors.Join(b.fill(ctx, "mistake", kind, 1, 0), b.fill(ctx, "changes", kind, uint64(round), b.size/8))
	if err != nil {
		return err
	}
	to := time.Now().UTC()
	if err := b.fill(ctx, "mistake", kind, 1, rowSize); err != nil {
		return err
	}
	r := row{Case: "database to a moment, " + kind, Subject: "tide", Round: round}
	return b.round(ctx, r, func(ctx context.Context, _ *row) (time.Duration, error) {
		return 0, b.restored(ctx, "db", 1, "--to", to.Format(time.RFC3339Nano))
	})
}
