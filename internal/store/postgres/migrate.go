package postgres

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/server"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migration is a file of statements after which the tables have a version.
type migration struct {
	version int
	file    string
}

// known gives all migrations in their order.
func known() []migration {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	all := make([]migration, len(files))
	for i, file := range files {
		number, _, _ := strings.Cut(path.Base(file), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			panic(err) // the file's name is wrong
		}
		all[i] = migration{version, file}
	}
	return all
}

// Tables is the version of the tables that this program makes and knows. It is
// that of package sqlite too.
func Tables() int {
	all := known()
	return all[len(all)-1].version
}

// migrate brings the tables up to date, in one transaction, while any other
// control plane that begins waits.
func (s *Store) migrate(ctx context.Context) error {
	return s.transact(ctx, func(tx transaction) error {
		var major int
		err := tx.QueryRowContext(ctx, server.VersionQuery).Scan(&major)
		if err == nil {
			err = server.CheckVersion(owner, major)
		}
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
			SET LOCAL application_name = 'springtide migration'; SET LOCAL lock_timeout = 0;
			SELECT pg_advisory_xact_lock(hashtext('springtide store'));
			CREATE SCHEMA IF NOT EXISTS springtide_store;
			CREATE TABLE IF NOT EXISTS store_version (version BIGINT NOT NULL);
			INSERT INTO store_version SELECT 0 WHERE NOT EXISTS (SELECT FROM store_version)`); err != nil {
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, `SELECT version FROM store_version`).Scan(&version); err != nil {
			return err
		}
		if version > Tables() {
			return springtide.Errorf(springtide.Failed, "store: the one in PostgreSQL at %s was written by a newer version (its tables are version %d, this one knows %d)",
				s.host, version, Tables()).WithHint("use the newer tide, or restore a backup from before the upgrade")
		}
		return s.apply(ctx, tx, version)
	})
}

// apply applies the migrations after a version.
func (s *Store) apply(ctx context.Context, tx transaction, version int) error {
	for _, next := range known() {
		if next.version <= version {
			continue
		}
		statements, err := migrations.ReadFile(next.file)
		if err != nil {
			return err
		}
		if _, err := tx.tx.ExecContext(ctx, string(statements)); err != nil {
			return fmt.Errorf("%s: %w", next.file, err)
		}
		if _, err := tx.ExecContext(ctx, `UPDATE store_version SET version = ?`, next.version); err != nil {
			return err
		}
		s.logger.Info("tables migrated", "host", s.host, "version", next.version)
	}
	return nil
}
