package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// RestoredFiles are shared files as a backup had them, in folders beside those in
// use:
//
//	restoring ──▶ restored ⇄ promoted
//
// Promoting exchanges two folders of one name in one step, and so does going
// back. Killed between two names it is done again for the others.
type RestoredFiles struct {
	Environment springtide.EnvironmentID `json:"environment"`
	// Backup is the ID of the backup, Taken when it was begun.
	Backup string    `json:"backup"`
	Taken  time.Time `json:"taken"`
	// Folder has what was restored, by name, or when that is promoted what was in use
	// before.
	Folder   string    `json:"folder"`
	Promoted bool      `json:"promoted"`
	Restored time.Time `json:"restored"`
	// Inodes are those of the restored folders, wherever they are now.
	Inodes map[string]uint64 `json:"inodes"`
	// Difference is from what was in use when it was restored.
	Difference Difference `json:"difference"`
}

// restoredFolder is where what was restored is, beside what is in use: on the same
// file system, and no app has such a name.
const restoredFolder = ".restored"

func (f *files) restoredAt(of Subject, id string) string {
	return filepath.Join(f.Source, restoredFolder, string(of.Environment.App), string(of.Environment.Name), id)
}

// restore brings a backup back beside what is in use, which is not touched.
// Killed half-way it begins anew; it may be called again once it is restored.
func (f *files) restore(ctx context.Context, m Manifest, progress func(springtide.Progress)) (RestoredFiles, error) {
	of := m.Subject
	if done, err := f.restored(of, m.ID); springtide.KindOf(err) != springtide.NotFound {
		return done, err
	}
	place := f.restoredAt(of, m.ID)
	if err := errors.Join(os.RemoveAll(place), os.MkdirAll(place, 0o700)); err != nil {
		return RestoredFiles{}, unavailable(err)
	}
	tree := filepath.Join(place, "tree")
	if err := f.bring(ctx, m, tree, nil, progress); err != nil {
		return RestoredFiles{}, errors.Join(err, os.RemoveAll(place))
	}
	made := RestoredFiles{Environment: of.Environment, Backup: m.ID, Taken: m.Begun, Folder: tree, Restored: time.Now()}
	var err error
	if made.Inodes, err = inodes(tree); err != nil {
		return made, unavailable(err)
	}
	for name := range made.Inodes {
		if err := made.Difference.add(ctx, f.source(of), tree, name); err != nil {
			return made, unavailable(err)
		}
	}
	syncTree(place)
	data, err := json.Marshal(made)
	if err != nil {
		return made, err
	}
	return made, unavailable(durable.WriteFile(filepath.Join(place, "restored.json"), data, 0o600))
}

// syncTree has a whole file system be on its disk: what was restored is many files.
func syncTree(folder string) {
	if file, err := os.Open(folder); err == nil {
		_ = unix.Syncfs(int(file.Fd()))
		file.Close()
	}
}

// bring has restic restore a backup, or only some paths of it, into a folder.
func (f *files) bring(ctx context.Context, m Manifest, to string, paths []string, progress func(springtide.Progress)) error {
	r, err := f.repository(ctx, m.Subject)
	if err != nil {
		return err
	}
	need := bytesOf(m)
	if len(paths) == 0 {
		if err := fits(filepath.Dir(to), need); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return unavailable(err)
	}
	arguments := []string{"restore", m.Details[detailSnapshot], "--target", to}
	for _, path := range paths {
		arguments = append(arguments, "--include", path)
	}
	progress(springtide.Progress{Message: fmt.Sprintf("restoring %d MiB", need>>20)})
	return r.do(ctx, resticCall{arguments: arguments})
}

