package control

import (
	"context"
	"encoding/hex"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/store"
)

// tokens implements api.TokenStore on the store: a token's ID is its name.
type tokens struct {
	store   store.Tokens
	mu      sync.Mutex
	touched map[string]time.Time
}

// AddToken implements api.TokenStore.
func (t *tokens) AddToken(ctx context.Context, token api.Token) error {
	hash, err := parseHash(token.Hash)
	if err != nil {
		return err
	}
	return t.store.AddToken(ctx, store.Token{Name: token.Name, Hash: hash, Created: token.Created})
}

// Tokens implements api.TokenStore.
func (t *tokens) Tokens(ctx context.Context) ([]api.Token, error) {
	kept, err := t.store.Tokens(ctx)
	list := make([]api.Token, 0, len(kept))
	for _, token := range kept {
		list = append(list, asToken(token))
	}
	return list, err
}

// TokenByHash implements api.TokenStore. It notes the use, once a minute.
func (t *tokens) TokenByHash(ctx context.Context, text string) (api.Token, error) {
	hash, err := parseHash(text)
	if err != nil {
		return api.Token{}, err
	}
	token, err := t.store.TokenByHash(ctx, hash)
	if err != nil {
		return api.Token{}, err
	}
	now := time.Now()
	t.mu.Lock()
	due := now.Sub(t.touched[token.Name]) > time.Minute
	if due {
		t.touched[token.Name] = now
	}
	t.mu.Unlock()
	if due {
		err = t.store.TouchToken(ctx, token.Name, now)
	}
	return asToken(token), err
}

// RevokeToken implements api.TokenStore.
func (t *tokens) RevokeToken(ctx context.Context, id string) error {
	return t.store.DeleteToken(ctx, id)
}

func asToken(token store.Token) api.Token {
	return api.Token{ID: token.Name, Name: token.Name, Created: token.Created, Hash: hex.EncodeToString(token.Hash[:])}
}

func parseHash(text string) (hash [32]byte, err error) {
	if n, err := hex.Decode(hash[:], []byte(text)); err != nil || n != len(hash) {
		return hash, springtide.Errorf(springtide.Invalid, "a token's hash is 64 hexadecimal digits")
	}
	return hash, nil
}
