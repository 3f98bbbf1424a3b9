package mariadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// countedBelow is how many rows a table has at most, as far as it is known, to be
// counted for a backup.
const countedBelow = 100_000

// Backup writes all data as mariadb-backup streams it.
func (Driver) Backup(ctx context.Context, server service.Server, to io.Writer) (service.BackupInfo, error) {
	info := service.BackupInfo{Version: server.Version}
	err := with(ctx, server, func(conn *sql.Conn) error {
		at, err := askOne(ctx, conn, "SHOW MASTER STATUS")
		if err != nil {
			return err
		}
		info.Begin = at["File"] + ":" + at["Position"]
		info.Rows, err = countRows(ctx, conn, countedBelow)
		return err
	})
	if err != nil {
		return info, err
	}
	said, err := copyTo(ctx, server, to)
	info.End = endOf(said)
	return info, err
}

// copyTo streams the data of a running server.
func copyTo(ctx context.Context, server service.Server, to io.Writer) (said string, err error) {
	key, err := readKey(server.Folder)
	if err != nil {
		return "", err
	}
	// It goes into the data's folder itself, and so must find the socket from there.
	// Its target is never made.
	process := service.Process{Path: look("mariadb-backup"), Env: []string{"MYSQL_PWD=" + key, "TZ=UTC"}, Args: []string{
		"--no-defaults", "--backup", "--stream=mbstream", "--socket=../run/" + socketName, "--user=" + platformUser, "--target-dir=../run/backup",
	}}
	return run(ctx, server, job{Process: process, Folder: filepath.Join(server.Folder, "data"), Output: to})
}

// endOf reads "MySQL binlog position: filename 'binlog.000006', position '339', …".
func endOf(said string) string {
	_, rest, _ := strings.Cut(said, "binlog position: filename '")
	file, rest, _ := strings.Cut(rest, "', position '")
	position, _, found := strings.Cut(rest, "'")
	if !found {
		return ""
	}
	return file + ":" + position
}

// unpack puts such a stream into a folder and makes a server's data of it.
func unpack(ctx context.Context, server service.Server, folder string, from io.Reader) error {
	_, err := run(ctx, server, job{Process: service.Process{Path: look("mbstream"), Args: []string{"-x", "-C", folder}}, Input: from})
	if err == nil {
		_, err = readPosition(folder) // it comes last
	}
	if err != nil {
		return springtide.Errorf(springtide.Failed, "the copy is not whole: %w", err)
	}
	_, err = run(ctx, server, job{Process: service.Process{Path: look("mariadb-backup"), Args: []string{"--no-defaults", "--prepare", "--target-dir=" + folder}}})
	return err
}

// copyRunning makes data in a folder of that of a running server.
func copyRunning(ctx context.Context, from, to service.Server, folder string) error {
	reader, writer := io.Pipe()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		_, err := copyTo(ctx, from, writer)
		if err != nil {
			cancel(err) // what was written is not to look like the end of it
		}
		writer.CloseWithError(err)
	}()
	err := unpack(ctx, to, folder, reader)
	reader.CloseWithError(err)
	return err
}

// Fork copies the data, whose logins are locked.
func (Driver) Fork(ctx context.Context, from, to service.Server) error {
	if err := check(to); err != nil {
		return err
	}
	key, err := makeKey(to)
	if err != nil {
		return err
	}
	return anew(to, func(folder string) error {
		if err := copyRunning(ctx, from, to, folder); err != nil {
			return err
		}
		return claim(ctx, to, folder, key)
	})
}

// Dump writes the app's database as statements.
func (Driver) Dump(ctx context.Context, server service.Server, to io.Writer) error {
	key, err := readKey(server.Folder)
	if err != nil {
		return err
	}
	_, err = run(ctx, server, job{Process: client("mariadb-dump", key, "--single-transaction", "--quick", "--routines", "--triggers", "--events",
		"--hex-blob", "--default-character-set=utf8mb4", server.Logins.Database), Output: to})
	return err
}

// position is a place in the binary log that a copy of data is as of.
type position struct {
	file string
	at   int64
	gtid string
	// taken is when the copy was finished, version that of its server.
	taken   time.Time
	version string
}

// readPosition reads where in the binary log of its server a copy ends.
func readPosition(folder string) (position, error) {
	text, err := readInfo(folder, "binlog_info")
	if err != nil {
		return position{}, err
	}
	p, err := parsePosition(text)
	if err != nil {
		return p, err
	}
	info, err := readInfo(folder, "info")
	if err != nil {
		return p, err
	}
	facts := parseInfo(info)
	p.version = facts["server_version"]
	p.taken, err = time.Parse(time.DateTime, facts["end_time"]) // in UTC, as we told it
	return p, err
}

// readInfo reads one of the files that mariadb-backup adds; later versions call
// them after themselves.
func readInfo(folder, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "mariadb_backup_"+name))
	if errors.Is(err, os.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(folder, "xtrabackup_"+name))
	}
	return string(text), err
}

// parsePosition reads "binlog.000006\t339\t0-7-2\n".
func parsePosition(text string) (position, error) {
	fields := strings.Split(strings.TrimRight(text, "\n"), "\t")
	if len(fields) < 2 || len(fields) > 3 {
		return position{}, fmt.Errorf("%.100q is no place in a binary log", text)
	}
	at, err := strconv.ParseInt(fields[1], 10, 64)
	if _, ok := number(fields[0]); err != nil || !ok || at < 4 {
		return position{}, fmt.Errorf("%.100q is no place in a binary log", text)
	}
	p := position{file: fields[0], at: at}
	if len(fields) == 3 {
		p.gtid = fields[2]
	}
	return p, nil
}

// parseInfo reads lines of "end_time = 2026-11-22 08:47:58".
func parseInfo(text string) map[string]string {
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " = "); ok {
			facts[name] = value
		}
	}
	return facts
}
