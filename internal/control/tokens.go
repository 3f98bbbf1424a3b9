package control

import (
	"context"
	"time"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/store"
)

// tokens implements api.TokenStore on the store.
type tokens struct{ kept store.Tokens }

// AddToken implements api.TokenStore.
func (t tokens) AddToken(ctx context.Context, token api.Token) error {
	return t.kept.AddToken(ctx, store.Token(token))
}

// Tokens implements api.TokenStore.
func (t tokens) Tokens(ctx context.Context) ([]api.Token, error) {
	found, err := t.kept.Tokens(ctx)
	list := make([]api.Token, len(found))
	for i, token := range found {
		list[i] = api.Token(token)
	}
	return list, err
}

// TokenByHash implements api.TokenStore.
func (t tokens) TokenByHash(ctx context.Context, hash [32]byte) (api.Token, error) {
	token, err := t.kept.TokenByHash(ctx, hash)
	return api.Token(token), err
}

// DeleteToken implements api.TokenStore.
func (t tokens) DeleteToken(ctx context.Context, name string) error {
	return t.kept.DeleteToken(ctx, name)
}

// TouchToken implements api.TokenStore.
func (t tokens) TouchToken(ctx context.Context, name string, used time.Time) error {
	return t.kept.TouchToken(ctx, name, used)
}
