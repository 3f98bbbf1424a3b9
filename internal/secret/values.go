package secret

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

const (
	// ValueLimit is how large a secret may be, in bytes: what variables may hold
	// everywhere.
	ValueLimit = 64 << 10
	// nameLimit is how long a name may be, in bytes.
	nameLimit = 100
	// keepFollowed is how long a version is kept at least once there is another: a
	// release that is being made may have it.
	keepFollowed = 24 * time.Hour
)

// Listing is a secret without its value.
type Listing struct {
	Name    springtide.SecretName `json:"name"`
	Version int                   `json:"version"`
	Created time.Time             `json:"created"` // this version
}

// Set gives secrets new values. Those that have it already keep their version.
func (k *Keyring) Set(ctx context.Context, id springtide.EnvironmentID, values map[springtide.SecretName][]byte) error {
	return k.Change(ctx, id, values, nil)
}

// Unset takes secrets away from future releases. Those that are not set are of
// kind NotFound.
func (k *Keyring) Unset(ctx context.Context, id springtide.EnvironmentID, names ...springtide.SecretName) error {
	return k.Change(ctx, id, nil, names)
}

// Change sets and unsets secrets, all or none.
func (k *Keyring) Change(ctx context.Context, id springtide.EnvironmentID, set map[springtide.SecretName][]byte, unset []springtide.SecretName) error {
	for name, value := range set {
		if err := check(name, value); err != nil {
			return err
		}
	}
	key, err := k.keyOf(ctx, id)
	if err != nil {
		return err
	}
	k.changing.Lock()
	defer k.changing.Unlock()
	last, err := k.last(ctx, id)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	var changes []store.Secret
	for _, name := range slices.Sorted(maps.Keys(set)) {
		next := store.Secret{Name: name, Version: last[name].Version + 1, Created: now}
		if before := last[name]; before.Sealed != nil {
			value, err := key.open(about(id, before), before.Sealed)
			if err != nil {
				return damaged(id, before, err)
			}
			if bytes.Equal(value, set[name]) {
				continue
			}
		}
		next.Sealed = key.seal(about(id, next), set[name])
		changes = append(changes, next)
	}
	for _, name := range unset {
		if _, both := set[name]; both {
			return springtide.Errorf(springtide.Invalid, "%s cannot be set and unset", name)
		}
		if last[name].Sealed == nil {
			return springtide.Errorf(springtide.NotFound, "%s has no secret %s", id, name)
		}
		changes = append(changes, store.Secret{Name: name, Version: last[name].Version + 1, Created: now})
	}
	if len(changes) == 0 {
		return nil
	}
	return k.options.Store.AddSecrets(ctx, id, changes)
}

func check(name springtide.SecretName, value []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(value) > ValueLimit {
		return springtide.Errorf(springtide.Invalid, "the secret %s has %d KiB; at most %d are possible", name, len(value)>>10, ValueLimit>>10)
	}
	return nil
}

// CheckName says what is wrong with the name of a secret: it must be one that a
// variable can have.
func CheckName(name springtide.SecretName) error {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_"
	if len(name) == 0 || len(name) > nameLimit || strings.Trim(string(name[:1]), letters) != "" || strings.Trim(string(name), letters+"0123456789") != "" {
		return springtide.Errorf(springtide.Invalid, "%.110q cannot be the name of a secret", string(name)).
			WithHint("use letters, digits and underscores, no digit first, at most %d", nameLimit)
	}
	return nil
}

// about is what a value is sealed as: it cannot be moved to another place.
func about(id springtide.EnvironmentID, version store.Secret) string {
	return strings.Join([]string{"secret", string(id.App), string(id.Name), string(version.Name), strconv.Itoa(version.Version)}, "|")
}

func damaged(id springtide.EnvironmentID, version store.Secret, err error) error {
	return springtide.Errorf(springtide.Failed, "version %d of the secret %s of %s cannot be opened: %w", version.Version, version.Name, id, err).
		WithHint("set it again")
}

// last gives the last version of each secret, also of those that were unset.
func (k *Keyring) last(ctx context.Context, id springtide.EnvironmentID) (map[springtide.SecretName]store.Secret, error) {
	versions, err := k.options.Store.Secrets(ctx, id)
	last := map[springtide.SecretName]store.Secret{}
	for _, version := range versions {
		last[version.Name] = version
	}
	return last, err
}

// List gives the secrets that are set, in order of name.
func (k *Keyring) List(ctx context.Context, id springtide.EnvironmentID) ([]Listing, error) {
	last, err := k.last(ctx, id)
	var list []Listing
	for _, name := range slices.Sorted(maps.Keys(last)) {
		if version := last[name]; version.Sealed != nil {
			list = append(list, Listing{name, version.Version, version.Created})
		}
	}
	return list, err
}

// Latest gives the versions that a new release takes.
func (k *Keyring) Latest(ctx context.Context, id springtide.EnvironmentID) (map[springtide.SecretName]int, error) {
	list, err := k.List(ctx, id)
	latest := make(map[springtide.SecretName]int, len(list))
	for _, listing := range list {
		latest[listing.Name] = listing.Version
	}
	return latest, err
}

// Values gives the values of those versions, references as they are: see
// [Keyring.Resolve]. A version that is not there is of kind NotFound.
func (k *Keyring) Values(ctx context.Context, id springtide.EnvironmentID, versions map[springtide.SecretName]int) (map[springtide.SecretName][]byte, error) {
	values := make(map[springtide.SecretName][]byte, len(versions))
	if len(versions) == 0 {
		return values, nil
	}
	kept, err := k.options.Store.Secrets(ctx, id)
	if err != nil {
		return nil, err
	}
	key, err := k.keyOf(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, version := range kept {
		if versions[version.Name] != version.Version || version.Sealed == nil {
			continue
		}
		if values[version.Name], err = key.open(about(id, version), version.Sealed); err != nil {
			return nil, damaged(id, version, err)
		}
	}
	for name, version := range versions {
		if _, found := values[name]; !found {
			return nil, springtide.Errorf(springtide.NotFound, "%s has no version %d of the secret %s", id, version, name).
				WithHint("set it again and deploy")
		}
	}
	return values, nil
}

// Forget forgets versions that no release has and that were followed by another
// one a day ago, and says how many.
func (k *Keyring) Forget(ctx context.Context, id springtide.EnvironmentID) (int, error) {
	return k.options.Store.ForgetSecrets(ctx, id, time.Now().Add(-keepFollowed))
}
