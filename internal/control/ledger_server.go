package control

import (
	"cmp"
	"context"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/store/ledger"
)

// tryAgain is how soon a ledger that was away is tried again.
const tryAgain = time.Second

// LedgerOptions configure a ledger's server that has no platform around it.
type LedgerOptions struct {
	// Location is a URL of PostgreSQL; empty: a file in the data folder.
	Location string
	// DataFolder holds the output of runs. It exists.
	DataFolder string
	// Listen is a private address.
	Listen string
	// App says what jobs the environment has; its processes are not run.
	App         springtide.App
	Environment springtide.EnvironmentName
	// Token is what those who come must know.
	Token string
	// AllowCalls are private networks that jobs of kind http may call.
	AllowCalls []netip.Prefix
	// Now is the clock of a ledger in a file. Default: time.Now.
	Now func() time.Time
	// Ready is called once it serves.
	Ready  func(net.Addr)
	Logger *slog.Logger
}

// id names the environment whose jobs the server keeps.
func (o LedgerOptions) id() springtide.EnvironmentID {
	return springtide.EnvironmentID{App: o.App.Name, Name: cmp.Or(o.Environment, springtide.Production)}
}

// Identify implements api.InstanceTokens.
func (o LedgerOptions) Identify(token string) (jobs.Identity, error) {
	if subtle.ConstantTimeCompare([]byte(token), []byte(o.Token)) != 1 {
		return jobs.Identity{}, springtide.Errorf(springtide.Unauthorized, "the token is not the one of this ledger").WithHint("set TIDE_TOKEN to what the server was started with")
	}
	return jobs.Identity{Environment: o.id()}, nil
}

// RunLedger serves a ledger until ctx ends: slots are recorded, runners lease
// and complete runs, requests are made. Any number of servers may share one
// PostgreSQL.
func RunLedger(ctx context.Context, o LedgerOptions) error {
	book, err := openLedger(ctx, o)
	if book == nil {
		return err
	}
	defer book.Close()
	return serveLedger(ctx, book, o)
}

// openLedger opens the ledger, one in PostgreSQL as soon as that answers. There
// is none if ctx ends before.
func openLedger(ctx context.Context, o LedgerOptions) (book *ledger.Ledger, err error) {
	open := func() (err error) {
		book, err = ledger.Open(ctx, cmp.Or(o.Location, filepath.Join(o.DataFolder, "jobs.db")), ledger.Options{Logger: o.Logger, Now: o.Now})
		return err
	}
	if o.Location == "" {
		err = open()
		return book, err
	}
	err = o.patiently(ctx, "opening it", open)
	return book, err
}

// patiently does something for which the ledger must be there, until it is done,
// makes no sense, or ctx ends.
func (o LedgerOptions) patiently(ctx context.Context, purpose string, do func() error) error {
	for told := false; ; told = true {
		err := do()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // it is no fault of the ledger's that nobody waits for it any more
		}
		if springtide.KindOf(err) != springtide.Unavailable {
			return err
		}
		if !told {
			o.Logger.Warn("the ledger is away; it is tried again", "for", purpose, "error", err)
		}
		select {
		case <-time.After(tryAgain):
		case <-ctx.Done():
		}
	}
}

func serveLedger(ctx context.Context, book *ledger.Ledger, o LedgerOptions) error {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return springtide.Errorf(springtide.Conflict, "cannot listen on %s: %w", o.Listen, err).WithHint("choose another address with --listen")
	}
	events := observe.NewEvents(nil, o.Logger)
	metrics := observe.NewMetrics(events)
	service := jobs.New(jobs.Options{
		Ledger: book, Folder: filepath.Join(o.DataFolder, "output"), Logger: o.Logger, Next: nextSlot, Observer: metrics,
		Happened: func(happened jobs.Happened) {
			o.Logger.Warn("it happened to a run", "what", happened.Kind, "run", happened.Run.ID, "schedule", happened.Run.Schedule, "reason", happened.Run.Reason)
		},
		Executors: map[springtide.RunKind]jobs.Executor{springtide.RunHTTP: call.New(call.Options{
			Rate: func(_ springtide.EnvironmentID, host string) float64 {
				return rateOf(o.App.Jobs, host)
			},
			AllowPrivate: o.AllowCalls, Logger: o.Logger,
		})},
	})
	metrics.Queues(service.Statuses)
	server := api.New(api.Options{
		Platform:       api.Platform{Ledger: book, Jobs: service, Leases: service, Schedules: service, Locks: service},
		InstanceTokens: o, Logger: o.Logger, Metrics: metrics.Handler(),
	})
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return service.Run(ctx) })
	all.Go(func() error { return server.ServeInstances(ctx, listener) })
	all.Go(func() error {
		// The server serves meanwhile, what it can.
		err := o.patiently(ctx, "the jobs of the manifest", func() error {
			return service.SetJobs(ctx, o.id(), 0, jobsOf(o.App))
		})
		if err == nil && ctx.Err() == nil && o.Ready != nil {
			o.Ready(listener.Addr())
		}
		return err
	})
	return all.Wait()
}
