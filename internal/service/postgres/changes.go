package postgres

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

const (
	// changesFolder holds finished segments of the log until they are shipped. They
	// are kept only if it is there.
	changesFolder = "changes"
	// gapFile says that segments were dropped since the last backup.
	gapFile = "changes.gap"
	// lineageFile says which log of changes the segments belong to, in the words of
	// whoever ships them.
	lineageFile = "lineage"
)

// archiveCommand keeps a finished segment for whoever ships it: whole or not at
// all, over a power cut too, and never in place of a different one. It keeps none
// if nobody asked for them, and no more than the limit if whoever asked stays away:
// points in time beyond that can be reached only from the next backup on, but the
// disk does not fill. The temporary name has the shell's number in it, since a
// killed server may leave one that still copies. The end of a segment that was cut
// short holds zeros, which need no space.
func archiveCommand(limit int64) string {
	return "cd ../" + changesFolder + ` 2>/dev/null || exit 0; from="$OLDPWD/%p"; ` +
		`if test -e %f; then cmp -s "$from" %f; exit; fi; ` +
		`if test $(du -sk . | cut -f1) -ge ` + strconv.FormatInt(limit/kib, 10) + "; then touch ../" + gapFile + "; exit 0; fi; " +
		`rm -f .%f.*; cp --sparse=always "$from" .%f.$$ && sync .%f.$$ && mv .%f.$$ %f && sync .`
}

// Changes gives the folder of finished segments, and has them kept from now on.
// Whoever asks ships them: those that wait are not removed by anybody else. A
// replica keeps none.
func (d *Driver) Changes(_ context.Context, s service.Server) (string, error) {
	if s.Role == service.RoleReplica {
		return "", nil
	}
	folder := filepath.Join(s.Folder, changesFolder)
	return folder, keepChanges(s)
}

func keepChanges(s service.Server) error {
	folder := filepath.Join(s.Folder, changesFolder)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return errors.Join(give(s, folder), durable.SyncFolder(s.Folder))
}

// inherit has a new primary keep what the old one kept, and gives it what that one
// has not shipped: its own log of the old one's time is not archived by itself.
// The log goes on with it, so the segments of both are of one lineage: what was
// backed up of the old one can be taken beyond the promotion.
func inherit(s service.Server, timeline string) error {
	if _, err := os.Stat(filepath.Join(s.PrimaryFolder, changesFolder)); err != nil {
		return nil //nolint:nilerr // none are kept
	}
	left := filepath.Join(s.PrimaryFolder, "data", "pg_wal")
	for _, from := range []struct{ names, folder, suffix string }{
		{filepath.Join(data(s), "pg_wal"), filepath.Join(data(s), "pg_wal"), ""},
		{filepath.Join(s.PrimaryFolder, changesFolder), filepath.Join(s.PrimaryFolder, changesFolder), ""},
		// What the old one had finished, and not kept yet when it died.
		{filepath.Join(left, "archive_status"), left, ".ready"},
	} {
		entries, err := os.ReadDir(from.names)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, entry := range entries {
			name, waits := strings.CutSuffix(entry.Name(), from.suffix)
			if !waits || !isChange(name) || name[:8] >= timeline {
				continue
			}
			if err := keep(s, filepath.Join(from.folder, name), name); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := durable.SyncFolder(filepath.Join(s.Folder, changesFolder)); err != nil {
		return err
	}
	for _, name := range []string{gapFile, lineageFile} {
		content, err := os.ReadFile(filepath.Join(s.PrimaryFolder, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = durable.WriteFile(filepath.Join(s.Folder, name), content, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// keep copies a finished segment, whole or not at all.
func keep(s service.Server, from, name string) (err error) {
	folder := filepath.Join(s.Folder, changesFolder)
	if _, err := os.Stat(filepath.Join(folder, name)); err == nil {
		return nil
	}
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	to, err := os.CreateTemp(folder, "."+name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(to.Name())
		}
	}()
	_, err = io.Copy(to, source)
	if err = errors.Join(err, to.Sync(), to.Close(), give(s, to.Name())); err != nil {
		return err
	}
	// How far the changes go is told by when their segments were finished.
	if info, err := source.Stat(); err != nil {
		return err
	} else if err := os.Chtimes(to.Name(), info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return os.Rename(to.Name(), filepath.Join(folder, name))
}

// isChange says whether a file is called as a whole segment of the log is, by
// timeline and number, or as the history of a timeline.
func isChange(name string) bool {
	digits, history := strings.CutSuffix(name, ".history")
	wanted := 24
	if history {
		wanted = 8
	}
	return len(digits) == wanted && strings.Trim(digits, "0123456789ABCDEF") == ""
}
