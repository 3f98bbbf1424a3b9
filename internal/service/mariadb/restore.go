package mariadb

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Restore makes data from what [Driver.Backup] wrote, and does again what came
// afterwards: to the beginning of the second of the given time, since that is how
// exact a binary log is, or as far as there are changes. Those are in
// Folder/changes, or asked for by their names; the folder is removed afterwards.
func (Driver) Restore(ctx context.Context, server service.Server, from io.Reader, until service.RestoreTo) error {
	if err := check(server); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(server.Folder, "data")); err == nil {
		return springtide.Errorf(springtide.Conflict, "there is data of service %s where it is to be restored", server.ID)
	}
	key, err := makeKey(server)
	if err != nil {
		return err
	}
	err = anew(server, func(folder string) error {
		if err := unpack(ctx, server, folder, from); err != nil {
			return err
		}
		at, err := readPosition(folder)
		if err != nil {
			return err
		}
		if err := at.fits(server, until.Time); err != nil {
			return err
		}
		segments, err := gather(ctx, server, at, until)
		if err != nil {
			return err
		}
		if err := claim(ctx, server, folder, key); err != nil || len(segments) == 0 {
			return err
		}
		err = temporarily(ctx, server, folder, func(ctx context.Context) error {
			return replay(ctx, server, key, at, segments, until.Time)
		})
		if err != nil {
			return err
		}
		return claim(ctx, server, folder, key) // logins were among what was done again
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(server.Folder, changesFolder))
}

// fits says whether a copy can be made what is asked for.
func (p position) fits(server service.Server, wanted time.Time) error {
	switch {
	case !strings.HasPrefix(p.version, server.Version+"."):
		return springtide.Errorf(springtide.Invalid, "the backup is of MariaDB %s, and the server is to be %s", p.version, server.Version).
			WithHint("restore it with its own version, and upgrade afterwards")
	case !wanted.IsZero() && wanted.Before(p.taken):
		return springtide.Errorf(springtide.Invalid, "the backup was made at %s: what was before cannot be made from it", p.taken.Format(time.RFC3339)).
			WithHint("begin with an earlier backup")
	}
	return nil
}

// gather gives the paths of all segments from that on in which a copy ends.
func gather(ctx context.Context, server service.Server, from position, until service.RestoreTo) ([]string, error) {
	folder := filepath.Join(server.Folder, changesFolder)
	if err := makeChanges(server); err != nil {
		return nil, err
	}
	var paths []string
	next, _ := number(from.file)
	for ; ; next++ {
		path := filepath.Join(folder, segmentName(next))
		_, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) && until.Changes != nil {
			err = fetch(ctx, server, path, until.Changes)
		}
		if errors.Is(err, fs.ErrNotExist) || springtide.KindOf(err) == springtide.NotFound {
			break
		}
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if later, ok := number(entry.Name()); ok && later > next {
			return nil, springtide.Errorf(springtide.Failed, "changes of service %s are missing: there is %s, but not %s", server.ID, entry.Name(), segmentName(next))
		}
	}
	return paths, nil
}

// fetch asks for a segment.
func fetch(ctx context.Context, server service.Server, path string, ask func(context.Context, string, io.Writer) error) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".*")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	err = ask(ctx, filepath.Base(path), file)
	if err := errors.Join(file.Close(), give(server, file.Name())); err != nil {
		return err
	}
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

// replay does what the segments hold again.
func replay(ctx context.Context, server service.Server, key string, from position, segments []string, until time.Time) error {
	args := []string{"--no-defaults", "--start-position=" + strconv.FormatInt(from.at, 10)}
	if !until.IsZero() {
		args = append(args, "--stop-datetime="+until.UTC().Format(time.DateTime))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader, writer := io.Pipe()
	go func() {
		_, err := run(ctx, server, job{
			Process: service.Process{Path: look("mariadb-binlog"), Args: append(args, segments...), Env: []string{"TZ=UTC"}}, Output: writer,
		})
		if err != nil {
			cancel(err) // what was written is not to look like the end of it
		}
		writer.CloseWithError(err)
	}()
	_, err := run(ctx, server, job{Process: client("mariadb", key, "--binary-mode", "--max-allowed-packet=1G"), Input: reader})
	reader.CloseWithError(err)
	if err != nil {
		return fmt.Errorf("do changes again: %w", err)
	}
	return nil
}

// makeChanges makes the folder in which segments wait.
func makeChanges(server service.Server) error {
	path := filepath.Join(server.Folder, changesFolder)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(give(server, path), durable.SyncFolder(server.Folder))
}
