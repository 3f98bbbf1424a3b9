package control

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/jobs"
)

// access makes the tokens that instances speak to the API with, and knows them
// again. It implements api.InstanceTokens. A token says who has it, signed: none
// is stored, and one whose environment is gone is worth nothing.
type access struct {
	fleet *deploy.Fleet
	// key is this machine's, for tokens; shared that of the ledger: whichever
	// server makes a request for an app, it is signed in the same way.
	key, shared []byte
}

// The files of the two, in the data folder.
const (
	instanceKey = "instance-key"
	ledgerKey   = "ledger-key" // a copy
)

// tokenPrefix marks the tokens of instances.
const tokenPrefix = "tide_instance_"

// claims are what a token says.
type claims struct {
	jobs.Identity
	// Created is when the environment was made: another of the same name is
	// another environment.
	Created time.Time
}

// openAccess reads the key that tokens are signed with, or makes it.
func openAccess(fleet *deploy.Fleet, path string, shared []byte) (*access, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, sha256.Size)
		_, _ = rand.Read(key) // it never fails
		err = durable.WriteFile(path, key, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if len(key) != sha256.Size {
		return nil, springtide.Errorf(springtide.Failed, "%s is damaged: it has %d bytes instead of %d", path, len(key), sha256.Size).
			WithHint("remove it and restart all apps: their instances get new tokens")
	}
	return &access{fleet: fleet, key: key, shared: shared}, nil
}

// sharedKey reads the key of the ledger, and keeps a copy for when that is away:
// apps are run all the same.
func sharedKey(ctx context.Context, path string, read func(context.Context) ([]byte, error)) ([]byte, error) {
	copied, missing := os.ReadFile(path)
	key, err := read(ctx)
	switch {
	case missing == nil && springtide.KindOf(err) == springtide.Unavailable:
		return copied, nil
	case err != nil || bytes.Equal(key, copied):
		return key, err
	}
	return key, durable.WriteFile(path, key, 0o600)
}

// token gives an instance's token.
func (a *access) token(identity jobs.Identity) (string, error) {
	environment, _, err := a.fleet.Environment(identity.Environment)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(claims{identity, environment.Created})
	if err != nil {
		return "", err
	}
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(text) + "." + base64.RawURLEncoding.EncodeToString(sign(a.key, text)), nil
}

func sign(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}

// webhookSecret gives the key that requests to an environment are signed with.
func (a *access) webhookSecret(id springtide.EnvironmentID) []byte {
	return sign(a.shared, []byte("webhook "+id.String()))
}

// hidden is what all instances of an environment know and should not say.
func (a *access) hidden(id springtide.EnvironmentID) [][]byte {
	return [][]byte{[]byte(call.SecretText(a.webhookSecret(id))), []byte(a.mailPassword(id))}
}

// sessions gives the routes the keys by which clients find their instances again.
func (a *access) sessions(routes []springtide.Route) {
	for i, route := range routes {
		if route.Sticky != nil {
			routes[i].SessionKey = sign(a.key, []byte("session "+route.Environment.String()))
		}
	}
}

// Identify implements api.InstanceTokens.
func (a *access) Identify(token string) (jobs.Identity, error) {
	refused := springtide.Errorf(springtide.Unauthorized, "the token is not one of this platform's instances").
		WithHint("use the one in TIDE_TOKEN")
	said, isOurs := strings.CutPrefix(token, tokenPrefix)
	payload, signature, whole := strings.Cut(said, ".")
	text, err1 := base64.RawURLEncoding.DecodeString(payload)
	mac, err2 := base64.RawURLEncoding.DecodeString(signature)
	if !isOurs || !whole || err1 != nil || err2 != nil || !hmac.Equal(mac, sign(a.key, text)) {
		return jobs.Identity{}, refused
	}
	var who claims
	if err := json.Unmarshal(text, &who); err != nil {
		return jobs.Identity{}, refused
	}
	environment, _, err := a.fleet.Environment(who.Environment)
	if err != nil || !environment.Created.Equal(who.Created) {
		return jobs.Identity{}, springtide.Errorf(springtide.Unauthorized, "the environment of this token, %s, is gone", who.Environment)
	}
	return who.Identity, nil
}
