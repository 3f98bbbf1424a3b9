package tables

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// AddPurge implements store.Purges. Numbers are times, so that they go on where a
// store was lost and an older copy of it came back.
func (s *Store) AddPurge(ctx context.Context, purge springtide.Purge) (springtide.Purge, error) {
	err := s.db.Write(ctx, func(tx Transaction) error {
		var last int64
		if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(number), 0) FROM purges`).Scan(&last); err != nil {
			return err
		}
		purge.Number = max(time.Now().UnixMicro(), last+1)
		_, err := tx.ExecContext(ctx, `INSERT INTO purges (number, app, environment, tag, path) VALUES (?, ?, ?, ?, ?)`,
			purge.Number, purge.Environment.App, purge.Environment.Name, purge.Tag, purge.Path)
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
