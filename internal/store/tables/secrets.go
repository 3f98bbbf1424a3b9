package tables

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// SecretKeys implements store.Secrets.
func (s *Store) SecretKeys(ctx context.Context) (map[springtide.EnvironmentID][]byte, error) {
	type key struct {
		of     springtide.EnvironmentID
		sealed []byte
	}
	scan := func(row row) (k key, err error) {
		err = row.Scan(&k.of.App, &k.of.Name, &k.sealed)
		return k, err
	}
	found, err := read(ctx, s, scan, `SELECT app, environment, sealed FROM secret_keys`)
	keys := make(map[springtide.EnvironmentID][]byte, len(found))
	for _, k := range found {
		keys[k.of] = k.sealed
	}
	return keys, err
}

// AddSecretKey implements store.Secrets.
func (s *Store) AddSecretKey(ctx context.Context, id springtide.EnvironmentID, sealed []byte) (kept []byte, err error) {
	err = s.db.Write(ctx, func(tx Transaction) error {
		if id != (springtide.EnvironmentID{}) {
			if _, err := environment(ctx, tx, id); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO secret_keys (app, environment, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
			id.App, id.Name, sealed); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT sealed FROM secret_keys WHERE app = ? AND environment = ?`, id.App, id.Name).Scan(&kept)
	})
	return kept, err
}

// ReplaceSecretKeys implements store.Secrets.
func (s *Store) ReplaceSecretKeys(ctx context.Context, keys map[springtide.EnvironmentID][]byte) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		for id, sealed := range keys {
			if _, err := tx.ExecContext(ctx, `UPDATE secret_keys SET sealed = ? WHERE app = ? AND environment = ?`,
				sealed, id.App, id.Name); err != nil {
				return err
			}
		}
		return nil
	})
}

const selectSecrets = `SELECT name, version, sealed, created FROM secrets WHERE app = ? AND environment = ? `

func scanSecret(row row) (store.Secret, error) {
	var secret store.Secret
	err := row.Scan(&secret.Name, &secret.Version, &secret.Sealed, (*moment)(&secret.Created))
	if len(secret.Sealed) == 0 {
		secret.Sealed = nil
	}
	return secret, err
}

// AddSecrets implements store.Secrets.
func (s *Store) AddSecrets(ctx context.Context, id springtide.EnvironmentID, secrets []store.Secret) error {
	return s.db.Write(ctx, func(tx Transaction) error {
		if _, err := environment(ctx, tx, id); err != nil {
			return err
		}
		for _, secret := range secrets {
			var last int
			if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM secrets WHERE app = ? AND environment = ? AND name = ?`,
				id.App, id.Name, secret.Name).Scan(&last); err != nil {
				return err
			}
			if secret.Version != last+1 {
				return springtide.Errorf(springtide.Conflict, "%s of %s has changed: its last version is %d", secret.Name, id, last)
			}
			if err := insertSecret(ctx, tx, id, secret); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertSecret(ctx context.Context, tx Transaction, id springtide.EnvironmentID, secret store.Secret) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO secrets (app, environment, name, version, sealed, created) VALUES (?, ?, ?, ?, ?, ?)`,
		id.App, id.Name, secret.Name, secret.Version, append([]byte{}, secret.Sealed...), moment(secret.Created))
	return err
}

// Secrets implements store.Secrets.
func (s *Store) Secrets(ctx context.Context, id springtide.EnvironmentID) ([]store.Secret, error) {
	return read(ctx, s, scanSecret, selectSecrets+`ORDER BY name, version`, id.App, id.Name)
}

// ForgetSecrets implements store.Secrets.
func (s *Store) ForgetSecrets(ctx context.Context, id springtide.EnvironmentID, before time.Time) (forgotten int, err error) {
	err = s.db.Write(ctx, func(tx Transaction) error {
		forgotten = 0
		used, err := usedSecrets(ctx, tx, id)
		if err != nil {
			return err
		}
		secrets, err := all(ctx, tx, scanSecret, selectSecrets+`ORDER BY name, version`, id.App, id.Name)
		if err != nil {
			return err
		}
		for n, secret := range secrets {
			if n+1 == len(secrets) || secrets[n+1].Name != secret.Name || !secrets[n+1].Created.Before(before) || used[secret.Name][secret.Version] {
				continue
			}
			if _, err := tx.ExecContext(ctx, `DELETE FROM secrets WHERE app = ? AND environment = ? AND name = ? AND version = ?`,
				id.App, id.Name, secret.Name, secret.Version); err != nil {
				return err
			}
			forgotten++
		}
		return nil
	})
	return forgotten, err
}

// usedSecrets gives the versions that releases have.
func usedSecrets(ctx context.Context, from Querier, id springtide.EnvironmentID) (map[springtide.SecretName]map[int]bool, error) {
	releases, err := all(ctx, from, scanRelease, selectReleases+`WHERE app = ? AND environment = ?`, id.App, id.Name)
	used := map[springtide.SecretName]map[int]bool{}
	for _, release := range releases {
		for name, version := range release.Secrets {
			if used[name] == nil {
				used[name] = map[int]bool{}
			}
			used[name][version] = true
		}
	}
	return used, err
}
