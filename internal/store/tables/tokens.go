package tables

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

const selectTokens = `SELECT name, hash, created, last_used FROM tokens `

func scanToken(row row) (store.Token, error) {
	var t store.Token
	var hash []byte
	err := row.Scan(&t.Name, &hash, (*moment)(&t.Created), (*moment)(&t.LastUsed))
	copy(t.Hash[:], hash)
	return t, err
}

// AddToken implements store.Tokens.
func (s *Store) AddToken(ctx context.Context, token store.Token) error {
	if token.Name == "" {
		return springtide.Errorf(springtide.Invalid, "a token must have a name")
	}
	return s.db.Write(ctx, func(tx Transaction) error {
		taken := springtide.Errorf(springtide.Conflict, "there is a token %s already", token.Name)
		return must(ctx, tx, taken, `INSERT INTO tokens (name, hash, created, last_used) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			token.Name, token.Hash[:], moment(token.Created), moment(token.LastUsed))
	})
}

// Tokens implements store.Tokens.
func (s *Store) Tokens(ctx context.Context) ([]store.Token, error) {
	return read(ctx, s, scanToken, selectTokens+`ORDER BY name`)
}

// DeleteToken implements store.Tokens.
func (s *Store) DeleteToken(ctx context.Context, name string) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		return must(ctx, tx, noToken(name), `DELETE FROM tokens WHERE name = ?`, name)
	})
}

// TokenByHash implements store.Tokens.
func (s *Store) TokenByHash(ctx context.Context, hash [32]byte) (store.Token, error) {
	t, err := scanToken(s.db.Reader.QueryRowContext(ctx, selectTokens+`WHERE hash = ?`, hash[:]))
	return t, s.db.Problem(ctx, orMissing(err, springtide.Errorf(springtide.NotFound, "no such token")))
}

// TouchToken implements store.Tokens.
func (s *Store) TouchToken(ctx context.Context, name string, used time.Time) error {
	return s.db.Note(ctx, func(tx Transaction) error {
		return must(ctx, tx, noToken(name), `UPDATE tokens SET last_used = ? WHERE name = ?`, moment(used), name)
	})
}

func noToken(name string) error {
	return springtide.Errorf(springtide.NotFound, "there is no token %s", name)
}
