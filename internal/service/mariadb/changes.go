package mariadb

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

const (
	// changesFolder is where finished binary logs wait to be shipped, changesLast the
	// name of the newest that was put there.
	changesFolder = "changes"
	changesLast   = "changes.last"
	// defaultFinishAfter is how old a binary log becomes.
	defaultFinishAfter = time.Minute
)

func segmentName(number int) string { return fmt.Sprintf("binlog.%06d", number) }

// number reads "binlog.000006".
func number(name string) (int, bool) {
	digits, ok := strings.CutPrefix(name, "binlog.")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n > 0 && segmentName(n) == name
}

// Changes puts all binary logs that are finished where they wait to be shipped.
// Whoever asks regularly has the server finish one that has anything in it after a
// minute. Each is put there once; it is a second name of the server's own file,
// which that keeps for two days.
func (d Driver) Changes(ctx context.Context, server service.Server) (string, error) {
	if server.Role == service.RoleReplica {
		return "", nil
	}
	if err := makeChanges(server); err != nil {
		return "", err
	}
	err := with(ctx, server, func(conn *sql.Conn) error {
		logs, err := ask(ctx, conn, "SHOW BINARY LOGS")
		if err != nil || len(logs) == 0 {
			return err
		}
		due, err := d.due(ctx, conn, server, logs[len(logs)-1]["Log_name"])
		if err != nil {
			return err
		}
		if due {
			if err := do(ctx, conn, "FLUSH BINARY LOGS"); err != nil {
				return err
			}
			if logs, err = ask(ctx, conn, "SHOW BINARY LOGS"); err != nil {
				return err
			}
		}
		return keep(server, logs[:len(logs)-1])
	})
	return filepath.Join(server.Folder, changesFolder), err
}

// Finish finishes the binary log that is being written, so that it can be shipped.
func (Driver) Finish(ctx context.Context, server service.Server) error {
	return with(ctx, server, func(conn *sql.Conn) error { return do(ctx, conn, "FLUSH BINARY LOGS") })
}

// due says whether the binary log that is written to is old enough to be finished,
// and has a transaction.
func (d Driver) due(ctx context.Context, conn *sql.Conn, server service.Server, name string) (bool, error) {
	begun, err := begunAt(filepath.Join(server.Folder, "data", name))
	limit := d.FinishAfter
	if limit == 0 {
		limit = defaultFinishAfter
	}
	if err != nil || time.Since(begun) < limit {
		return false, err
	}
	events, err := ask(ctx, conn, "SHOW BINLOG EVENTS IN ? LIMIT 8", name)
	for _, event := range events {
		if event["Event_type"] == "Gtid" {
			return true, err
		}
	}
	return false, err
}

// begunAt reads when a binary log was begun: after four bytes that say what it is
// comes its first event, which begins with the time.
func begunAt(path string) (time.Time, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return time.Time{}, err
	}
	defer file.Close()
	var head [8]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", path, err)
	}
	return time.Unix(int64(binary.LittleEndian.Uint32(head[4:])), 0), nil
}

// keep gives finished logs a name among those that wait.
func keep(server service.Server, finished []row) error {
	path := filepath.Join(server.Folder, changesLast)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	last, _ := number(string(text))
	newest := last
	root, err := os.OpenRoot(server.Folder)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, log := range finished {
		name := log["Log_name"]
		n, ok := number(name)
		if !ok || n <= last {
			continue
		}
		if err := root.Link("data/"+name, changesFolder+"/"+name); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		newest = n
	}
	if newest == last {
		return nil
	}
	if err := durable.SyncFolder(filepath.Join(server.Folder, changesFolder)); err != nil {
		return err
	}
	return durable.WriteFile(path, []byte(segmentName(newest)), 0o600)
}
