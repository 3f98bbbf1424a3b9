package tables

import (
	"context"

	"github.com/springtide/springtide/internal/store"
)

// PutLessons implements store.Lessons.
func (s *Store) PutLessons(ctx context.Context, learnt map[store.ProcessID][]byte) error {
	return s.db.Note(ctx, func(tx Transaction) error {
		for of, what := range learnt {
			if _, err := tx.ExecContext(ctx, `
				INSERT INTO lessons (app, environment, process, learnt)
				SELECT app, name, ?3, ?4 FROM environments WHERE app = ?1 AND name = ?2
				ON CONFLICT (app, environment, process) DO UPDATE SET learnt = excluded.learnt`,
				of.Environment.App, of.Environment.Name, of.Process, what); err != nil {
				return err
			}
		}
		return nil
	})
}

// Lessons implements store.Lessons.
func (s *Store) Lessons(ctx context.Context) (map[store.ProcessID][]byte, error) {
	type lesson struct {
		of     store.ProcessID
		learnt []byte
	}
	scan := func(row row) (one lesson, err error) {
		err = row.Scan(&one.of.Environment.App, &one.of.Environment.Name, &one.of.Process, &one.learnt)
		return one, err
	}
	found, err := read(ctx, s, scan, `SELECT app, environment, process, learnt FROM lessons`)
	all := make(map[store.ProcessID][]byte, len(found))
	for _, one := range found {
		all[one.of] = one.learnt
	}
	return all, err
}
