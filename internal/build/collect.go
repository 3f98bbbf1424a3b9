package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/springtide/springtide"
)

// Collect removes every artifact that is neither in keep nor younger than
// Options.Grace, and what builds and unpackings that were killed have left. It
// tells how many artifacts and bytes were removed. A build that is under way
// loses nothing by it.
func (b *Builder) Collect(ctx context.Context, keep []springtide.Digest) (removed int, bytes int64, err error) {
	kept := map[v1.Hash]bool{}
	for _, digest := range keep {
		parsed, err := parseDigest(digest)
		if err != nil {
			return 0, 0, err
		}
		kept[parsed] = true
	}
	removed, bytes, err = b.forget(kept)
	// Also after an error: if the disk is full, this makes room for another try.
	left, leftErr := b.removeLeftOver(ctx)
	return removed, bytes + left, collectError(errors.Join(err, leftErr))
}

func collectError(err error) error {
	if err == nil {
		return nil
	}
	if _, told := errors.AsType[*springtide.Error](err); told {
		return err
	}
	return springtide.Errorf(springtide.Internal, "remove old artifacts: %w", err)
}

// removeLeftOver removes the places that nobody owns.
func (b *Builder) removeLeftOver(ctx context.Context) (bytes int64, err error) {
	entries, err := os.ReadDir(b.builds)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	names := map[string]bool{}
	for _, entry := range entries {
		names[strings.TrimSuffix(entry.Name(), ".lock")] = true
	}
	for name := range names {
		if err := ctx.Err(); err != nil {
			return bytes, err
		}
		folder := filepath.Join(b.builds, name)
		size, _ := treeSize(folder) // It may be somebody's, and going away.
		p, err := b.occupy(name)
		if err != nil {
			return bytes, err
		}
		if p != nil {
			bytes += size
			p.release()
		}
	}
	return bytes, nil
}

// forget takes artifacts out of the roots, the index and the blobs, in this
// order: what is unpacked can be unpacked again, and it makes the room that a
// full disk needs for a new index; blobs go when nothing names them any more.
func (b *Builder) forget(kept map[v1.Hash]bool) (removed int, bytes int64, err error) {
	unlock, err := b.artifacts.lock()
	if err != nil {
		return 0, 0, err
	}
	defer unlock()
	index, err := b.artifacts.index()
	if err != nil {
		return 0, 0, err
	}
	oldest := time.Now().Add(-b.options.Grace)
	for _, one := range index.Manifests {
		info, err := os.Lstat(b.artifacts.blob(one.Digest))
		if err == nil && info.ModTime().After(oldest) {
			kept[one.Digest] = true
		}
	}
	used, err := b.reachable(index, kept)
	if err != nil {
		return 0, 0, err
	}
	if err := b.discardRoots(kept); err != nil {
		return 0, 0, err
	}
	before := len(index.Manifests)
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return !kept[d.Digest] })
	if removed = before - len(index.Manifests); removed > 0 {
		if err := b.artifacts.writeIndex(index); err != nil {
			return 0, 0, err
		}
	}
	bytes, err = b.artifacts.removeBlobs(used)
	return removed, bytes, err
}

// reachable gives the blobs of the images that are kept.
func (b *Builder) reachable(index v1.IndexManifest, kept map[v1.Hash]bool) (map[string]bool, error) {
	used := map[string]bool{}
	for _, one := range index.Manifests {
		if !kept[one.Digest] {
			continue
		}
		manifest, err := b.artifacts.manifest(one.Digest)
		if springtide.KindOf(err) == springtide.NotFound {
			continue
		}
		if err != nil {
			return nil, err // Better to remove nothing than too much.
		}
		used[one.Digest.Hex] = true
		used[manifest.Config.Digest.Hex] = true
		for _, layer := range manifest.Layers {
			used[layer.Digest.Hex] = true
		}
	}
	return used, nil
}

// discardRoots moves roots to builds, where they are nobody's: to remove them may
// take its time.
func (b *Builder) discardRoots(kept map[v1.Hash]bool) error {
	if err := openFolder(b.builds, 0o711); err != nil {
		return err
	}
	entries, err := os.ReadDir(b.roots)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, entry := range entries {
		digest, err := v1.NewHash("sha256:" + entry.Name())
		if err != nil || kept[digest] {
			continue
		}
		aside := fmt.Sprintf("%s.removed.%d", entry.Name(), time.Now().UnixNano())
		if err := os.Rename(filepath.Join(b.roots, entry.Name()), filepath.Join(b.builds, aside)); err != nil {
			return err
		}
	}
	return nil
}

// removeBlobs removes all blobs but those, and what a killed process has left of
// an index; the lock is held.
func (s store) removeBlobs(used map[string]bool) (bytes int64, err error) {
	blobs, err := os.ReadDir(s.blobs())
	if err != nil {
		return 0, err
	}
	for _, blob := range blobs {
		if used[blob.Name()] {
			continue
		}
		info, err := blob.Info()
		if err != nil {
			return bytes, err
		}
		if err := os.RemoveAll(filepath.Join(s.blobs(), blob.Name())); err != nil {
			return bytes, err
		}
		bytes += info.Size()
	}
	unfinished, _ := filepath.Glob(filepath.Join(s.folder, ".index.json.*"))
	for _, file := range unfinished {
		os.Remove(file)
	}
	return bytes, nil
}
