package build

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/redact"
)

// DefaultTimeout is how long a build may take if its app does not say.
const DefaultTimeout = 15 * time.Minute

// Options are what a Builder works with.
type Options struct {
	// Data is the data folder: artifacts, builds, roots and cache are in it.
	Data string
	// Limiter starts build commands. Default: one that knows no limits.
	Limiter Limiter
	// User gives the user and group that the builds of an app run as. Default, and
	// where the platform is not root: those of the platform.
	User func(springtide.AppName) (uid, gid int, err error)
	// Pass names variables of the platform's own environment that builds see
	// too. Default: those that say how to reach the network, see [PassedOn].
	Pass []string
	// Grace is how long an artifact that was just built is safe from Collect,
	// until it is part of a release. Default: 10 minutes.
	Grace time.Duration
	// NeedsBase says that artifacts run where there is no userland but their own:
	// apps without a base are refused.
	NeedsBase bool
}

// Builder makes artifacts of sources and keeps them. Its methods may be called
// at the same time, also by several processes on one data folder.
type Builder struct {
	options   Options
	artifacts store
	roots     string
	builds    string
	caches    string
}

// New makes a Builder. Folders are made when they are needed.
func New(options Options) *Builder {
	if absolute, err := filepath.Abs(options.Data); err == nil {
		options.Data = absolute // A command runs elsewhere and is told names in it.
	}
	if options.Limiter == nil {
		options.Limiter = processGroup{}
	}
	if options.User == nil || os.Geteuid() != 0 {
		options.User = func(springtide.AppName) (int, int, error) { return os.Geteuid(), os.Getegid(), nil }
	}
	if options.Pass == nil {
		options.Pass = PassedOn()
	}
	if options.Grace == 0 {
		options.Grace = 10 * time.Minute
	}
	return &Builder{
		options:   options,
		artifacts: store{folder: filepath.Join(options.Data, "artifacts")},
		roots:     filepath.Join(options.Data, "roots"),
		builds:    filepath.Join(options.Data, "builds"),
		caches:    filepath.Join(options.Data, "cache"),
	}
}

// Request asks for an artifact.
type Request struct {
	App springtide.App
	// Source is a folder with the source. It is left as it is, unless Take is set:
	// then it may be moved into the build, which saves making each file again.
	Source string
	Take   bool
	// Output gets what the build says, a line at a time. It may be nil.
	Output io.Writer
	// Hide takes secret values out of what the build says. It may be nil.
	Hide *redact.Redactor
	// Login is the value of the app's Build.Login, USER:PASSWORD; empty: what the
	// machine's docker config says.
	Login string
}

// Artifact is what a build made.
type Artifact struct {
	Digest springtide.Digest
	// Root is the folder with the built app.
	Root string
	// Size is how many bytes the image has.
	Size int64
	// Reused says that an artifact with the same content was there already.
	Reused bool
}

// Build copies the source, runs the app's build command in the copy, and keeps
// the result as an artifact. Cancelling ctx ends the command and all that it
// started. After an error nothing is left of the build.
func (b *Builder) Build(ctx context.Context, request Request) (Artifact, error) {
	if err := checkName(request.App.Name); err != nil {
		return Artifact{}, err
	}
	if request.Output == nil {
		request.Output = io.Discard
	}
	artifact, err := b.build(ctx, request)
	if err != nil {
		if full := noSpace(b.options.Data, err); full != nil {
			return Artifact{}, full
		}
		if _, told := errors.AsType[*springtide.Error](err); !told {
			err = springtide.Errorf(springtide.Internal, "build %s: %w", request.App.Name, err)
		}
	}
	return artifact, err
}

func (b *Builder) build(ctx context.Context, request Request) (Artifact, error) {
	size, err := treeSize(request.Source)
	if err != nil {
		return Artifact{}, err
	}
	place, err := b.claim(string(request.App.Name))
	if err != nil {
		return Artifact{}, err
	}
	defer place.release()
	if err := b.room(size); err != nil {
		return Artifact{}, err
	}
	who, err := b.owner(request.App.Name)
	if err != nil {
		return Artifact{}, err
	}
	bring := copyTree
	if request.Take {
		bring = moveTree
	}
	if err := bring(ctx, request.Source, place.source(), who); err != nil {
		return Artifact{}, err
	}
	on, err := b.bring(ctx, request, place)
	if err != nil {
		return Artifact{}, err
	}
	if request.App.Build.Command != "" {
		if err := b.run(ctx, request, place, who); err != nil {
			return Artifact{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return Artifact{}, cancelled(ctx)
	}
	return b.publish(request, place, on)
}

// owner is whom a build's files belong to and its command runs as.
type owner struct {
	uid, gid int
	// other says that this is not who the platform runs as.
	other bool
}

func (b *Builder) owner(app springtide.AppName) (owner, error) {
	uid, gid, err := b.options.User(app)
	return owner{uid: uid, gid: gid, other: uid != os.Geteuid() || gid != os.Getegid()}, err
}

func cancelled(ctx context.Context) error {
	return springtide.Errorf(springtide.Failed, "the build was cancelled: %w", context.Cause(ctx))
}

// checkName refuses what cannot be a name in the file system.
func checkName(app springtide.AppName) error {
	for _, c := range []byte(app) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return springtide.Errorf(springtide.Invalid, "the app's name %q is not made of a-z, 0-9 and hyphens", app)
		}
	}
	if app == "" || len(app) > 40 {
		return springtide.Errorf(springtide.Invalid, "the app's name %q does not have 1 to 40 characters", app)
	}
	return nil
}
