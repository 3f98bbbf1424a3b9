package control

import (
	"context"
	"slices"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/secret"
)

// secrets implements api.Secrets.
type secrets struct {
	keyring  *secret.Keyring
	fleet    *deploy.Fleet
	deployer *deploy.Deployer
	// changed is called when there is another recovery key; it must not block.
	changed func()
}

// Secrets implements api.Secrets.
func (s secrets) Secrets(ctx context.Context, id springtide.EnvironmentID) ([]api.Secret, error) {
	listed, err := s.keyring.List(ctx, id)
	if err != nil {
		return nil, err
	}
	needed := map[springtide.SecretName]bool{}
	if _, release, err := s.fleet.Environment(id); err == nil {
		for _, name := range release.App.Secrets {
			needed[name] = true
		}
	}
	all := []api.Secret{}
	for _, l := range listed {
		all = append(all, api.Secret{Name: l.Name, Version: l.Version, Created: l.Created, Needed: needed[l.Name]})
		delete(needed, l.Name)
	}
	for name := range needed {
		all = append(all, api.Secret{Name: name, Needed: true})
	}
	slices.SortFunc(all, func(a, b api.Secret) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return all, nil
}

// ChangeSecrets implements api.Secrets.
func (s secrets) ChangeSecrets(ctx context.Context, id springtide.EnvironmentID, change api.SecretsChange) ([]api.Secret, error) {
	set := map[springtide.SecretName][]byte{}
	var names []string
	for name, value := range change.Set {
		if err := secret.CheckName(name); err != nil {
			return nil, err
		}
		set[name] = []byte(value)
		names = append(names, string(name))
	}
	for _, name := range change.Remove {
		names = append(names, string(name))
	}
	// An environment that is not there yet is made, as for config.
	if _, err := s.fleet.SetConfig(ctx, id, nil, nil); err != nil {
		return nil, err
	}
	if err := s.keyring.Change(ctx, id, set, change.Remove); err != nil {
		return nil, err
	}
	slices.Sort(names)
	s.deployer.Reconfigure(id, "secrets: "+strings.Join(names, ", "))
	return s.Secrets(ctx, id)
}

// ExportSecrets implements api.Secrets.
func (s secrets) ExportSecrets(ctx context.Context, id springtide.EnvironmentID, recipient string) ([]byte, error) {
	return s.keyring.Export(ctx, id, recipient)
}

// RotateRootKey implements api.Secrets.
func (s secrets) RotateRootKey(ctx context.Context) error { return s.keyring.RotateRoot(ctx) }

// RecoveryKey implements api.Secrets.
func (s secrets) RecoveryKey(_ context.Context, renew bool) (string, error) {
	key, err := s.keyring.RecoveryKey(renew)
	if err == nil {
		s.changed()
	}
	return key, err
}

// SetSources implements api.Secrets.
func (s secrets) SetSources(_ context.Context, sources api.SecretSources) error {
	known, err := s.keyring.Sources()
	if err != nil {
		return err
	}
	if v := sources.Vault; v != nil {
		known.Vault = &secret.Vault{Address: v.Address, Token: v.Token, Namespace: v.Namespace}
	}
	if a := sources.AWS; a != nil {
		known.AWS = &secret.AWS{Region: a.Region, AccessKey: a.AccessKey, SecretKey: a.SecretKey, SessionToken: a.SessionToken, Endpoint: a.Endpoint}
	}
	return s.keyring.SetSources(known)
}
