package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// store is an OCI image layout. It is written here and not with
// go-containerregistry's package layout, which overwrites index.json in place
// and gives blobs their names before they are whole: a kill at the wrong moment
// would leave a layout that cannot be read, or a blob that lies for ever. What is
// written can be read with it.
//
// All who change the layout, and all who put something into roots, hold its
// lock. It is held for moments: what takes long is done before and after.
type store struct {
	folder string
}

func (s store) blobs() string { return filepath.Join(s.folder, "blobs", "sha256") }

func (s store) blob(digest v1.Hash) string { return filepath.Join(s.blobs(), digest.Hex) }

// lock waits for the lock, and makes the layout if there is none.
func (s store) lock() (unlock func(), err error) {
	// Sources are in it: it is the platform's alone.
	if err := errors.Join(openFolder(s.folder, 0o700), os.MkdirAll(s.blobs(), 0o755)); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(filepath.Join(s.folder, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("lock the artifacts: %w", err)
	}
	marker := filepath.Join(s.folder, "oci-layout")
	if _, err := os.Lstat(marker); err != nil {
		if err := durable.WriteFile(marker, []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
			file.Close()
			return nil, err
		}
	}
	return func() { file.Close() }, nil
}

// index reads which images there are.
func (s store) index() (v1.IndexManifest, error) {
	data, err := os.ReadFile(filepath.Join(s.folder, "index.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}, nil
	}
	if err != nil {
		return v1.IndexManifest{}, err
	}
	parsed, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return v1.IndexManifest{}, springtide.Errorf(springtide.Internal, "the index of the artifacts is damaged: %w", err).
			WithHint("restore %s, or remove it and deploy again", filepath.Join(s.folder, "index.json"))
	}
	return *parsed, nil
}

// writeIndex replaces the index; the lock is held.
func (s store) writeIndex(index v1.IndexManifest) error {
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	data, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(s.folder, "index.json"), data, 0o644)
}

// has reports whether the image is there.
func (s store) has(digest v1.Hash) (bool, error) {
	index, err := s.index()
	return slices.ContainsFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest == digest }), err
}

// put moves the synced blobs of an image into the layout, from files by digest,
// and then names it in the index; the lock is held.
func (s store) put(made image, files map[v1.Hash]string) error {
	var fresh []string
	for digest, file := range files {
		if _, err := os.Lstat(s.blob(digest)); err != nil {
			fresh = append(fresh, s.blob(digest))
		}
		if err := os.Rename(file, s.blob(digest)); err != nil {
			return err
		}
	}
	err := durable.SyncFolder(s.blobs())
	if err == nil {
		err = s.name(made)
	}
	if err == nil {
		return nil
	}
	if named, indexErr := s.has(made.identity); indexErr == nil && !named {
		for _, blob := range fresh { // The disk may be full; not to fill it further.
			os.Remove(blob)
		}
	}
	return err
}

// name puts the image into the index; the lock is held.
func (s store) name(made image) error {
	index, err := s.index()
	if err != nil {
		return err
	}
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return d.Digest == made.identity })
	index.Manifests = append(index.Manifests, made.descriptor())
	return s.writeIndex(index)
}

// touch notes that the image was wanted just now, which keeps it from being
// collected for a while, and reports whether it is there; the lock is held.
func (s store) touch(digest v1.Hash) (bool, error) {
	there, err := s.has(digest)
	if err != nil || !there {
		return false, err
	}
	now := time.Now()
	err = os.Chtimes(s.blob(digest), now, now)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // Somebody has removed it by hand.
	}
	return true, err
}

// manifest reads the manifest of an image.
func (s store) manifest(digest v1.Hash) (*v1.Manifest, error) {
	data, err := os.ReadFile(s.blob(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.NotFound, "the artifact %s is not there", digest).WithHint("deploy again")
	}
	if err != nil {
		return nil, err
	}
	return parseManifest(digest, data)
}

// parseManifest reads the document of an artifact.
func parseManifest(digest v1.Hash, data []byte) (*v1.Manifest, error) {
	parsed, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil || len(parsed.Layers) == 0 || hashOf(data) != digest {
		return nil, springtide.Errorf(springtide.Internal, "the artifact %s is damaged", digest).WithHint(damagedHint)
	}
	return parsed, nil
}

// syncAll makes durable everything that was written to the file system of the
// folder. For a tree of 5,000 files it is twenty times as fast as syncing each.
func syncAll(folder string) error {
	file, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Syncfs(int(file.Fd()))
}
