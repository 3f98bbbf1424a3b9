package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// FilesOptions are what is needed for shared files, which restic keeps safe.
type FilesOptions struct {
	// URL and Access are what the target was opened with.
	URL    string
	Access TargetOptions
	// Source holds the shared files, as APP/ENVIRONMENT/NAME.
	Source string
	// Folder is the keeper's own: the passwords of repositories, restic's caches,
	// and how far checks have come.
	Folder string
	// Days is in how many days everything that restic keeps is read again.
	// Default: 7
	Days int
}

// files keeps the shared files of environments in one repository each, below
// the backups of them:
//
//	PLATFORM/APP/ENVIRONMENT/files/repository   restic's
//	PLATFORM/APP/ENVIRONMENT/files/password     what opens it, sealed
//
// A snapshot of restic is a backup when there is a manifest that names it. Those
// that are none are forgotten when they are two days old.
type files struct {
	FilesOptions
	vault *vault
	tell  func(of Subject, kind, message string, fields map[string]string)

	mu           sync.Mutex
	repositories map[Subject]*repository
}

func newFiles(options FilesOptions, v *vault, tell func(Subject, string, string, map[string]string)) *files {
	options.Days = cmp.Or(options.Days, 7)
	return &files{FilesOptions: options, vault: v, tell: tell, repositories: map[Subject]*repository{}}
}

// source is the folder of an environment's shared files.
func (f *files) source(of Subject) string {
	return filepath.Join(f.Source, string(of.Environment.App), string(of.Environment.Name))
}

// file is one of the keeper's own, about an environment.
func (f *files) file(of Subject, name string) string {
	return filepath.Join(f.Folder, string(of.Environment.App), string(of.Environment.Name), name)
}

// repository gives that of an environment, and makes it if there is none.
func (f *files) repository(ctx context.Context, of Subject) (*repository, error) {
	f.mu.Lock()
	r := f.repositories[of]
	f.mu.Unlock()
	if r != nil {
		return r, nil
	}
	password, err := f.password(ctx, of)
	if err != nil {
		return nil, err
	}
	place, err := resticPlaceAt(f.URL, f.Access, path.Join(f.vault.folder(of), "repository"))
	if err != nil {
		return nil, err
	}
	r = &repository{place: place, password: password, cache: f.file(of, "cache"), turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	if err := f.ensure(ctx, r, of); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.repositories[of] == nil {
		f.repositories[of] = r
	}
	return f.repositories[of], nil
}

// ensure makes the repository if there is none, and there never was one.
func (f *files) ensure(ctx context.Context, r *repository, of Subject) error {
	err := r.do(ctx, resticCall{arguments: []string{"cat", "config"}})
	if !errors.Is(err, errRepositoryMissing) {
		return err
	}
	known, listErr := f.vault.target.List(ctx, path.Join(f.vault.folder(of), "manifests")+"/")
	if listErr != nil {
		return listErr
	}
	if len(known) > 0 {
		return springtide.Errorf(springtide.Failed, "the backup target has lost the repository of the shared files of %s, of which it has %d backups", of.Environment, len(known)).
			WithHint("mend the target, or choose another one for what comes")
	}
	// Killed half-way it begins anew: its configuration is written last.
	if err = r.do(ctx, resticCall{arguments: []string{"init"}}); errors.Is(err, errRepositoryExists) {
		return nil
	}
	return err
}

// password gives what opens a repository. It is made up once, kept here, and
// sealed on the target: whoever has the recovery key gets it there. If what is
// there is not ours, somebody has put it there who wants to read what comes.
func (f *files) password(ctx context.Context, of Subject) ([]byte, error) {
	file, name := f.file(of, "password"), path.Join(f.vault.folder(of), "password")
	own, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unavailable(err)
	}
	sealed, err := f.vault.readNamed(ctx, name)
	missing := springtide.KindOf(err) == springtide.NotFound
	switch {
	case err != nil && !missing:
		return nil, err
	case !missing && len(own) > 0 && !bytes.Equal(own, sealed):
		return nil, springtide.Errorf(springtide.Denied, "the password of restic on the backup target is not the one of %s", of.Environment).
			WithHint("if the target is that of another platform, choose another; if you trust it, remove %s", file)
	case !missing && len(own) > 0:
		return own, nil
	case len(own) == 0:
		own = sealed
		if missing {
			own = []byte(rand.Text() + rand.Text())
		}
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return nil, unavailable(err)
		}
		if err := durable.WriteFile(file, own, 0o600); err != nil {
			return nil, unavailable(err)
		}
	}
	if missing {
		_, err = f.vault.put(ctx, name, func(to io.Writer) error {
			_, err := to.Write(own)
			return err
		})
		return own, err
	}
	return own, nil
}

// readNamed reads all of what is small, and that no manifest knows.
func (v *vault) readNamed(ctx context.Context, name string) ([]byte, error) {
	from, err := v.openNamed(ctx, name)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return io.ReadAll(io.LimitReader(from, manifestLimit))
}