// fits is an error if so many bytes have no room on the disk of a folder, which
// is to keep a tenth of its room.
func fits(folder string, need int64) error {
	var room unix.Statfs_t
	if err := unix.Statfs(folder, &room); err != nil {
		return unavailable(err)
	}
	free := int64(room.Bavail) * room.Bsize
	if spare := int64(room.Blocks) * room.Bsize / 10; free-need < spare {
		return springtide.Errorf(springtide.Unavailable, "%d MiB do not fit on the disk of %s: %d MiB are free, and %d MiB of them stay free", need>>20, folder, free>>20, spare>>20).
			WithHint("make room there")
	}
	return nil
}

// restored gives what was restored from a backup; NotFound: nothing was.
func (f *files) restored(of Subject, id string) (RestoredFiles, error) {
	var made RestoredFiles
	if err := checkID(id); err != nil {
		return made, err
	}
	data, err := os.ReadFile(filepath.Join(f.restoredAt(of, id), "restored.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return made, springtide.Errorf(springtide.NotFound, "backup %s of the shared files of %s is not restored", id, of.Environment).
			WithHint("restore it first")
	}
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	if err != nil {
		return made, unavailable(err)
	}
	current, err := inodes(f.source(of))
	made.Promoted = err == nil && len(made.Inodes) > 0
	for name, inode := range made.Inodes {
		made.Promoted = made.Promoted && current[name] == inode
	}
	return made, nil
}

// exchange has the restored files and those in use change places. Instances that
// run go on with those they have: they are to be restarted. It may be called again.
func (f *files) exchange(of Subject, id string, promote bool) (RestoredFiles, error) {
	made, err := f.restored(of, id)
	if err != nil {
		return made, err
	}
	source := f.source(of)
	for _, name := range slices.Sorted(maps.Keys(made.Inodes)) {
		used := filepath.Join(source, name)
		if err := os.MkdirAll(used, 0o755); err != nil {
			return made, unavailable(err)
		}
		now, err := inode(used)
		if err != nil {
			return made, unavailable(err)
		}
		if (now == made.Inodes[name]) == promote {
			continue
		}
		if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(made.Folder, name), unix.AT_FDCWD, used, unix.RENAME_EXCHANGE); err != nil {
			return made, springtide.Errorf(springtide.Failed, "the shared files %s of %s cannot be exchanged: %w", name, of.Environment, err).
				WithHint("is it the mount point of a disk of its own?")
		}
	}
	made.Promoted = promote
	return made, unavailable(errors.Join(durable.SyncFolder(source), durable.SyncFolder(made.Folder)))
}

// discard removes what was restored and, once it is promoted, what was in use before.
func (f *files) discard(of Subject, id string) error {
	return unavailable(os.RemoveAll(f.restoredAt(of, id)))
}

// RestoredFiles lists what is restored of an environment, the oldest backup first.
func (k *Keeper) RestoredFiles(id springtide.EnvironmentID) (all []RestoredFiles, err error) {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(k.files.restoredAt(of, ""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, unavailable(err)
	}
	for _, entry := range entries {
		if made, err := k.files.restored(of, entry.Name()); err == nil { // or it is being made
			all = append(all, made)
		}
	}
	return all, nil
}

// AcceptFiles has the next backup of an environment's shared files be made even if
// nothing is left in some folder of them.
func (k *Keeper) AcceptFiles(id springtide.EnvironmentID) error {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return err
	}
	return k.files.accept(of)
}

// CheckFiles reads the part that is due of all that is kept of an environment's
// shared files. Drills do it too.
func (k *Keeper) CheckFiles(ctx context.Context, id springtide.EnvironmentID) (Reading, error) {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return Reading{}, err
	}
	return k.files.check(ctx, of)
}

// checkID keeps what somebody says is a backup's ID from being a path.
func checkID(id string) error {
	if idTime(id).IsZero() || strings.ContainsAny(id, "/\\") {
		return springtide.Errorf(springtide.Invalid, "%q is not the ID of a backup", id)
	}
	return nil
}

// inode gives a folder's identity on its file system.
func inode(folder string) (uint64, error) {
	var stat unix.Stat_t
	err := unix.Lstat(folder, &stat)
	return stat.Ino, err
}

