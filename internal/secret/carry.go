package secret

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// Version is one version of a secret in the clear, on its way to another platform.
type Version struct {
	Name    springtide.SecretName `json:"name"`
	Version int                   `json:"version"`
	Created time.Time             `json:"created"`
	// Value is nil where the secret was unset.
	Value []byte `json:"value"`
}

// Versions gives all versions of an environment's secrets that are kept, in the
// clear. References stay what they are.
func (k *Keyring) Versions(ctx context.Context, id springtide.EnvironmentID) ([]Version, error) {
	kept, err := k.options.Store.Secrets(ctx, id)
	if err != nil || len(kept) == 0 {
		return nil, err
	}
	key, err := k.keyOf(ctx, id)
	if err != nil {
		return nil, err
	}
	var all []Version
	for _, secret := range kept {
		version := Version{Name: secret.Name, Version: secret.Version, Created: secret.Created}
		if secret.Sealed != nil {
			if version.Value, err = key.open(about(id, secret), secret.Sealed); err != nil {
				return nil, damaged(id, secret, err)
			}
		}
		all = append(all, version)
	}
	return all, nil
}

// Adopt seals versions that come from another platform with a new key of their
// environment, and calls keep with both: the root key does not change until it
// has returned.
func (k *Keyring) Adopt(versions map[springtide.EnvironmentID][]Version, keep func(seal func(springtide.EnvironmentID) (sealedKey []byte, secrets []store.Secret, err error)) error) error {
	k.rooting.RLock()
	defer k.rooting.RUnlock()
	return keep(func(id springtide.EnvironmentID) ([]byte, []store.Secret, error) {
		if len(versions[id]) == 0 {
			return nil, nil, nil
		}
		fresh := newKey()
		var secrets []store.Secret
		for _, version := range versions[id] {
			secret := store.Secret{Name: version.Name, Version: version.Version, Created: version.Created}
			if version.Value != nil {
				if err := check(version.Name, version.Value); err != nil {
					return nil, nil, err
				}
				secret.Sealed = fresh.seal(about(id, secret), version.Value)
			}
			secrets = append(secrets, secret)
		}
		return k.root().roots[0].seal(aboutKey(id), fresh[:]), secrets, nil
	})
}