const (
	// leftAlone is for how long what no manifest names may be a backup to be.
	leftAlone = 48 * time.Hour
	// pruneEvery is how often space is given back.
	pruneEvery = 7 * 24 * time.Hour
	// pruneFile says that there is something to prune, and when that was done last.
	pruneFile = "prune"
)

// tidy removes the snapshots that are no backups, and now and then what only
// they needed.
func (f *files) tidy(ctx context.Context, of Subject) error {
	_, known, err := f.vault.manifests(ctx, of)
	if err != nil {
		return err
	}
	r, err := f.repository(ctx, of)
	if err != nil {
		return err
	}
	all, err := resticJSON[[]resticSnapshot](ctx, r, "snapshots")
	if err != nil {
		return err
	}
	// A target that knows of no backup at all has lost them.
	if gone := forgettable(all, known, time.Now()); len(gone) > 0 && len(known) > 0 {
		if err := r.do(ctx, resticCall{arguments: append([]string{"forget"}, gone...)}); err != nil {
			return err
		}
	}
	return f.prune(ctx, r, of)
}

// resticSnapshot is what restic tells of a snapshot.
type resticSnapshot struct {
	ID   string    `json:"id"`
	Time time.Time `json:"time"`
	Tags []string  `json:"tags"`
}

// backup is the ID of the backup that the snapshot was made for; empty: none.
func (s resticSnapshot) backup() string {
	for _, tag := range s.Tags {
		if id, is := strings.CutPrefix(tag, "backup:"); is {
			return id
		}
	}
	return ""
}

// forgettable gives the snapshots that were made for a backup which is none, and
// will be none: it was begun long ago. By no clock is one removed that has a
// manifest, nor one that somebody else has made.
func forgettable(all []resticSnapshot, backups []string, now time.Time) (gone []string) {
	known := map[string]bool{}
	for _, id := range backups {
		known[id] = true
	}
	for _, s := range all {
		if id := s.backup(); id != "" && !known[id] && now.Sub(idTime(id)) > leftAlone {
			gone = append(gone, s.ID)
		}
	}
	return gone
}

// prune gives space back, once a week.
func (f *files) prune(ctx context.Context, r *repository, of Subject) error {
	last, err := os.Stat(f.file(of, pruneFile))
	if err == nil && time.Since(last.ModTime()) < pruneEvery && time.Since(last.ModTime()) > -time.Hour {
		return nil
	}
	// What is moved to give space back needs space itself, for a while.
	if err := r.do(ctx, resticCall{arguments: []string{"prune", "--max-unused", "10%", "--max-repack-size", "2G"}}); err != nil {
		return err
	}
	return unavailable(durable.WriteFile(f.file(of, pruneFile), nil, 0o600))
}

// unavailable says of an error of this machine's disk that it may pass.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	return springtide.Errorf(springtide.Unavailable, "backups: %w", err)
}

// fewestKept is how many backups are kept however old they are.
const fewestKept = 3

// outdated gives the backups that need not be kept any longer, counted from the
// newest one: should none be made any more, none goes. By a clock that is wrong
// for a while nothing is lost: what is later than now does not count and stays,
// and so do the newest ones, however old they seem.
func outdated(all []Manifest, keep time.Duration, now time.Time) []Manifest {
	past := sane(all, now)
	slices.SortStableFunc(past, func(a, b Manifest) int { return a.Finished.Compare(b.Finished) })
	if len(past) <= fewestKept {
		return nil
	}
	oldest := past[len(past)-1].Finished.Add(-keep)
	return slices.DeleteFunc(past[:len(past)-fewestKept], func(m Manifest) bool { return !m.Finished.Before(oldest) })
}

// backupFiles makes the backup of an environment's shared files, unless an
// earlier attempt of the run has made it, and forgets what is outdated.
func (k *Keeper) backupFiles(ctx context.Context, run springtide.Run, of Subject) (any, error) {
	if k.files == nil {
		return nil, springtide.Errorf(springtide.Unavailable, "shared files are not kept safe here")
	}
	before, _, err := k.vault.manifests(ctx, of)
	if err != nil {
		return nil, err
	}
	m, made := madeBy(before, run.ID, KindFiles)
	if !made {
		m, err = k.files.snapshot(ctx, run, of, func(p springtide.Progress) { k.options.Progress(run.ID, run.Fence, p) })
		if err != nil {
			return nil, err
		}
		k.made(m)
	}
	if err := k.retainFiles(ctx, of); err != nil {
		k.options.Logger.Warn("what is too old could not be removed", "of", of, "error", err)
	}
	return resultOf(m), nil
}

func (k *Keeper) retainFiles(ctx context.Context, of Subject) error {
	plans, err := k.options.Plans(ctx)
	if err != nil {
		return err
	}
	all, _, err := k.vault.manifests(ctx, of)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(plans, func(p Plan) bool { return p.Subject == of }); i >= 0 && plans[i].Keep > 0 {
		for _, m := range outdated(all, plans[i].Keep, time.Now()) {
			if err := k.vault.forget(ctx, m); err != nil {
				return err
			}
		}
	}
	return k.files.tidy(ctx, of)
}
