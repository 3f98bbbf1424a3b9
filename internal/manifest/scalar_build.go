package manifest

import (
	"fmt"

	reference "github.com/google/go-containerregistry/pkg/name"
)

// image is a reference to an image: debian:12-slim, or with its digest.
type image string

func (v *image) parse(n *node) error {
	if n.kind == text {
		if _, err := reference.ParseReference(n.text); err == nil {
			*v = image(n.text)
			return nil
		}
	}
	return fmt.Errorf("want an image, like debian:12-slim or registry.example.com/team/base@sha256:…, got %s", n.shown())
}

func (v *image) write() (string, bool) { return string(*v), false }

// repository is where images are kept, without a tag.
type repository string

func (v *repository) parse(n *node) error {
	if n.kind == text {
		if _, err := reference.NewRepository(n.text, reference.StrictValidation); err == nil {
			*v = repository(n.text)
			return nil
		}
	}
	return fmt.Errorf("want a repository with its registry and without a tag, like registry.example.com/team/app, got %s", n.shown())
}

func (v *repository) write() (string, bool) { return string(*v), false }
