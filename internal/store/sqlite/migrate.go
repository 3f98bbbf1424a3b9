package sqlite

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store/tables"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Tables is the version of the tables that this program makes and knows.
func Tables() int {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is wrong
	}
	return len(names)
}

// migrate brings the tables up to date. The number of the last migration is the
// database's user_version; it is written in the transaction of the migration,
// so that a migration has happened whole or not at all.
func (s *Store) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	for version := -1; version < len(names); {
		err := s.write(ctx, func(tx tables.Transaction) (err error) {
			version, err = s.migrateOnce(ctx, tx, names)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// migrateOnce applies the next migration, if there is one, and gives the
// version of the tables after it.
func (s *Store) migrateOnce(ctx context.Context, tx tables.Transaction, names []string) (int, error) {
	var version int
	if err := tx.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return 0, err
	}
	switch {
	case version == len(names):
		return version, nil
	case version > len(names):
		return 0, springtide.Errorf(springtide.Failed,
			"store: %s was written by a newer version (its tables are version %d, this one knows %d)",
			s.path, version, len(names)).WithHint("use the newer tide, or restore a backup from before the upgrade")
	}
	name := names[version]
	version++
	statements, err := migrations.ReadFile(name)
	if err != nil {
		return 0, err
	}
	if _, err := tx.ExecContext(ctx, string(statements)); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	s.logger.Debug("tables migrated", "path", s.path, "version", version)
	return version, nil
}
