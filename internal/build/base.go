package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/springtide/springtide"
)

// By these annotations of an artifact its base is found again: what it was asked
// for by, and the digest that this had.
const (
	baseName   = "org.opencontainers.image.base.name"
	baseDigest = "org.opencontainers.image.base.digest"
)

// base is the image that an app is laid upon. The zero value is no image.
//
// It has no place of its own in the layout: the artifacts that were made upon it
// keep it, and when the last of them is collected it is pulled again.
type base struct {
	name   string
	digest v1.Hash
	config v1.ConfigFile
	layers []v1.Descriptor
	// files has the layers, by digest; they are in the place of the build.
	files map[v1.Hash]string
}

// bring gives the base of an app with its layers in the place. What a tag means
// now is asked of the registry; where that does not answer, what it meant before
// is good enough.
func (b *Builder) bring(ctx context.Context, request Request, place *place) (base, error) {
	wanted := request.App.Build.Base
	if wanted == "" && b.options.NeedsBase {
		return base{}, springtide.Errorf(springtide.Invalid, "build.base is missing: a cluster has nothing to run %s in", request.App.Name).
			WithHint("name an image in tide.yaml, like build: { base: debian:12-slim }")
	}
	if wanted == "" {
		return base{}, nil
	}
	reference, err := name.ParseReference(wanted)
	if err != nil {
		return base{}, springtide.Errorf(springtide.Invalid, "build.base: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(request.App.Build.Timeout, DefaultTimeout))
	defer cancel()
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychainOf(request.App, request.Login))}
	digest, err := resolveBase(reference, options)
	kept, found := b.keptBase(wanted, digest)
	if found && kept.link(b, place) == nil {
		if err != nil {
			fmt.Fprintf(request.Output, "tide: %s cannot be asked for (%v): it is %s as before\n", wanted, err, kept.digest)
		}
		return kept, nil
	}
	if err == nil {
		return b.pullBase(reference, digest, options, request, place)
	}
	return base{}, unpulled(wanted, err)
}

// resolveBase gives the digest of what a reference names now.
func resolveBase(reference name.Reference, options []remote.Option) (v1.Hash, error) {
	if pinned, ok := reference.(name.Digest); ok {
		return v1.NewHash(pinned.DigestStr())
	}
	head, err := remote.Head(reference, options...)
	if err != nil {
		return v1.Hash{}, err
	}
	return head.Digest, nil
}

func unpulled(wanted string, err error) error {
	return springtide.Errorf(springtide.Failed, "the base %s cannot be pulled: %w", wanted, err).
		WithHint("check build.base and build.login; `docker pull` as the user that serves has the same credentials")
}

// keptBase finds the base in the artifacts that were made upon it: by its digest,
// or without one the newest that was asked for by that name.
func (b *Builder) keptBase(wanted string, digest v1.Hash) (base, bool) {
	index, err := b.artifacts.index()
	if err != nil {
		return base{}, false
	}
	var newest time.Time
	var found base
	for _, one := range index.Manifests {
		manifest, err := b.artifacts.manifest(one.Digest)
		if err != nil || manifest.Annotations[baseDigest] == "" {
			continue
		}
		fits := manifest.Annotations[baseDigest] == digest.String()
		if digest == (v1.Hash{}) {
			fits = manifest.Annotations[baseName] == wanted
		}
		info, err := os.Stat(b.artifacts.blob(one.Digest))
		if !fits || err != nil || info.ModTime().Before(newest) {
			continue
		}
		if below, err := b.below(manifest); err == nil {
			newest, found = info.ModTime(), below
		}
	}
	found.name = wanted
	return found, !newest.IsZero()
}

// below gives what is below the app in an artifact.
func (b *Builder) below(manifest *v1.Manifest) (base, error) {
	file, err := os.Open(b.artifacts.blob(manifest.Config.Digest))
	if err != nil {
		return base{}, err
	}
	defer file.Close()
	config, err := v1.ParseConfigFile(file)
	if err != nil {
		return base{}, err
	}
	digest, err := v1.NewHash(manifest.Annotations[baseDigest])
	last := len(manifest.Layers) - 1
	if err != nil || len(config.RootFS.DiffIDs) != last+1 || len(config.History) == 0 {
		return base{}, fmt.Errorf("the artifact is not one of ours: %w", err)
	}
	config.RootFS.DiffIDs = config.RootFS.DiffIDs[:last]
	config.History = config.History[:len(config.History)-1]
	return base{digest: digest, config: *config, layers: manifest.Layers[:last]}, nil
}

// link puts the layers that the layout has into the place, where nobody collects them.
func (on *base) link(b *Builder, place *place) error {
	on.files = map[v1.Hash]string{}
	for _, layer := range on.layers {
		if err := on.linkLayer(b, place, layer.Digest); err != nil {
			return err
		}
	}
	return nil
}

