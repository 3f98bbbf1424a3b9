package build

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/springtide/springtide"
)

// Manifest gives the document of an artifact, and the digests of the blobs that it
// names: its config first, then its layers.
func (b *Builder) Manifest(artifact springtide.Digest) (document []byte, blobs []springtide.Digest, err error) {
	digest, err := parseDigest(artifact)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := b.artifacts.manifest(digest)
	if err != nil {
		return nil, nil, err
	}
	blobs = append(blobs, springtide.Digest(manifest.Config.Digest.String()))
	for _, layer := range manifest.Layers {
		blobs = append(blobs, springtide.Digest(layer.Digest.String()))
	}
	document, err = os.ReadFile(b.artifacts.blob(digest))
	return document, blobs, err
}

// OpenBlob opens a blob of the layout, an artifact's manifest among them. One that
// is not there is of kind NotFound.
func (b *Builder) OpenBlob(digest springtide.Digest) (io.ReadSeekCloser, error) {
	parsed, err := parseDigest(digest)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(b.artifacts.blob(parsed))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, springtide.Errorf(springtide.NotFound, "the blob %s is not there", digest)
	}
	return file, err
}
