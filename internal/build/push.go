package build

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/springtide/springtide"
)

// PushRequest asks for a copy of an artifact in a repository of the user's own.
type PushRequest struct {
	App      springtide.App
	Artifact springtide.Digest
	// Tag keeps registries from removing it: they collect what has none.
	Tag string
	// Login is USER:PASSWORD; empty: what the machine's docker config says.
	Login string
	// Say is told what is done, a line at a time.
	Say func(line string)
}

// pushTries is how often a push is tried, with pauses of 1, 2, 4 … s between.
const pushTries = 6

// Push copies an artifact to where App.Build.Push says, and returns when the
// registry has all of it. What the registry has already is not sent again, so it
// may be called any number of times. A registry that refuses is of kind Failed,
// one that does not answer of kind Unavailable.
func (b *Builder) Push(ctx context.Context, request PushRequest) error {
	digest, err := parseDigest(request.Artifact)
	if err != nil {
		return err
	}
	to, err := name.NewTag(request.App.Build.Push + ":" + request.Tag)
	if err != nil {
		return springtide.Errorf(springtide.Invalid, "build.push: %w", err)
	}
	if _, err := b.artifacts.manifest(digest); err != nil {
		return err
	}
	image, err := layout.Path(b.artifacts.folder).Image(digest)
	if err != nil {
		return springtide.Errorf(springtide.Internal, "read the artifact: %w", err)
	}
	began, keys := time.Now(), keychainOf(request.App, request.Login)
	for try := range pushTries {
		err = remote.Write(to, image, remote.WithContext(ctx), remote.WithAuthFromKeychain(keys),
			remote.WithRetryBackoff(remote.Backoff{Steps: 1})) // the tries are ours, and told
		if err == nil {
			request.Say(fmt.Sprintf("pushed %s as %s in %.1f s", to, digest, time.Since(began).Seconds()))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if refused(err) {
			return springtide.Errorf(springtide.Failed, "%s refuses the release: %w", to.RegistryStr(), err).
				WithHint("check build.push, and what build.login or the docker config of the user that serves holds")
		}
		if try < pushTries-1 {
			request.Say(fmt.Sprintf("%s does not take the release, trying again: %v", to.RegistryStr(), err))
			select {
			case <-time.After(time.Second << try):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return springtide.Errorf(springtide.Unavailable, "%s did not take the release in %d tries: %w", to.RegistryStr(), pushTries, err).
		WithHint("nothing was changed; deploy again when it answers")
}

// refused reports whether a registry has answered, and would answer the same again.
func refused(err error) bool {
	answer, ok := errors.AsType[*transport.Error](err)
	return ok && answer.StatusCode < http.StatusInternalServerError &&
		answer.StatusCode != http.StatusTooManyRequests && answer.StatusCode != http.StatusRequestTimeout
}

// keychainOf gives the credentials of an app: a login is for the registry that it
// pushes to, or without one for that of its base.
func keychainOf(app springtide.App, login string) authn.Keychain {
	user, password, given := strings.Cut(login, ":")
	if !given {
		return keychain{}
	}
	var registry string
	if to, err := name.NewRepository(app.Build.Push); app.Build.Push != "" && err == nil {
		registry = to.RegistryStr()
	} else if from, err := name.ParseReference(app.Build.Base); err == nil {
		registry = from.Context().RegistryStr()
	}
	return keychain{registry: registry, login: &authn.Basic{Username: user, Password: strings.TrimSpace(password)}}
}
