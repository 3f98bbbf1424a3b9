package build

import (
	"bytes"
	"encoding/json"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/springtide/springtide"
)

// image is the documents of an OCI image with one layer.
type image struct {
	layer              layer
	config, manifest   []byte
	configID, identity v1.Hash
}

// describe makes the image of a layer. It depends on the app's name and content
// only: the environment and commands belong to the release.
func describe(app springtide.AppName, of layer) (image, error) {
	config, err := json.Marshal(v1.ConfigFile{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Created:      v1.Time{Time: epoch()},
		RootFS:       v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{of.content}},
		History:      []v1.History{{Created: v1.Time{Time: epoch()}, CreatedBy: "tide build"}},
		Config: v1.Config{
			WorkingDir: "/" + appFolder,
			Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
			Labels: map[string]string{
				"org.opencontainers.image.title": string(app),
				"dev.springtide.app":             string(app),
			},
		},
	})
	if err != nil {
		return image{}, err
	}
	made := image{layer: of, config: config, configID: hashOf(config)}
	made.manifest, err = json.Marshal(v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config:        v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: made.configID},
		Layers:        []v1.Descriptor{{MediaType: types.OCILayer, Size: of.size, Digest: of.digest}},
	})
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
