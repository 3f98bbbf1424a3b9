package backup

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"filippo.io/age"
	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

const (
	// shipEvery is how often finished changes are looked for.
	shipEvery = 3 * time.Second
	// watchEvery is how often it is looked whether a backup is late.
	watchEvery = time.Minute
	// defaultWaiting is how much may wait of one service, in bytes, while the
	// target is away. Servers themselves keep somewhat more.
	defaultWaiting = 3 << 30
)

// Services are the servers that are kept safe. Implemented by service.Manager.
type Services interface {
	// Server gives a service's primary and its driver.
	Server(id springtide.ServiceID) (service.Server, service.Driver, error)
	// Draft gives a new server without data, beside all others, for a service that
	// is like another; Adopt makes it one that serves once its data is there.
	Draft(ctx context.Context, id, like springtide.ServiceID) (service.Server, error)
	Adopt(ctx context.Context, id springtide.ServiceID, made service.Server) error
	// Destroy deletes a service with its data.
	Destroy(ctx context.Context, id springtide.ServiceID) error
}

// Plan is what is wanted of the backups of a subject. One without a Daily says
// that none is wanted: its changes are thrown away.
type Plan struct {
	Subject
	springtide.Backup
}

// Options are what a Keeper needs.
type Options struct {
	// Target is where backups are kept.
	Target Target
	// Platform is the platform's name on the target, so that several can share it.
	// It is spelled like an [springtide.AppName]. Default: springtide
	Platform string
	// Services are those of the platform.
	Services Services
	// Plans gives what is wanted of each service and of shared files, as it is now.
	Plans func(ctx context.Context) ([]Plan, error)
	// Identities open what was sealed for the Recipients: the platform's own key and
	// the recovery key.
	Identities []age.Identity
	Recipients []age.Recipient
	// Want asks for a run of kind backup as soon as can be: changes are kept of a
	// service that has no backup yet to which they could be applied. nil: it waits
	// for its daily one.
	Want func(ctx context.Context, of Subject) error
	// Waiting is how much may wait for a target that is away, in bytes, of each
	// service; then its changes are given up. Default: 3 GiB
	Waiting int64
	// Files are needed for shared files. nil: they are not kept safe.
	Files *FilesOptions
	// State is needed for the platform's own state. nil: it is not kept safe.
	State *PlatformOptions
	// Drills are needed to prove that backups can be restored.
	Drills DrillOptions
	// Scratch is a folder for what is needed for a while.
	Scratch string
	// Logger is told of what failed. nil: nobody is.
	Logger *slog.Logger
	// Happened is told of what people should know. nil: nobody is.
	Happened func(springtide.Event)
	// Progress is told how far a run has come. nil: nobody is.
	Progress func(springtide.RunID, springtide.Fence, springtide.Progress)
}

// Keeper makes backups, looks after them and brings them back.
type Keeper struct {
	options Options
	vault   *vault
	files   *files // nil: there are none

	mu        sync.Mutex
	standings map[Subject]*Standing
	shippings map[Subject]*shipping
}

// New makes a Keeper.
func New(options Options) *Keeper {
	options.Platform = cmp.Or(options.Platform, "springtide")
	options.Waiting = cmp.Or(options.Waiting, defaultWaiting)
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	if options.Plans == nil {
		options.Plans = func(context.Context) ([]Plan, error) { return nil, nil }
	}
	if options.Want == nil {
		options.Want = func(context.Context, Subject) error { return nil }
	}
	if options.Happened == nil {
		options.Happened = func(springtide.Event) {}
	}
	if options.Progress == nil {
		options.Progress = func(springtide.RunID, springtide.Fence, springtide.Progress) {}
	}
	k := &Keeper{
		options:   options,
		vault:     &vault{options.Target, options.Platform, options.Recipients, options.Identities, options.Logger},
		standings: map[Subject]*Standing{},
		shippings: map[Subject]*shipping{},
	}
	if options.Files != nil {
		k.files = newFiles(*options.Files, k.vault, k.happened)
	}
	return k
}

// Run ships changes and tells of backups that are late, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return every(ctx, shipEvery, k.Ship) })
	group.Go(func() error { return every(ctx, watchEvery, k.Watch) })
	group.Go(func() error { return every(ctx, watchEvery, k.WatchProofs) })
	group.Go(func() error { return every(ctx, watchEvery, k.keepPlatform) })
	return group.Wait()
}

// every does work again and again until ctx ends.
func every(ctx context.Context, pause time.Duration, work func(context.Context)) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		work(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// happened tells of an event, and the log of what went wrong.
func (k *Keeper) happened(of Subject, kind, message string, fields map[string]string) {
	if fields == nil {
		fields = map[string]string{}
	}
	fields["of"] = of.Of
	k.options.Happened(springtide.Event{Time: time.Now(), Environment: of.Environment, Kind: kind, Message: message, Fields: fields})
}
