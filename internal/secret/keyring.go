package secret

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"sync"

	"filippo.io/age"
	"golang.org/x/sync/singleflight"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

// Options say where secrets are kept. All are required, but for those with a default.
type Options struct {
	// Folder is the data folder: root-key, recovery.json and the values of
	// references are in it.
	Folder string
	Store  store.Secrets
	Logger *slog.Logger
	// Written is called when a file has changed that nobody could make again, before
	// anything comes of it: no secret is sealed with a new root key until it returns.
	// Default: nobody is told.
	Written func() error
	// Client asks other places for what is only referred to. Default: one that
	// waits 5 s.
	Client *http.Client
}

// Validate says what is missing.
func (o Options) Validate() error {
	if !filepath.IsAbs(o.Folder) || o.Store == nil || o.Logger == nil {
		return springtide.Errorf(springtide.Internal, "secrets: an absolute folder, a store and a logger are required")
	}
	return nil
}

// Keyring keeps secrets. All its methods may be called at the same time.
type Keyring struct {
	options Options
	// own is the platform's own key.
	own key

	// changing is held while versions of secrets are numbered.
	changing sync.Mutex
	// rooting is held while the root key or the recovery key changes, for reading
	// while the root key is used.
	rooting sync.RWMutex
	mu      sync.Mutex
	keys    rootKeys // of the file

	fetching singleflight.Group
	fetched  sync.Map // what was fetched a moment ago, by where from
}

// Open opens the keyring of a data folder, or makes it. A change of the root key
// that was cut off is taken to its end. It is an error of kind Failed if there
// are secrets, but not the root key that they were sealed with.
func Open(ctx context.Context, options Options) (*Keyring, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.Client == nil {
		options.Client = newClient()
	}
	k := &Keyring{options: options}
	sealed, err := options.Store.SecretKeys(ctx)
	if err != nil {
		return nil, err
	}
	k.keys, err = readRootKeys(options.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		if len(sealed) > 0 {
			return nil, springtide.Errorf(springtide.Failed, "the root key is gone: there is no %s", filepath.Join(options.Folder, rootKeyFile)).
				WithHint("bring it back from a copy, or with the recovery key")
		}
		if k.keys, err = newRootKeys(); err == nil {
			err = k.writeRoot(k.keys)
		}
	}
	if err != nil {
		return nil, err
	}
	if k.own, err = k.keyOf(ctx, springtide.EnvironmentID{}); err != nil {
		return nil, err
	}
	if len(k.keys.roots) > 1 {
		if err := k.finishRotation(ctx); err != nil {
			return nil, err
		}
	}
	return k, k.keepRecovery()
}

// root gives what the file has; the slice is never changed.
func (k *Keyring) root() rootKeys {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys
}

// writeRoot writes the file of the root key, and tells so.
func (k *Keyring) writeRoot(keys rootKeys) error {
	return k.written(keys.write(k.options.Folder))
}

// written tells that a file was written, if it was.
func (k *Keyring) written(err error) error {
	if err != nil || k.options.Written == nil {
		return err
	}
	return k.options.Written()
}

// setRoot replaces the file, and only then what is used.
func (k *Keyring) setRoot(keys rootKeys) error {
	if err := k.writeRoot(keys); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	return nil
}

// aboutKey is what the key of an environment is sealed as.
func aboutKey(id springtide.EnvironmentID) string {
	return "key|" + string(id.App) + "|" + string(id.Name)
}

// keyOf gives the key of an environment, and makes it if there is none.
func (k *Keyring) keyOf(ctx context.Context, id springtide.EnvironmentID) (key, error) {
	// Not while the root key changes: what was read would be sealed with the old
	// one, and what is made too.
	k.rooting.RLock()
	defer k.rooting.RUnlock()
	sealed, err := k.options.Store.SecretKeys(ctx)
	if err != nil {
		return key{}, err
	}
	kept := sealed[id]
	if kept == nil {
		made := newKey()
		if kept, err = k.options.Store.AddSecretKey(ctx, id, k.root().roots[0].seal(aboutKey(id), made[:])); err != nil {
			return key{}, err
		}
	}
	return k.unseal(id, kept)
}

// unseal opens the key of an environment with whichever root key it is sealed.
func (k *Keyring) unseal(id springtide.EnvironmentID, sealed []byte) (key, error) {
	for _, root := range k.root().roots {
		if plain, err := root.open(aboutKey(id), sealed); err == nil && len(plain) == len(key{}) {
			return key(plain), nil
		}
	}
	return key{}, springtide.Errorf(springtide.Failed, "the root key in %s is not the one that secrets were sealed with", k.options.Folder).
		WithHint("bring the right one back from a copy, or with the recovery key")
}

// Seal seals what another part of the platform keeps: only Open, with the same
// name, gives it back. It never fails.
func (k *Keyring) Seal(name string, plain []byte) ([]byte, error) {
	return k.own.seal("own|"+name, plain), nil
}

// Open gives what was sealed under the name. The error is of kind Failed.
func (k *Keyring) Open(name string, sealed []byte) ([]byte, error) {
	plain, err := k.own.open("own|"+name, sealed)
	if err != nil {
		return nil, springtide.Errorf(springtide.Failed, "%s cannot be opened: %w", name, err)
	}
	return plain, nil
}

// BackupKey is what backups of this platform are sealed to, besides the recovery
// key. It never changes.
func (k *Keyring) BackupKey() *age.X25519Identity { return k.root().backup }

// RotateRoot changes the root key: all keys are sealed with the new one. Secrets
// can be read and changed meanwhile. After an error, or the end of the process,
// it goes on when the keyring is opened, or rotated again.
func (k *Keyring) RotateRoot(ctx context.Context) error {
	k.rooting.Lock()
	defer k.rooting.Unlock()
	keys := k.root()
	keys.roots = append([]key{newKey()}, keys.roots...)
	if err := k.setRoot(keys); err != nil {
		return err
	}
	if err := k.keepRecovery(); err != nil {
		return err
	}
	return k.finishRotation(ctx)
}

// finishRotation seals all keys with the first root key and lets go of the
// others. Nobody makes keys meanwhile.
func (k *Keyring) finishRotation(ctx context.Context) error {
	keys := k.root()
	sealed, err := k.options.Store.SecretKeys(ctx)
	if err != nil {
		return err
	}
	sealed = maps.Clone(sealed)
	for id, kept := range sealed {
		plain, err := k.unseal(id, kept)
		if err != nil {
			// None of the root keys opens it: it is lost whether they are kept or not.
			k.options.Logger.Error("the key of an environment's secrets cannot be opened", "environment", id, "error", err)
			delete(sealed, id)
			continue
		}
		sealed[id] = keys.roots[0].seal(aboutKey(id), plain[:])
	}
	if err := k.options.Store.ReplaceSecretKeys(ctx, sealed); err != nil {
		return err
	}
	keys.roots = keys.roots[:1:1]
	if err := k.setRoot(keys); err != nil {
		return err
	}
	k.options.Logger.Info("the root key was changed", "keys", len(sealed))
	return nil
}
