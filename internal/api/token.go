package api

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// secretPrefix makes a secret recognisable to people and to leak scanners.
const secretPrefix = "tide_"

// touchEvery spares the disk: the last use of a token is recorded that often.
const touchEvery = time.Minute

// newSecret gives 32 random bytes in a form that can be pasted.
func newSecret() string {
	var random [32]byte
	rand.Read(random[:]) // never fails
	return secretPrefix + base64.RawURLEncoding.EncodeToString(random[:])
}

// hashSecret is what is stored of a secret. The secret is random over 256 bits,
// so a fast hash without salt is enough.
func hashSecret(secret string) [32]byte { return sha256.Sum256([]byte(secret)) }

// authenticate lets requests pass that carry the secret of a token. The look-up
// is by hash, so its time tells nothing of the secret.
func (s *Server) authenticate(next http.Handler) http.Handler {
	refuse := springtide.Errorf(springtide.Unauthorized, "the token is missing or wrong").
		WithHint("make one on the server with `tide tokens create NAME` and set TIDE_TOKEN")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(secret, secretPrefix) {
			writeError(w, refuse)
			return
		}
		hash := hashSecret(secret)
		token, err := s.platform.Tokens.TokenByHash(r.Context(), hash)
		if err != nil && springtide.KindOf(err) != springtide.NotFound {
			writeError(w, err)
			return
		}
		if err != nil || subtle.ConstantTimeCompare(token.Hash[:], hash[:]) != 1 {
			writeError(w, refuse)
			return
		}
		if now := time.Now(); now.Sub(token.LastUsed) >= touchEvery {
			if err := s.platform.Tokens.TouchToken(r.Context(), token.Name, now); err != nil {
				s.logger.Warn("last use of a token not recorded", "token", token.Name, "error", err)
			}
		}
		next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), caller{token: token.Name})))
	})
}

// caller is who makes a request.
type caller struct {
	// owner came over the Unix socket.
	owner bool
	// token is the name of the token, of others.
	token string
	// instance is one of an app's, with the token that it was given; else nil.
	instance *jobs.Identity
}

type callerKey struct{}

func withCaller(ctx context.Context, who caller) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(ctx context.Context) caller {
	who, _ := ctx.Value(callerKey{}).(caller)
	return who
}

// trustOwner takes every request as the owner's: only the owner can open the
// Unix socket.
func trustOwner(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(withCaller(r.Context(), caller{owner: true})))
	})
}

// ownerOnly is the error for others than the owner.
func ownerOnly(ctx context.Context, what string) error {
	if callerOf(ctx).owner {
		return nil
	}
	return springtide.Errorf(springtide.Denied, "a token is not enough to %s", what).
		WithHint("run the command on the server itself, as the user that serves")
}

type tokenInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9][A-Za-z0-9._@-]*$" doc:"what or whom the token is for"`
	}
}

func (s *Server) createToken(ctx context.Context, in *tokenInput) (NewToken, error) {
	if err := ownerOnly(ctx, "make tokens"); err != nil {
		return NewToken{}, err
	}
	secret := newSecret()
	token := Token{Name: in.Body.Name, Hash: hashSecret(secret), Created: time.Now().UTC()}
	if err := s.platform.Tokens.AddToken(ctx, token); err != nil {
		return NewToken{}, err
	}
	return NewToken{Token: token, Secret: secret}, nil
}

func (s *Server) listTokens(ctx context.Context, _ *struct{}) ([]Token, error) {
	return s.platform.Tokens.Tokens(ctx)
}

type tokenPath struct {
	Name string `path:"name"`
}

func (s *Server) deleteToken(ctx context.Context, in *tokenPath) error {
	if err := ownerOnly(ctx, "remove tokens"); err != nil {
		return err
	}
	return s.platform.Tokens.DeleteToken(ctx, in.Name)
}
