package control

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// keptFiles keeps files for all control planes. Implemented by postgres.Store.
type keptFiles interface {
	KeptFiles(ctx context.Context) (map[string][]byte, error)
	KeepFile(ctx context.Context, name string, content []byte) error
	ForgetFile(ctx context.Context, name string) error
}

// shelf keeps in the store, sealed, what the data folder has that another control
// plane could not go on without: keys, and certificates. Who leads is told what
// there is before it opens any of it, and keeps what changes:
//
//	store ── bring ──▶ data folder ── keep, every second and where it must not be lost ──▶ store
type shelf struct {
	store  keptFiles
	folder string
	seal   cipher.AEAD
	logger *slog.Logger

	mutex sync.Mutex
	kept  map[string][sha256.Size]byte // what the store has, by names
}

// keepEvery is how often is looked what has changed.
const keepEvery = time.Second

// shared are the files, and the folders of files, that are kept.
func shared() []string {
	return []string{"root-key", "recovery.json", "secret-sources", "secret-answers", instanceKey, "ca", "certificates", "ticket-keys"}
}

// newShelf makes a shelf whose key is made of a text that is the same everywhere.
func newShelf(store keptFiles, folder, key string, logger *slog.Logger) (*shelf, error) {
	derived, err := hkdf.Key(sha256.New, []byte(key), nil, "springtide shelf", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCMWithRandomNonce(block)
	return &shelf{store: store, folder: folder, seal: seal, logger: logger, kept: map[string][sha256.Size]byte{}}, err
}

// ReadSharedKey reads what a shelf is sealed with.
func ReadSharedKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", springtide.Errorf(springtide.Invalid, "the shared key cannot be read: %w", err)
	}
	const shortest = 32
	key := strings.TrimSpace(string(text))
	if len(key) < shortest {
		return "", springtide.Errorf(springtide.Invalid, "the shared key has %d characters; it needs %d, by chance", len(key), shortest).
			WithHint("make one: openssl rand -hex 32")
	}
	return key, nil
}

// bring makes the data folder have what the store has. A store that has nothing
// changes nothing.
func (s *shelf) bring(ctx context.Context) error {
	sealed, err := s.store.KeptFiles(ctx)
	if err != nil || len(sealed) == 0 {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for name, content := range sealed {
		plain, err := s.seal.Open(nil, nil, content, []byte(name))
		if err != nil || !filepath.IsLocal(name) {
			return springtide.Errorf(springtide.Failed, "%s in the store cannot be opened: the shared key is another one than it was sealed with", name).
				WithHint("give all control planes of a store the same --shared-key")
		}
		path := filepath.Join(s.folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := durable.WriteFile(path, plain, 0o600); err != nil {
			return err
		}
		s.kept[name] = sha256.Sum256(plain)
	}
	found, err := s.found()
	for name := range found {
		if _, known := sealed[name]; !known && err == nil {
			err = os.Remove(filepath.Join(s.folder, name))
		}
	}
	return err
}

// has reports whether the store has all that a first leader makes.
func (s *shelf) has() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	_, last := s.kept["ca/ca.crt"]
	return last
}

// keep makes the store have what the data folder has.
func (s *shelf) keep(ctx context.Context) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	found, err := s.found()
	if err != nil {
		return err
	}
	for name, content := range found {
		sum := sha256.Sum256(content)
		if s.kept[name] == sum {
			continue
		}
		if err := s.store.KeepFile(ctx, name, s.seal.Seal(nil, nil, content, []byte(name))); err != nil {
			return err
		}
		s.kept[name] = sum
	}
	for name := range s.kept {
		if _, there := found[name]; there {
			continue
		}
		if err := s.store.ForgetFile(ctx, name); err != nil {
			return err
		}
		delete(s.kept, name)
	}
	return nil
}

// Run keeps what changes until ctx ends.
func (s *shelf) Run(ctx context.Context) error {
	ticks := time.NewTicker(keepEvery)
	defer ticks.Stop()
	failed := false
	for {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
		err := s.keep(ctx)
		if err != nil && !failed && ctx.Err() == nil {
			s.logger.Error("keys and certificates cannot be kept in the store; it is tried again", "error", err)
		}
		failed = err != nil
	}
}

// found reads what the data folder has of it. Files that are just being written
// begin with a dot.
func (s *shelf) found() (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, root := range shared() {
		err := filepath.WalkDir(filepath.Join(s.folder, root), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && (!entry.Type().IsRegular() || strings.HasPrefix(entry.Name(), ".")) {
				return nil
			}
			var content []byte
			if err == nil {
				content, err = os.ReadFile(path)
			}
			if errors.Is(err, fs.ErrNotExist) { // there is none, or none any more
				return nil
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(s.folder, path)
			files[filepath.ToSlash(name)] = content
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}
