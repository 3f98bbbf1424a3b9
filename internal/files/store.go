package files

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Options of a [Store].
type Options struct {
	// Folder is where the shared folders are kept.
	Folder string
	// Interval is how often a folder is counted, at most. Default: a minute.
	Interval time.Duration
	// Happened is told of quotas that are nearly, or wholly, used up. May be nil.
	Happened func(springtide.Event)
	Logger   *slog.Logger
}

// Store keeps the shared folders of all environments.
type Store struct {
	folder   string
	interval time.Duration
	happened func(springtide.Event)
	logger   *slog.Logger
}

// New gives the store in a folder, which it makes if it is not there.
func New(o Options) (*Store, error) {
	if err := os.MkdirAll(o.Folder, 0o711); err != nil {
		return nil, err
	}
	if o.Interval == 0 {
		o.Interval = time.Minute
	}
	if o.Happened == nil {
		o.Happened = func(springtide.Event) {}
	}
	return &Store{folder: o.Folder, interval: o.Interval, happened: o.Happened, logger: o.Logger}, nil
}

// FolderID names a shared folder of an environment.
type FolderID struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Name        springtide.FilesName     `json:"name"`
}

// String gives "app/environment/name".
func (id FolderID) String() string { return id.Environment.String() + "/" + string(id.Name) }

func (id FolderID) check() error {
	return errors.Join(checkNoun(string(id.Environment.App)), checkNoun(string(id.Environment.Name)), checkNoun(string(id.Name)))
}

// tree is where a folder's files are, side what the platform keeps beside them:
// no name of a folder begins with a dot.
func (s *Store) tree(id FolderID) string {
	return filepath.Join(s.folder, string(id.Environment.App), string(id.Environment.Name), string(id.Name))
}

func (s *Store) side(id FolderID) string {
	return filepath.Join(s.folder, string(id.Environment.App), string(id.Environment.Name), "."+string(id.Name))
}

// settings are what the platform knows of a folder, in its side folder.
type settings struct {
	// Owner is the user and group of all that is in it.
	Owner int   `json:"owner"`
	Quota int64 `json:"quota,omitempty"`
	// Public are the prefixes of paths under which its files may be read: while
	// releases change, those of both.
	Public []string `json:"prefixes,omitempty"`
	// Enqueue is the queue in which uploads become runs; empty: they do not.
	Enqueue springtide.QueueName `json:"enqueue,omitempty"`
	// Moved is the URL of the bucket that has all of it by now: no release uses
	// the folder any more.
	Moved string `json:"moved,omitempty"`
	// Kernel says that the file system enforces the quota itself.
	Kernel bool `json:"kernel,omitempty"`
}

func readSettings(side string) (settings, error) {
	var kept settings
	text, err := os.ReadFile(filepath.Join(side, "settings.json"))
	if err == nil {
		err = json.Unmarshal(text, &kept)
	}
	return kept, err
}

func (s settings) write(side string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(side, "settings.json"), text, 0o600)
}

// Provision makes the shared folders of an environment, owned by the app's user,
// whose group has the same number. What belonged to another user before is
// handed over. It can be done again at any time, and changes nothing then.
func (s *Store) Provision(ctx context.Context, id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files, owner int) error {
	for name, spec := range wanted {
		if spec.Bucket != "" {
			continue
		}
		if err := s.provision(ctx, FolderID{id, name}, spec, owner); err != nil {
			return springtide.Errorf(springtide.KindOf(err), "shared folder %s of %s: %w", name, id, err)
		}
	}
	return nil
}

func (s *Store) provision(ctx context.Context, id FolderID, spec springtide.Files, owner int) error {
	if err := id.check(); err != nil {
		return err
	}
	tree, side := s.tree(id), s.side(id)
	// Instances reach what is mounted, not the folders above; without mounts
	// they pass through them.
	if err := os.MkdirAll(filepath.Dir(tree), 0o711); err != nil {
		return err
	}
	for _, folder := range []string{side, filepath.Join(side, "temporary"), filepath.Join(side, "uploads"), uploadedFolder(side)} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	if err := os.Mkdir(tree, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	} else if err == nil {
		if err := startLedger(side); err != nil {
			return err
		}
	}
	if err := handOver(ctx, tree, owner); err != nil {
		return err
	}
	old, oldErr := readSettings(side)
	kept := settings{Owner: owner, Quota: spec.Quota, Public: old.Public, Enqueue: cmp.Or(spec.Enqueue, old.Enqueue)}
	if spec.Public != "" && !slices.Contains(kept.Public, spec.Public) {
		kept.Public = append(slices.Clone(kept.Public), spec.Public)
	}
	kept.Kernel = s.limit(ctx, id, spec.Quota, old.Kernel)
	if oldErr == nil && reflect.DeepEqual(old, kept) {
		return nil
	}
	if err := kept.write(side); err != nil {
		return err
	}
	return durable.SyncFolder(filepath.Dir(tree))
}

