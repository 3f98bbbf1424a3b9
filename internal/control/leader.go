package control

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/postgres"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// How long a lead lasts, by clocks that nobody steps: a leader looks at when it
// stirred last, a follower at when it saw that.
const (
	beatEvery = 3 * time.Second
	beatAgain = 500 * time.Millisecond // when the store did not answer
	lookEvery = time.Second
	// stopAfter is how long a leader goes on that has not stirred, and endWithin how
	// long it has to end then, before it is killed. After takeOverAfter another leads.
	stopAfter     = 12 * time.Second
	endWithin     = 2 * time.Second
	resignLimit   = time.Second
	takeOverAfter = 15 * time.Second
)

// leadership has one of the control planes that share a store lead. Implemented
// by postgres.Store; whoever has SQLite's file has the lead.
type leadership interface {
	Leader(ctx context.Context) (store.Leader, error)
	Lead(ctx context.Context, holder string, seen store.Leader) (leads bool, err error)
	Beat(ctx context.Context) (leads bool, err error)
}

// leader is a control plane's part in it. A process leads once at most:
//
//	following ──▶ leading ──▶ ended, and started again by the supervisor
//
// A leader that was stopped, or whose store is away, ends its loops before another
// one begins its own. Should it go on all the same for a moment, then nothing
// comes of it:
//
//   - the store refuses every write of a token that is not the newest;
//   - a routing table has a version from a block that the store gave to this
//     leader, and edges take only higher ones: those of the next leader's block;
//   - the ledger of jobs needs no leader: slots are recorded once, and runs have
//     fences of their own; backups are such runs;
//   - instances, services, files and certificates are of this data folder, which a
//     lock keeps for one process, and to make them so again changes nothing.
type leader struct {
	store  leadership
	holder string
	logger *slog.Logger
	// stirred is when the last beat that succeeded was begun.
	stirred time.Time
}

// await returns when this control plane leads. tell is told who leads meanwhile,
// or why that is not known.
func (l *leader) await(ctx context.Context, tell func(store.Leader, error)) error {
	var seen store.Leader
	var since time.Time
	for {
		now, err := l.store.Leader(ctx)
		if err == nil && now != seen {
			seen, since = now, time.Now()
		}
		// One of our own name was of this data folder, and is dead: we have its lock.
		if err == nil && (now.Holder == "" || now.Holder == l.holder || time.Since(since) >= takeOverAfter) {
			begun, leads := time.Now(), false
			if leads, err = l.store.Lead(ctx, l.holder, now); leads {
				l.stirred = begun
				l.logger.Info("this control plane leads", "holder", l.holder, "before", now.Holder)
				return nil
			}
		}
		tell(now, err)
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// keep stirs until ctx ends. An error says that another one leads, or may soon.
func (l *leader) keep(ctx context.Context) error {
	for pause := beatEvery; ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		begun := time.Now()
		attempt, cancel := context.WithDeadline(ctx, l.stirred.Add(stopAfter))
		leads, err := l.store.Beat(attempt)
		cancel()
		switch {
		case leads:
			l.stirred, pause = begun, beatEvery
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it is no fault of the store that nobody waits for it any more
		case err == nil:
			return springtide.Errorf(springtide.Conflict, "another control plane has taken the lead")
		case time.Since(l.stirred) >= stopAfter:
			return springtide.Errorf(springtide.Unavailable, "another control plane may take the lead: %w", err)
		default:
			pause = beatAgain
		}
	}
}

// openStore opens what is remembered. Where control planes share it, it returns
// when this one leads.
func (p *plane) openStore(ctx context.Context) error {
	if p.Store == "" {
		kept, err := sqlite.Open(ctx, filepath.Join(p.DataFolder, "tide.db"), p.Logger)
		if err == nil {
			p.store, p.copies["tide.db"] = kept, kept.Copy
		}
		return err
	}
	holder, err := holderName(p.DataFolder, p.Advertise)
	if err != nil {
		return err
	}
	f := &following{options: p.Options, holder: holder, started: time.Now()}
	end, err := f.serve(ctx)
	if err != nil {
		return err
	}
	shared, err := openShared(ctx, p.Store, f.tell, p.Logger)
	end()
	if err != nil {
		return err
	}
	p.store, f.store = shared, shared
	if p.SharedKey != "" {
		if p.shelf, err = newShelf(shared, p.DataFolder, p.SharedKey, p.Logger); err != nil {
			return err
		}
		if err := p.shelf.bring(ctx); err != nil {
			return err
		}
	}
	if end, err = f.serve(ctx); err != nil {
		return err
	}
	l := &leader{store: shared, holder: holder, logger: p.Logger}
	err = l.await(ctx, func(leader store.Leader, trouble error) {
		f.tell(leader, trouble)
		p.bringFirst(ctx, f)
	})
	end()
	if err != nil {
		return err
	}
	p.resign = shared.Resign
	if p.shelf != nil { // others may have led meanwhile
		if err := p.shelf.bring(ctx); err != nil {
			return err
		}
	}
	p.all.Go(func() error {
		err := l.keep(ctx)
		if err != nil {
			p.killed = time.AfterFunc(endWithin, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
		}
		return err
	})
	return nil
}

// CheckStore tries the URL of a store that control planes share. One that does not
// answer is no error: it is waited for.
func CheckStore(ctx context.Context, location string) error {
	shared, err := postgres.Open(ctx, location, slog.New(slog.DiscardHandler))
	if err != nil && springtide.KindOf(err) != springtide.Unavailable {
		return err
	}
	if err == nil {
		return shared.Close()
	}
	return nil
}

// openShared opens the store that control planes share, as soon as that answers.
func openShared(ctx context.Context, location string, tell func(store.Leader, error), logger *slog.Logger) (*postgres.Store, error) {
	for {
		shared, err := postgres.Open(ctx, location, logger)
		if springtide.KindOf(err) != springtide.Unavailable {
			return shared, err
		}
		tell(store.Leader{}, err)
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// bringFirst has one that follows know what the first leader of all has made.
func (p *plane) bringFirst(ctx context.Context, f *following) {
	if p.shelf == nil || p.shelf.has() {
		return
	}
	if err := p.shelf.bring(ctx); err != nil {
		p.Logger.Warn("what control planes share cannot be read; it is tried again", "error", err)
		return
	}
	if authority, err := cert.OpenAuthority(filepath.Join(p.DataFolder, "ca")); err == nil && p.shelf.has() {
		f.learn(authority)
	}
}

// keepShared has other control planes know what was just written, if there may be others.
func (p *plane) keepShared(ctx context.Context) error {
	if p.shelf == nil {
		return nil
	}
	return p.shelf.keep(ctx)
}

// holderName is what a data folder's control plane is called: by its machine, or how
// others reach it, and by a word of its own, since machines are copied.
func holderName(folder, advertise string) (string, error) {
	path := filepath.Join(folder, "holder")
	own, err := os.ReadFile(path)
	if _, word, ok := strings.Cut(string(own), "/"); ok && advertise != "" {
		own = []byte(advertise + "/" + word) // the address may be another one by now
	}
	if errors.Is(err, fs.ErrNotExist) {
		host, _ := os.Hostname() // the word is what counts
		own = []byte(cmp.Or(advertise, host) + "/" + strings.ToLower(rand.Text()[:8]))
		err = durable.WriteFile(path, own, 0o600)
	}
	return string(own), err
}
