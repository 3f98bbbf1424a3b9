package api

import (
	"context"
	"strings"

	"github.com/springtide/springtide"
)

func (s *Server) listSecrets(ctx context.Context, in *EnvironmentPath) ([]Secret, error) {
	return s.platform.Secrets.Secrets(ctx, in.id())
}

type secretsInput struct {
	EnvironmentPath
	Body SecretsChange
}

func (s *Server) changeSecrets(ctx context.Context, in *secretsInput) ([]Secret, error) {
	for name, value := range in.Body.Set {
		if err := checkVariable(string(name), value); err != nil {
			return nil, err
		}
		if value == "" {
			return nil, springtide.Errorf(springtide.Invalid, "the secret %s is empty", name).WithHint("to remove it: tide secrets unset %s", name)
		}
	}
	return s.platform.Secrets.ChangeSecrets(ctx, in.id(), in.Body)
}

type exportInput struct {
	EnvironmentPath
	Recipient string `query:"recipient" required:"true" doc:"an age recipient, like age1…"`
}

// SealedFile is a file that only its recipient can read.
type SealedFile struct {
	// Text is armored age.
	Text string `json:"text"`
}

func (s *Server) exportSecrets(ctx context.Context, in *exportInput) (SealedFile, error) {
	if err := ownerOnly(ctx, "export secrets"); err != nil {
		return SealedFile{}, err
	}
	sealed, err := s.platform.Secrets.ExportSecrets(ctx, in.id(), strings.TrimSpace(in.Recipient))
	return SealedFile{string(sealed)}, err
}

func (s *Server) rotateRootKey(ctx context.Context, _ *struct{}) error {
	if err := ownerOnly(ctx, "rotate the root key"); err != nil {
		return err
	}
	return s.platform.Secrets.RotateRootKey(ctx)
}

type recoveryInput struct {
	Renew bool `query:"renew" doc:"make another one, although there is one"`
}

// RecoveryKey is shown once.
type RecoveryKey struct {
	Key string `json:"key"`
}

func (s *Server) recoveryKey(ctx context.Context, in *recoveryInput) (RecoveryKey, error) {
	if err := ownerOnly(ctx, "make a recovery key"); err != nil {
		return RecoveryKey{}, err
	}
	key, err := s.platform.Secrets.RecoveryKey(ctx, in.Renew)
	return RecoveryKey{key}, err
}

type sourcesInput struct{ Body SecretSources }

func (s *Server) setSources(ctx context.Context, in *sourcesInput) error {
	if err := ownerOnly(ctx, "say where secrets come from"); err != nil {
		return err
	}
	return s.platform.Secrets.SetSources(ctx, in.Body)
}