// Publish has the folders of an environment be public, and their uploads
// enqueued, as wanted, and no longer as releases before had it.
func (s *Store) Publish(id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files) error {
	names, err := s.Names(id)
	if err != nil {
		return err
	}
	for _, name := range names {
		side := s.side(FolderID{id, name})
		kept, err := readSettings(side)
		if err != nil {
			return err
		}
		var public []string
		if spec := wanted[name]; spec.Public != "" {
			public = []string{spec.Public}
		}
		if slices.Equal(kept.Public, public) && kept.Enqueue == wanted[name].Enqueue {
			continue
		}
		kept.Public, kept.Enqueue = public, wanted[name].Enqueue
		if err := kept.write(side); err != nil {
			return err
		}
	}
	return nil
}

// SetMoved notes that a bucket has all that a folder holds. What Provision makes
// of it again, is in use again.
func (s *Store) SetMoved(id FolderID, bucket string) error {
	kept, err := readSettings(s.side(id))
	if err != nil {
		return err
	}
	kept.Moved = bucket
	return kept.write(s.side(id))
}

// Destroy deletes a shared folder and all that is in it. Ended in the middle it
// can be done again: the settings, by which it is known, are the last to go.
func (s *Store) Destroy(id FolderID) error {
	if err := id.check(); err != nil {
		return err
	}
	side := s.side(id)
	if _, err := readSettings(side); errors.Is(err, fs.ErrNotExist) {
		return springtide.Errorf(springtide.NotFound, "there is no shared folder %s", id).WithHint("`tide files --all` lists them")
	}
	gone := filepath.Join(side, "temporary")
	if err := os.RemoveAll(gone); err != nil {
		return err
	}
	// From one moment to the next there is none of it.
	if err := os.Rename(s.tree(id), gone); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, part := range []string{"temporary", "uploads", "uploaded", "ledger", "settings.json", ""} {
		if err := os.RemoveAll(filepath.Join(side, part)); err != nil {
			return err
		}
	}
	return durable.SyncFolder(filepath.Dir(side))
}

// Mount is a folder of the host that an instance finds somewhere else.
type Mount struct {
	Source   string
	Target   string // absolute, or relative to the app
	ReadOnly bool
}

// Mounts gives what an instance needs to find the shared folders, in order.
func (s *Store) Mounts(id springtide.EnvironmentID, wanted map[springtide.FilesName]springtide.Files) []Mount {
	var mounts []Mount
	for name, spec := range wanted {
		if spec.Bucket == "" {
			mounts = append(mounts, Mount{Source: s.tree(FolderID{id, name}), Target: spec.Path})
		}
	}
	slices.SortFunc(mounts, func(a, b Mount) int { return strings.Compare(a.Target, b.Target) })
	return mounts
}

// All gives the folders there are, those of environments that are gone too.
func (s *Store) All() ([]FolderID, error) {
	found, err := filepath.Glob(filepath.Join(s.folder, "*", "*", ".*", "settings.json"))
	if err != nil {
		return nil, err
	}
	var all []FolderID
	for _, path := range found {
		relative, err := filepath.Rel(s.folder, path)
		if err != nil {
			return nil, err
		}
		parts := strings.Split(relative, string(filepath.Separator))
		id := FolderID{springtide.EnvironmentID{App: springtide.AppName(parts[0]), Name: springtide.EnvironmentName(parts[1])}, springtide.FilesName(parts[2][1:])}
		if id.check() == nil {
			all = append(all, id)
		}
	}
	return all, nil
}

// Names gives the folders of an environment in order.
func (s *Store) Names(id springtide.EnvironmentID) ([]springtide.FilesName, error) {
	all, err := s.All()
	var names []springtide.FilesName
	for _, folder := range all {
		if folder.Environment == id {
			names = append(names, folder.Name)
		}
	}
	slices.Sort(names)
	return names, err
}
