package control

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
)

func TestServersOfOneLedgerSignAlikeAndKnowOnlyTheirOwnTokens(t *testing.T) {
	shared := []byte("the key of the ledger")
	open := func() *access {
		a, err := openAccess(nil, filepath.Join(t.TempDir(), "instance-key"), shared)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	one, other := open(), open()
	if !bytes.Equal(one.webhookSecret(quiz), other.webhookSecret(quiz)) {
		t.Error("two servers sign differently")
	}
	staging := springtide.EnvironmentID{App: quiz.App, Name: "staging"}
	if bytes.Equal(one.webhookSecret(quiz), one.webhookSecret(staging)) {
		t.Error("two environments have one secret")
	}
	if bytes.Equal(sign(one.key, shared), sign(other.key, shared)) {
		t.Error("a token of one is good for the other")
	}
}

func TestTheKeyOfALedgerThatIsAwayIsTheOneItHad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger-key")
	away := func(context.Context) ([]byte, error) {
		return nil, springtide.Errorf(springtide.Unavailable, "it is away")
	}
	if _, err := sharedKey(t.Context(), path, away); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("before there ever was one: %v", err)
	}
	there := func(context.Context) ([]byte, error) { return []byte("the key"), nil }
	for _, read := range []func(context.Context) ([]byte, error){there, away} {
		if key, err := sharedKey(t.Context(), path, read); err != nil || string(key) != "the key" {
			t.Errorf("%q, %v", key, err)
		}
	}
}
