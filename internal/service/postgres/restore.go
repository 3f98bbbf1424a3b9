package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// fromFolder is the restore_command where all changes were fetched beforehand. A
// segment that is there but cannot be read must end the recovery: any status up to
// 125 would be taken for the end of the log.
const fromFolder = "test -e ../" + changesFolder + "/%f || exit 1; cp ../" + changesFolder + "/%f %p || exit 200"

// Restore makes a server's data from what [Driver.Backup] wrote, and does the
// changes again up to the given time, or as far as they are known. The log is done
// again right here, by a server that only the platform reaches, so that a time
// that cannot be reached is an error of kind Invalid now, and not a server that
// never comes up. Segments are asked of until.Changes, or fetched by until.Fetch,
// or are in Folder/changes, which is removed afterwards.
func (d *Driver) Restore(ctx context.Context, s service.Server, from io.Reader, until service.RestoreTo) error {
	err := d.anew(s, func(folder string) error {
		if err := d.unpack(ctx, s, folder, from); err != nil {
			return err
		}
		if err := d.recover(ctx, s, folder, until); err != nil {
			return err
		}
		return d.sync(ctx, s, folder)
	})
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(s.Folder, changesFolder))
}

// unpack puts a backup into a folder and checks it against its own manifest, which
// is its last file.
func (d *Driver) unpack(ctx context.Context, s service.Server, folder string, from io.Reader) error {
	if err := errors.Join(os.Mkdir(folder, 0o700), give(s, folder)); err != nil {
		return err
	}
	for _, step := range []program{
		{Process: service.Process{Path: "/bin/tar", Args: []string{"--extract", "--file=-", "--no-same-owner", "--directory=" + folder}}, Input: from},
		{Process: service.Process{Path: d.program(s.Version, "pg_verifybackup"), Args: []string{"--quiet", "--exit-on-error", folder}}, Output: io.Discard},
	} {
		if _, err := run(ctx, s, step); err != nil {
			return springtide.Errorf(springtide.Failed, "the backup is not whole: %w", err)
		}
	}
	version, err := os.ReadFile(filepath.Join(folder, "PG_VERSION"))
	if err != nil {
		return err
	}
	if have := strings.TrimSpace(string(version)); have != s.Version {
		return springtide.Errorf(springtide.Invalid, "the backup is of PostgreSQL %s, and the server is to be %s", have, s.Version).
			WithHint("restore it with version %s, and upgrade afterwards", have)
	}
	return nil
}

// recover does the log again on what was unpacked.
func (d *Driver) recover(ctx context.Context, s service.Server, folder string, until service.RestoreTo) error {
	settings := map[string]string{
		"hot_standby":            "off", // nobody is to look before it is done
		"restore_command":        fromFolder,
		"recovery_target_action": "promote",
	}
	if !until.Time.IsZero() {
		if err := notBefore(folder, until.Time); err != nil {
			return err
		}
		settings["recovery_target_time"] = until.Time.UTC().Format("2006-01-02 15:04:05.999999+00")
	}
	var fetching *fetcher
	switch {
	case until.Changes != nil:
		var err error
		if fetching, err = newFetcher(s, until.Changes); err != nil {
			return err
		}
		defer fetching.close()
		go fetching.serve(ctx)
		settings["restore_command"] = fetchCommand
	case until.Fetch != "":
		settings["restore_command"] = until.Fetch
	}
	// The settings of whom the backup is of say nothing of its copy.
	for _, name := range []string{"recovery.signal", "postgresql.auto.conf"} {
		if err := write(s, filepath.Join(folder, name), nil); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	said, err := d.temporarily(ctx, s, folder, settings, func() error { return nil })
	if fetching != nil && fetching.failure() != nil {
		return fetching.failure()
	}
	return explain(err, said, until.Time)
}

// notBefore compares the time with that of the backup: the server itself does not
// notice that what it is to go back to is before what it has, unless a transaction
// tells it.
func notBefore(folder string, wanted time.Time) error {
	label, err := os.ReadFile(filepath.Join(folder, "backup_label"))
	if err != nil {
		return err
	}
	begin, err := parseBegin(string(label))
	if err != nil {
		return err
	}
	if wanted.Before(begin) {
		return springtide.Errorf(springtide.Invalid, "%s is before the backup, which began at %s", wanted.UTC().Format(time.RFC3339), begin.UTC().Format(time.RFC3339)).
			WithHint("take an older backup, or a later time")
	}
	return nil
}

// parseBegin finds when a backup began in its label, which has whole seconds: the
// end of that one.
func parseBegin(label string) (time.Time, error) {
	found := regexp.MustCompile(`(?m)^START TIME: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$`).FindStringSubmatch(label)
	if found == nil {
		return time.Time{}, springtide.Errorf(springtide.Failed, "the backup does not say in UTC when it began")
	}
	begin, err := time.Parse(time.DateTime, found[1])
	if err != nil {
		return time.Time{}, springtide.Errorf(springtide.Failed, "the backup began at no time that there is: %w", err)
	}
	return begin.Add(time.Second), nil
}

// explain says of a recovery that failed whether the time was at fault.
func explain(err error, said string, wanted time.Time) error {
	if err == nil {
		return nil
	}
	moment := wanted.UTC().Format(time.RFC3339Nano)
	switch {
	case strings.Contains(said, "requested recovery stop point is before consistent recovery point"):
		return springtide.Errorf(springtide.Invalid, "%s is before the end of the backup", moment).
			WithHint("take an older backup, or a later time")
	case strings.Contains(said, "recovery ended before configured recovery target was reached"):
		last := "there are none after the backup"
		if found := regexp.MustCompile(`last completed transaction was at log time ([^\n]+)`).FindStringSubmatch(said); found != nil {
			last = "the last is of " + found[1]
		}
		return springtide.Errorf(springtide.Invalid, "the changes that were kept do not reach %s: %s", moment, last).
			WithHint("take an earlier time, or none to go as far as there are changes")
	}
	return err
}
