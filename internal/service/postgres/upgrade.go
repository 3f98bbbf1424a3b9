package postgres

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// Upgrade makes the data of a newer version by pg_upgrade, which copies; where the
// two do not fit together, such as in their checksums, by a dump that is restored.
// Either way the old data stays as it was, but that its log is done again, and the
// new has the statistics by which statements are planned.
func (d *Driver) Upgrade(ctx context.Context, from, to service.Server) error {
	if number(from.Version) > number(to.Version) {
		return springtide.Errorf(springtide.Invalid, "PostgreSQL %s is older than %s, which the data is of", to.Version, from.Version)
	}
	if err := d.prepare(from); err != nil {
		return err
	}
	return d.anew(to, func(folder string) error {
		// It was perhaps not stopped in good order, which pg_upgrade wants.
		if _, err := d.temporarily(ctx, from, data(from), kept(), func() error { return nil }); err != nil {
			return err
		}
		if err := d.initialize(ctx, to, folder); err != nil {
			return err
		}
		err := d.pgUpgrade(ctx, from, to, folder, "--check")
		switch {
		case err == nil:
			err = d.pgUpgrade(ctx, from, to, folder)
		case ctx.Err() == nil:
			d.options.Logger.WarnContext(ctx, "pg_upgrade does not take the data: it is dumped and restored", "service", from.ID.String(), "error", err)
			err = d.transfer(ctx, from, to, folder)
		}
		if err != nil {
			return err
		}
		if err := d.analyze(ctx, to, folder); err != nil {
			return err
		}
		return d.sync(ctx, to, folder)
	})
}

// kept are the settings of a server on data that must survive a power cut.
func kept() map[string]string { return map[string]string{"fsync": "on"} }

// watched runs pg_upgrade under a shell that outlives us by a moment: the servers
// that it starts are daemons, and would keep their data from any other.
const watched = `ctl=$1; old=$2; new=$3; shift 3
trap 'kill -9 $child; for data in "$old" "$new"; do "$ctl" stop -D "$data" -m immediate; done' TERM
"$@" & child=$!
wait $child`

// pgUpgrade runs it in a folder of its own, whose path is short enough for sockets.
func (d *Driver) pgUpgrade(ctx context.Context, from, to service.Server, folder string, more ...string) error {
	short, err := os.MkdirTemp("", "upgrade")
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	work := filepath.Join(to.Folder, "upgrade")
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o700), give(to, work), give(to, short)); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	access := func(s service.Server) string {
		return "-c hba_file=" + filepath.Join(s.Folder, hbaFile) + " -c ident_file=" + filepath.Join(s.Folder, identFile)
	}
	there := to
	there.Folder = work
	var report tail
	_, err = run(ctx, there, program{Output: &report, Dying: syscall.SIGTERM, Process: service.Process{
		Path: "/bin/sh", Stop: syscall.SIGTERM,
		Args: append([]string{
			"-c", watched, "sh", d.program(to.Version, "pg_ctl"), data(from), folder, d.program(to.Version, "pg_upgrade"),
			"--old-bindir=" + d.program(from.Version, ""), "--new-bindir=" + d.program(to.Version, ""),
			"--old-datadir=" + data(from), "--new-datadir=" + folder,
			"--old-options=" + access(from), "--new-options=" + access(to),
			"--socketdir=" + short, "--username=" + superuser,
		}, more...),
	}})
	if failed, ok := errors.AsType[*springtide.Error](err); ok {
		failed.Lines = report.lines()
	}
	return err
}

// transfer dumps the app's database from the one and restores it into the other.
func (d *Driver) transfer(ctx context.Context, from, to service.Server, folder string) error {
	if err := os.RemoveAll(folder); err != nil { // what pg_upgrade may have left
		return err
	}
	if err := d.initialize(ctx, to, folder); err != nil {
		return err
	}
	_, err := d.temporarily(ctx, from, data(from), kept(), func() error {
		_, err := d.temporarily(ctx, to, folder, nil, func() error {
			if err := d.Settle(ctx, to); err != nil {
				return err
			}
			return d.pipe(ctx, from, to)
		})
		return err
	})
	return err
}

// pipe has one program restore what another dumps.
func (d *Driver) pipe(ctx context.Context, from, to service.Server) error {
	reader, writer := io.Pipe()
	dumped := make(chan error, 1)
	go func() {
		_, err := run(ctx, from, program{Process: d.dump(from, to.Version), Output: writer})
		writer.CloseWithError(err)
		dumped <- err
	}()
	_, err := run(ctx, to, program{Input: reader, Process: service.Process{
		Path: d.program(to.Version, "pg_restore"),
		Args: append(toward(to), "--no-password", "--exit-on-error", "--dbname="+to.Logins.Database),
	}})
	reader.Close()
	return errors.Join(<-dumped, err)
}

// analyze gathers what pg_upgrade does not take along.
func (d *Driver) analyze(ctx context.Context, s service.Server, folder string) error {
	_, err := d.temporarily(ctx, s, folder, nil, func() error {
		_, err := run(ctx, s, program{Output: io.Discard, Process: service.Process{
			Path: d.program(s.Version, "vacuumdb"), Args: append(toward(s), "--no-password", "--all", "--analyze-only"),
		}})
		return err
	})
	return err
}
