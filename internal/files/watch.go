package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
)

// share is how many times longer than a walk the pause after it is, at least:
// millions of files are counted seldom rather than all the time.
const share = 20

// abandoned is how long nobody may have added to an upload in parts before it
// is thrown away.
const abandoned = 7 * 24 * time.Hour

// Run counts the folders again and again, gently, corrects what is known of
// their size, tells of quotas, and sweeps up what killed writers left.
func (s *Store) Run(ctx context.Context) error {
	due := map[FolderID]time.Time{}
	for {
		all, err := s.All()
		if err != nil {
			s.logger.Error("shared folders cannot be listed", "error", err)
		}
		for _, id := range all {
			if time.Now().Before(due[id]) {
				continue
			}
			began := time.Now()
			if err := gently(func() error { return s.look(ctx, id) }); err != nil && ctx.Err() == nil {
				s.logger.Error("a shared folder was not counted", "folder", id, "error", err)
			}
			due[id] = time.Now().Add(max(s.interval, share*time.Since(began)))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.interval):
		}
	}
}

// look counts one folder.
func (s *Store) look(ctx context.Context, id FolderID) error {
	folder, err := s.Open(id)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := errors.Join(sweep(filepath.Join(folder.side, "temporary")), sweepUploads(filepath.Join(folder.side, "uploads"))); err != nil {
		return err
	}
	if err := folder.recount(ctx); err != nil {
		return err
	}
	return s.tell(folder)
}

// tell makes an event when the folder is at 80 or 100 percent of its quota, once
// each time that it gets there.
func (s *Store) tell(folder *Folder) error {
	unlock, err := folder.ledger.lock()
	if err != nil {
		return err
	}
	defer unlock()
	a, err := folder.ledger.read()
	if err != nil {
		return err
	}
	level := int64(0)
	switch {
	case folder.Quota > 0 && a.Bytes >= folder.Quota:
		level = 100
	case folder.Quota > 0 && a.Bytes*10 >= folder.Quota*8:
		level = 80
	}
	if level > a.Told {
		s.happened(quotaEvent(folder, a, level))
	}
	if level == a.Told {
		return nil
	}
	return folder.ledger.change(func(a *account) { a.Told = level })
}

func quotaEvent(folder *Folder, a account, level int64) springtide.Event {
	message := fmt.Sprintf("shared folder %s holds %d of %d bytes", folder.id.Name, a.Bytes, folder.Quota)
	switch {
	case folder.Kernel && level == 100:
		message += "; nothing more can be written to it"
	case folder.Kernel:
	case level == 100:
		message += "; the platform refuses to write more, but what the app writes directly cannot be stopped on this file system"
	default:
		message += "; at 100% the platform refuses to write more, but what the app writes directly cannot be stopped on this file system"
	}
	return springtide.Event{
		Environment: folder.id.Environment, Kind: "files.quota", Message: message,
		Fields: map[string]string{
			"files": string(folder.id.Name), "percent": strconv.FormatInt(level, 10),
			"bytes": strconv.FormatInt(a.Bytes, 10), "quota": strconv.FormatInt(folder.Quota, 10),
		},
	}
}

// sweep removes the temporary files of writers that are dead: nobody holds
// their locks. The young ones may not be locked yet.
func sweep(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		file, openErr := os.Open(path)
		if openErr != nil {
			continue // its writer has renamed it
		}
		info, statErr := file.Stat()
		if statErr == nil && time.Since(info.ModTime()) > time.Minute && unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if gone := os.Remove(path); gone != nil && !errors.Is(gone, fs.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}
		file.Close()
	}
	return err
}

// sweepUploads removes uploads in parts that nobody goes on with.
func sweepUploads(folder string) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		if info, statErr := entry.Info(); statErr == nil && time.Since(info.ModTime()) > abandoned {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, entry.Name())))
		}
	}
	return err
}
