package postgres

import (
	"context"

	"github.com/springtide/springtide/internal/store"
)

var _ store.Leadership = (*Store)(nil)

// Leader implements store.Leadership.
func (s *Store) Leader(ctx context.Context) (leader store.Leader, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT holder, token, beats FROM leadership`).Scan(&leader.Holder, &leader.Token, &leader.Beats)
	return leader, s.problem(ctx, err)
}

// Lead implements store.Leadership.
func (s *Store) Lead(ctx context.Context, holder string, seen store.Leader) (leads bool, err error) {
	token := seen.Token + 1
	leads, err = s.lead(ctx, `UPDATE leadership SET holder = ?, token = ? WHERE holder = ? AND token = ? AND beats = ?`,
		holder, token, seen.Holder, seen.Token, seen.Beats)
	if leads {
		s.token.Store(token)
	}
	return leads, err
}

// Beat implements store.Leadership.
func (s *Store) Beat(ctx context.Context) (leads bool, err error) {
	return s.lead(ctx, `UPDATE leadership SET beats = beats + 1 WHERE token = ?`, s.token.Load())
}

// Resign implements store.Leadership.
func (s *Store) Resign(ctx context.Context) error {
	_, err := s.lead(ctx, `UPDATE leadership SET holder = '', token = token + 1 WHERE token = ?`, s.token.Load())
	return err
}

// lead changes the row if it is as it should be. It waits for who writes just
// now, but not in our own line.
func (s *Store) lead(ctx context.Context, statement string, args ...any) (leads bool, err error) {
	result, err := s.db.ExecContext(ctx, numbered(statement), args...)
	if err != nil {
		return false, s.problem(ctx, err)
	}
	changed, err := result.RowsAffected()
	return changed > 0, err
}
