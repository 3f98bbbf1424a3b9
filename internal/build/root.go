package build

import (
	"context"
	"errors"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/springtide/springtide"
)

// Root gives the folder with an artifact's app. It is unpacked if it is gone.
// Nobody may write to it.
func (b *Builder) Root(ctx context.Context, artifact springtide.Digest) (string, error) {
	digest, err := parseDigest(artifact)
	if err != nil {
		return "", err
	}
	folder := b.rootOf(digest)
	if _, err := os.Lstat(folder); err == nil {
		return folder, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", springtide.Errorf(springtide.Internal, "look for the artifact: %w", err)
	}
	if err := b.unpackRoot(ctx, digest); err != nil {
		if full := noSpace(b.options.Data, err); full != nil {
			return "", full
		}
		if _, told := errors.AsType[*springtide.Error](err); !told {
			err = springtide.Errorf(springtide.Internal, "unpack the artifact %s: %w", digest, err)
		}
		return "", err
	}
	return folder, nil
}

// unpackRoot unpacks beside and moves into place. Of several that do so at the
// same time one wins, and all have the same.
func (b *Builder) unpackRoot(ctx context.Context, digest v1.Hash) error {
	manifest, err := b.artifacts.manifest(digest)
	if err != nil {
		return err
	}
	layer := manifest.Layers[len(manifest.Layers)-1]
	if err := b.room(layer.Size / 2); err != nil {
		return err
	}
	place, err := b.claim("unpack-" + digest.Hex[:12])
	if err != nil {
		return err
	}
	defer place.release()
	if err := os.Mkdir(place.source(), 0o755); err != nil {
		return err
	}
	if err := unpackLayer(ctx, b.artifacts.blob(layer.Digest), layer.Digest, place.source()); err != nil {
		return err
	}
	if err := syncAll(place.folder); err != nil {
		return err
	}
	unlock, err := b.artifacts.lock()
	if err != nil {
		return err
	}
	defer unlock()
	there, err := b.artifacts.has(digest)
	if err != nil {
		return err
	}
	if !there {
		return springtide.Errorf(springtide.NotFound, "the artifact %s was removed", digest).WithHint("deploy again")
	}
	return b.install(place.source(), digest)
}
