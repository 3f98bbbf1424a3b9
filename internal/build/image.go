package build

import (
	"bytes"
	"encoding/json"
	"runtime"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/springtide/springtide"
)

// image is the documents of an OCI image.
type image struct {
	config, manifest   []byte
	configID, identity v1.Hash
	// size is that of all its parts, in bytes.
	size int64
}

// describe makes the image of an app: its layer upon a base. What belongs to a
// release alone, its config and its secrets, is not in it.
func describe(app springtide.App, of layer, on base) (image, error) {
	written := on.configure(app)
	written.RootFS.DiffIDs = append(written.RootFS.DiffIDs, of.content)
	config, err := json.Marshal(written)
	if err != nil {
		return image{}, err
	}
	made := image{config: config, configID: hashOf(config)}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: made.configID},
		Layers:        append(slices.Clone(on.layers), v1.Descriptor{MediaType: types.OCILayer, Size: of.size, Digest: of.digest}),
	}
	if on.name != "" {
		manifest.Annotations = map[string]string{baseName: on.name, baseDigest: on.digest.String()}
	}
	for _, layer := range manifest.Layers {
		made.size += layer.Size
	}
	made.manifest, err = json.Marshal(manifest)
	made.size += int64(len(made.config) + len(made.manifest))
	made.identity = hashOf(made.manifest)
	return made, err
}

func (i image) descriptor() v1.Descriptor {
	return v1.Descriptor{
		MediaType: types.OCIManifestSchema1, Size: int64(len(i.manifest)), Digest: i.identity,
		Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
	}
}

func hashOf(document []byte) v1.Hash {
	digest := newDigester()
	_, _ = bytes.NewReader(document).WriteTo(digest)
	return digest.sum()
}

// parseDigest reads the name of an artifact.
func parseDigest(digest springtide.Digest) (v1.Hash, error) {
	parsed, err := v1.NewHash(string(digest))
	if err != nil || parsed.Algorithm != "sha256" {
		return v1.Hash{}, springtide.Errorf(springtide.Invalid, "%q is not the digest of an artifact", clip(string(digest)))
	}
	return parsed, nil
}
