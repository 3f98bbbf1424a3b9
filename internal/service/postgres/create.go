package postgres

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// Create makes an empty primary. Every one is made by initdb, which takes a
// second: copies of a template would all have one system identifier, by which
// PostgreSQL tells the log of one server from that of another.
func (d *Driver) Create(ctx context.Context, s service.Server) error {
	return d.anew(s, func(folder string) error { return d.initialize(ctx, s, folder) })
}

// initialize makes the empty data of a server, synced.
func (d *Driver) initialize(ctx context.Context, s service.Server, folder string) error {
	_, err := run(ctx, s, program{Process: service.Process{Path: d.program(s.Version, "initdb"), Args: []string{
		"--pgdata=" + folder, "--username=" + superuser, "--auth-local=peer", "--auth-host=scram-sha-256",
		"--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8",
	}}})
	return err
}

// anew has make put the data of a server into a folder that is not there yet, and
// renames it to what counts. If there is data already it does nothing. What make
// leaves must be synced.
func (d *Driver) anew(s service.Server, make func(folder string) error) error {
	if err := d.prepare(s); err != nil {
		return err
	}
	if _, err := os.Stat(data(s)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unfinished := data(s) + ".new"
	if err := discard(unfinished); err != nil {
		return err
	}
	if err := make(unfinished); err != nil {
		return err
	}
	if err := os.Rename(unfinished, data(s)); err != nil {
		return err
	}
	return durable.SyncFolder(s.Folder)
}

// discard removes data, and ends a server on it that somebody who was killed has
// left behind.
func discard(folder string) error {
	if err := endLeft(filepath.Join(folder, "postmaster.pid")); err != nil {
		return err
	}
	return os.RemoveAll(folder)
}