// inodes gives those of the folders in a folder. What begins with a dot is the
// platform's own.
func inodes(folder string) (map[string]uint64, error) {
	entries, err := os.ReadDir(folder)
	found := map[string]uint64{}
	for _, entry := range entries {
		if entry.IsDir() && !isOwn(entry.Name()) && err == nil {
			found[entry.Name()], err = inode(filepath.Join(folder, entry.Name()))
		}
	}
	return found, err
}

// isOwn reports whether a name beside the shared folders is the platform's.
func isOwn(name string) bool { return strings.HasPrefix(name, ".") }

// Difference says how one tree of files differs from another. Files are the same
// if they have the same size and were changed at the same time.
type Difference struct {
	Same    int64 `json:"same"`
	Changed int64 `json:"changed"`
	// Missing are in the restored tree and no more in use, New the other way.
	Missing int64 `json:"missing"`
	New     int64 `json:"new"`
	// Examples are some paths, each after "changed", "missing" or "new".
	Examples []string `json:"examples,omitempty"`
}

// add compares the two folders of one name: what is in use may be missing, and
// is never left by a link that the app has put into it.
func (d *Difference) add(ctx context.Context, current, restored, name string) error {
	now, err := openTree(filepath.Join(current, name))
	if err != nil {
		return err
	}
	defer now.close()
	then, err := openTree(filepath.Join(restored, name))
	if err != nil {
		return err
	}
	defer then.close()
	return d.compare(ctx, now, then, name, ".")
}

func (d *Difference) compare(ctx context.Context, current, restored fileTree, name, below string) error {
	now, then := current.read(below), restored.read(below)
	for (len(now) > 0 || len(then) > 0) && ctx.Err() == nil {
		switch {
		case len(then) == 0 || len(now) > 0 && now[0].Name() < then[0].Name():
			d.only(&d.New, "new", current, name, filepath.Join(below, now[0].Name()), now[0])
			now = now[1:]
		case len(now) == 0 || then[0].Name() < now[0].Name():
			d.only(&d.Missing, "missing", restored, name, filepath.Join(below, then[0].Name()), then[0])
			then = then[1:]
		default:
			path := filepath.Join(below, now[0].Name())
			switch a, b := now[0], then[0]; {
			case a.IsDir() && b.IsDir():
				if err := d.compare(ctx, current, restored, name, path); err != nil {
					return err
				}
			case a.Mode().Type() != b.Mode().Type() || a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime()):
				d.example(&d.Changed, "changed", filepath.Join(name, path))
			default:
				d.Same++
			}
			now, then = now[1:], then[1:]
		}
	}
	return ctx.Err()
}

// only counts what is in one of the trees alone.
func (d *Difference) only(count *int64, what string, in fileTree, name, path string, info fs.FileInfo) {
	if !info.IsDir() {
		d.example(count, what, filepath.Join(name, path))
		return
	}
	for _, info := range in.read(path) {
		d.only(count, what, in, name, filepath.Join(path, info.Name()), info)
	}
}

func (d *Difference) example(count *int64, what, path string) {
	const most = 10
	if *count++; *count <= most {
		d.Examples = append(d.Examples, what+" "+path)
	}
}

// fileTree is a folder that no name leads out of. nil: it is empty.
type fileTree struct{ *os.Root }

func openTree(folder string) (fileTree, error) {
	root, err := os.OpenRoot(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return fileTree{}, nil
	}
	return fileTree{root}, err
}

func (t fileTree) close() {
	if t.Root != nil {
		t.Close()
	}
}

// read lists a folder in order of the names; what goes away meanwhile is not there.
func (t fileTree) read(folder string) (infos []fs.FileInfo) {
	if t.Root == nil {
		return nil
	}
	entries, _ := fs.ReadDir(t.FS(), filepath.ToSlash(folder)) // sorted
	for _, entry := range entries {
		if info, err := t.Lstat(filepath.Join(folder, entry.Name())); err == nil {
			infos = append(infos, info)
		}
	}
	return infos
}
