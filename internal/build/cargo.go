package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/springtide/springtide"
)

// Cargo is artifacts of another platform on their way into the layout: their blobs
// come in any order, and an artifact is kept when all of its are there. It is of
// one goroutine.
type Cargo struct {
	builder *Builder
	place   *place
	files   map[v1.Hash]string
}

// Receive makes a Cargo. What is not kept of it goes when it is closed, or with
// the next Collect if its process dies.
func (b *Builder) Receive() (*Cargo, error) {
	place, err := b.claim("import")
	if err != nil {
		return nil, err
	}
	return &Cargo{builder: b, place: place, files: map[v1.Hash]string{}}, nil
}

// Close removes what was not kept.
func (c *Cargo) Close() { c.place.release() }

// Add takes a blob of so many bytes. Content of another digest is of kind Invalid.
func (c *Cargo) Add(ctx context.Context, digest springtide.Digest, size int64, content io.Reader) error {
	parsed, err := parseDigest(digest)
	if err != nil {
		return err
	}
	if err := c.builder.room(size / 2); err != nil {
		return err
	}
	path := c.place.file(parsed.Hex)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	written := newDigester()
	_, err = io.Copy(io.MultiWriter(file, written), content)
	if err = errors.Join(err, file.Close(), ctx.Err()); err != nil {
		if full := noSpace(c.builder.options.Data, err); full != nil {
			return full
		}
		return err
	}
	if written.sum() != parsed {
		return springtide.Errorf(springtide.Invalid, "the blob %s is damaged: its content has the digest %s", digest, written.sum())
	}
	c.files[parsed] = path
	return nil
}

// Keep has an artifact in the layout from now on, as one that was just built.
func (c *Cargo) Keep(artifact springtide.Digest) error {
	digest, err := parseDigest(artifact)
	if err != nil {
		return err
	}
	b := c.builder
	if there, err := b.reuseBlobs(digest); err != nil || there {
		return err
	}
	document, err := os.ReadFile(c.place.file(digest.Hex))
	if err != nil {
		return springtide.Errorf(springtide.Invalid, "the artifact %s is missing", artifact)
	}
	manifest, err := parseManifest(digest, document)
	if err != nil {
		return err
	}
	borrowed := base{files: map[v1.Hash]string{}}
	files := map[v1.Hash]string{digest: c.files[digest]}
	for _, part := range append(manifest.Layers, manifest.Config) {
		if path, came := c.files[part.Digest]; came {
			files[part.Digest] = path
		} else if err := borrowed.linkLayer(b, c.place, part.Digest); err != nil {
			return springtide.Errorf(springtide.Invalid, "the artifact %s lacks its part %s", artifact, part.Digest)
		}
	}
	maps.Copy(files, borrowed.files)
	if err := syncAll(c.place.folder); err != nil {
		return err
	}
	unlock, err := b.artifacts.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := b.artifacts.put(image{manifest: document, identity: digest}, files); err != nil {
		return fmt.Errorf("keep the artifact %s: %w", artifact, err)
	}
	for part := range files {
		delete(c.files, part)
	}
	return nil
}

// reuseBlobs reports whether the artifact is there already.
func (b *Builder) reuseBlobs(digest v1.Hash) (bool, error) {
	unlock, err := b.artifacts.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	return b.artifacts.touch(digest)
}
