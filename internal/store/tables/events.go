package tables

import (
	"context"
	"slices"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

func scanEvent(row row) (springtide.Event, error) {
	var e springtide.Event
	err := row.Scan(&e.Sequence, (*moment)(&e.Time), &e.Environment.App, &e.Environment.Name, &e.Kind, &e.Message, document{&e.Fields})
	return e, err
}

// AddEvents implements store.Events.
func (s *Store) AddEvents(ctx context.Context, events []springtide.Event) ([]springtide.Event, error) {
	if len(events) == 0 {
		return nil, nil
	}
	added := slices.Clone(events)
	err := s.db.Note(ctx, func(tx Transaction) error {
		for i, e := range added {
			err := tx.QueryRowContext(ctx, `
				INSERT INTO events (time, app, environment, kind, message, fields) VALUES (?, ?, ?, ?, ?, ?) RETURNING sequence`,
				moment(e.Time), e.Environment.App, e.Environment.Name, e.Kind, e.Message, document{e.Fields}).Scan(&added[i].Sequence)
			if err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM events WHERE sequence <= ?`, added[len(added)-1].Sequence-store.KeepEvents)
		return err
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// Events implements store.Events.
func (s *Store) Events(ctx context.Context, after int64, environment *springtide.EnvironmentID, limit int) ([]springtide.Event, error) {
	query := `SELECT sequence, time, app, environment, kind, message, fields FROM events WHERE sequence > ?`
	args := []any{after}
	if environment != nil {
		query += ` AND app = ? AND environment = ?`
		args = append(args, environment.App, environment.Name)
	}
	return read(ctx, s, scanEvent, query+` ORDER BY sequence LIMIT ?`, append(args, orAll(limit))...)
}
