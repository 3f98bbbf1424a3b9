package ledger

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/springtide/springtide"
)

//go:embed migrations
var migrations embed.FS

// migrate brings the tables up to date. The version of the tables is written in
// the transaction of the migration, so that one has happened whole or not at all.
func (l *Ledger) migrate(ctx context.Context, folder, versionQuery, versionStatement string) error {
	names, err := fs.Glob(migrations, "migrations/"+folder+"/*.sql")
	if err != nil {
		return err
	}
	for version := -1; version < len(names); {
		err := l.write(ctx, func(tx *transaction) (err error) {
			version, err = one(tx, nil, value[int], versionQuery)
			if err != nil || version == len(names) {
				return err
			}
			if version > len(names) {
				return springtide.Errorf(springtide.Failed,
					"ledger: it was written by a newer version (its tables are version %d, this one knows %d)", version, len(names)).
					WithHint("use the newer tide, or restore a backup from before the upgrade")
			}
			if l.dialect.begin != "" {
				if _, err := tx.exec(l.dialect.begin); err != nil {
					return err
				}
			}
			statements, err := migrations.ReadFile(names[version])
			if err != nil {
				return err
			}
			if _, err := tx.exec(string(statements)); err != nil {
				return fmt.Errorf("%s: %w", names[version], err)
			}
			version++
			_, err = tx.exec(fmt.Sprintf(versionStatement, version))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