func (on *base) linkLayer(b *Builder, place *place, digest v1.Hash) error {
	on.files[digest] = place.file("base-" + digest.Hex)
	if err := os.Link(b.artifacts.blob(digest), on.files[digest]); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// pullBase pulls the image for this kind of machine, those layers that are not
// there yet.
func (b *Builder) pullBase(reference name.Reference, digest v1.Hash, options []remote.Option, request Request, place *place) (base, error) {
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	on := base{name: request.App.Build.Base, digest: digest, files: map[v1.Hash]string{}}
	pulled, err := remote.Image(reference.Context().Digest(digest.String()), append(options, remote.WithPlatform(platform))...)
	if err != nil {
		return on, unpulled(on.name, err)
	}
	manifest, err := pulled.Manifest()
	if err != nil {
		return on, unpulled(on.name, err)
	}
	config, err := pulled.ConfigFile()
	if err != nil {
		return on, unpulled(on.name, err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		return on, springtide.Errorf(springtide.Invalid, "the base %s is for %s/%s, not for this machine's linux/%s",
			on.name, config.OS, config.Architecture, platform.Architecture).WithHint("choose one that is made for several platforms")
	}
	on.config = *config
	var size int64
	for _, layer := range manifest.Layers {
		if layer.MediaType, err = ociLayer(layer.MediaType); err != nil {
			return on, unpulled(on.name, err)
		}
		on.layers = append(on.layers, v1.Descriptor{MediaType: layer.MediaType, Size: layer.Size, Digest: layer.Digest})
		size += layer.Size
	}
	if err := b.room(size / 2); err != nil {
		return on, err
	}
	for _, layer := range on.layers {
		if on.linkLayer(b, place, layer.Digest) == nil {
			continue
		}
		if err := pullLayer(pulled, layer.Digest, on.files[layer.Digest]); err != nil {
			if noSpace(b.options.Data, err) != nil {
				return on, err
			}
			return on, unpulled(on.name, err)
		}
	}
	fmt.Fprintf(request.Output, "tide: the base %s is %s, %d MiB in %d layers\n", on.name, digest, size>>20, len(on.layers))
	return on, nil
}

// ociLayer gives OCI's name for the type of a layer.
func ociLayer(of types.MediaType) (types.MediaType, error) {
	switch of {
	case types.DockerLayer:
		return types.OCILayer, nil
	case types.DockerUncompressedLayer:
		return types.OCIUncompressedLayer, nil
	case types.OCILayer, types.OCIUncompressedLayer, types.OCILayerZStd:
		return of, nil
	}
	return "", fmt.Errorf("a layer is of type %.100q, which cannot be passed on", string(of))
}

// pullLayer writes a layer to a new file; what does not have its digest is an error.
func pullLayer(from v1.Image, digest v1.Hash, to string) error {
	layer, err := from.LayerByDigest(digest)
	if err != nil {
		return err
	}
	content, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content) // which compares the digest at the end
	return errors.Join(err, file.Close())
}

// configure gives what a container of the app is started with: by itself the command of
// the process that is given the requests, as nobody that is anybody on the node.
func (on base) configure(app springtide.App) v1.ConfigFile {
	const (
		path   = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
		nobody = "65532:65532"
	)
	made := on.config
	made.Architecture, made.OS, made.Created = runtime.GOARCH, "linux", v1.Time{Time: epoch()}
	made.Container = ""
	made.RootFS = v1.RootFS{Type: "layers", DiffIDs: slices.Clone(on.config.RootFS.DiffIDs)}
	made.History = append(slices.Clone(on.config.History), v1.History{Created: v1.Time{Time: epoch()}, CreatedBy: "tide build"})
	made.Config = v1.Config{
		User: nobody, WorkingDir: "/" + appFolder, Env: slices.Clone(on.config.Config.Env),
		Labels: map[string]string{"org.opencontainers.image.title": string(app.Name), "dev.springtide.app": string(app.Name)},
	}
	if numericUser(on.config.Config.User) {
		made.Config.User = on.config.Config.User
	}
	if !slices.ContainsFunc(made.Config.Env, func(v string) bool { return len(v) > 5 && v[:5] == path[:5] }) {
		made.Config.Env = append(made.Config.Env, path)
	}
	if command := app.Processes[springtide.Web].Command; command != "" {
		made.Config.Entrypoint, made.Config.Cmd = []string{"/bin/sh", "-c"}, []string{command}
	}
	if on.name != "" {
		made.Config.Labels[baseName], made.Config.Labels[baseDigest] = on.name, on.digest.String()
	}
	return made
}

// numericUser reports whether a user is one that a cluster can see not to be root:
// a number, with or without a group.
func numericUser(user string) bool {
	var uid, gid uint32
	if n, _ := fmt.Sscanf(user, "%d:%d", &uid, &gid); n == 0 {
		return false
	}
	return uid != 0 && (user == fmt.Sprint(uid) || user == fmt.Sprintf("%d:%d", uid, gid))
}

// keychain gives a login to one registry; all others get what the machine's docker
// config says.
type keychain struct {
	registry string
	login    authn.Authenticator
}

// Resolve implements authn.Keychain.
func (k keychain) Resolve(of authn.Resource) (authn.Authenticator, error) {
	if k.login != nil && of.RegistryStr() == k.registry {
		return k.login, nil
	}
	return authn.DefaultKeychain.Resolve(of)
}
