package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// AddPurge implements store.Purges. Numbers are times, so that they go on where a
// store was lost and an older copy of it came back.
func (s *Store) AddPurge(ctx context.Context, purge springtide.Purge) (springtide.Purge, error) {
	err := s.write(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `
			INSERT INTO purges (number, app, environment, tag, path)
			SELECT max(?, coalesce(max(number), 0) + 1), ?, ?, ?, ? FROM purges RETURNING number`,
			time.Now().UnixMicro(), purge.Environment.App, purge.Environment.Name, purge.Tag, purge.Path).Scan(&purge.Number)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM purges WHERE number < (SELECT number FROM purges ORDER BY number DESC LIMIT 1 OFFSET ?)`, store.KeepPurges)
		return err
	})
	return purge, err
}

func scanPurge(row row) (springtide.Purge, error) {
	var p springtide.Purge
	err := row.Scan(&p.Number, &p.Environment.App, &p.Environment.Name, &p.Tag, &p.Path)
	return p, err
}

// Purges implements store.Purges. Of one more than is kept the number is known.
func (s *Store) Purges(ctx context.Context) (since int64, purges []springtide.Purge, err error) {
	purges, err = read(ctx, s, scanPurge, `SELECT number, app, environment, tag, path FROM purges ORDER BY number`)
	if err == nil && len(purges) > store.KeepPurges {
		since, purges = purges[0].Number, purges[1:]
	}
	return since, purges, err
}
