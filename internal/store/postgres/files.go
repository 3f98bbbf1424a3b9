package postgres

import (
	"context"

	"github.com/springtide/springtide/internal/store/tables"
)

// KeptFiles gives the files that are kept for all control planes, by their names.
func (s *Store) KeptFiles(ctx context.Context) (map[string][]byte, error) {
	rows, err := s.db.QueryContext(ctx, `SELECT name, content FROM kept_files`)
	if err != nil {
		return nil, s.problem(ctx, err)
	}
	defer rows.Close()
	files := map[string][]byte{}
	for rows.Next() {
		var name string
		var content []byte
		if err := rows.Scan(&name, &content); err != nil {
			return nil, s.problem(ctx, err)
		}
		files[name] = content
	}
	return files, s.problem(ctx, rows.Err())
}

// KeepFile keeps a file, in place of one of that name.
func (s *Store) KeepFile(ctx context.Context, name string, content []byte) error {
	return s.write(ctx, func(tx tables.Transaction) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO kept_files (name, content) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET content = excluded.content`, name, content)
		return err
	})
}

// ForgetFile forgets a file that was kept.
func (s *Store) ForgetFile(ctx context.Context, name string) error {
	return s.write(ctx, func(tx tables.Transaction) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM kept_files WHERE name = ?`, name)
		return err
	})
}
