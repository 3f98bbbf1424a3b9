package build

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// publish makes an artifact of the tree that was built in the place, and moves
// the tree to where the artifact would be unpacked.
func (b *Builder) publish(request Request, place *place, on base) (Artifact, error) {
	root, err := os.OpenRoot(place.source())
	if err != nil {
		return Artifact{}, err
	}
	defer root.Close()
	content, removed, err := seal(root)
	if err != nil {
		return Artifact{}, err
	}
	for _, name := range removed {
		fmt.Fprintf(request.Output, "tide: left out %s: it is neither a file nor a folder nor a link\n", clip(name))
	}
	layer, err := writeLayer(root, content, place.file("layer"))
	if err != nil {
		return Artifact{}, err
	}
	made, err := describe(request.App, layer, on)
	if err != nil {
		return Artifact{}, err
	}
	artifact := Artifact{
		Digest: springtide.Digest(made.identity.String()),
		Root:   b.rootOf(made.identity),
		Size:   made.size,
	}
	if artifact.Reused, err = b.reuse(made.identity); err != nil || artifact.Reused {
		return artifact, err
	}
	files := map[v1.Hash]string{
		layer.digest:  place.file("layer"),
		made.configID: place.file("config"),
		made.identity: place.file("manifest"),
	}
	maps.Copy(files, on.files)
	err = errors.Join(
		os.WriteFile(files[made.configID], made.config, 0o644),
		os.WriteFile(files[made.identity], made.manifest, 0o644),
		syncAll(place.folder))
	if err != nil {
		return Artifact{}, err
	}
	unlock, err := b.artifacts.lock()
	if err != nil {
		return Artifact{}, err
	}
	defer unlock()
	if err := b.artifacts.put(made, files); err != nil {
		return Artifact{}, err
	}
	return artifact, b.install(place.source(), made.identity)
}

// reuse reports whether the artifact is there already, unpacked and all.
func (b *Builder) reuse(digest v1.Hash) (bool, error) {
	if there, err := b.reuseBlobs(digest); err != nil || !there {
		return false, err
	}
	_, err := os.Lstat(b.rootOf(digest))
	return err == nil, nil
}

func (b *Builder) rootOf(digest v1.Hash) string { return filepath.Join(b.roots, digest.Hex) }

// install moves a sealed and synced tree to where the artifact's is; the lock is
// held. If one is there already it is the same, and stays.
func (b *Builder) install(tree string, digest v1.Hash) error {
	if err := openFolder(b.roots, 0o711); err != nil { // apps pass through; nobody looks around
		return err
	}
	err := os.Rename(tree, b.rootOf(digest))
	if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOTEMPTY) {
		return nil
	}
	if err != nil {
		return err
	}
	return durable.SyncFolder(b.roots)
}
