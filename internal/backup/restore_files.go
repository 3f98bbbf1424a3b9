package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// RestoredFiles are shared files as a backup had them, in a folder beside those
// in use:
//
//	restoring ──▶ restored ⇄ promoted
//
// Promoting exchanges the two folders in one step, and so does going back.
type RestoredFiles struct {
	Environment springtide.EnvironmentID `json:"environment"`
	// Backup is the ID of the backup, Taken when it was begun.
	Backup string    `json:"backup"`
	Taken  time.Time `json:"taken"`
	// Folder holds what was restored or, when that is promoted, what was in use before.
	Folder   string    `json:"folder"`
	Promoted bool      `json:"promoted"`
	Restored time.Time `json:"restored"`
	// Inode is that of the restored folder, wherever it is now.
	Inode uint64 `json:"inode"`
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
	if made.Inode, err = inode(tree); err != nil {
		return made, unavailable(err)
	}
	if made.Difference, err = compareFolders(ctx, f.source(of), tree); err != nil {
		return made, unavailable(err)
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
	current, err := inode(f.source(of))
	made.Promoted = err == nil && current == made.Inode
	return made, nil
}

// exchange has the restored files and those in use change places. Instances that
// run go on with those they have: they are to be restarted. It may be called again.
func (f *files) exchange(of Subject, id string, promote bool) (RestoredFiles, error) {
	made, err := f.restored(of, id)
	if err != nil || made.Promoted == promote {
		return made, err
	}
	source := f.source(of)
	if err := os.MkdirAll(source, 0o755); err != nil {
		return made, unavailable(err)
	}
	if err := copyOwner(source, made.Folder); err != nil {
		return made, unavailable(err)
	}
	if err := unix.Renameat2(unix.AT_FDCWD, made.Folder, unix.AT_FDCWD, source, unix.RENAME_EXCHANGE); err != nil {
		return made, springtide.Errorf(springtide.Failed, "the shared files of %s cannot be exchanged: %w", of.Environment, err).
			WithHint("is one of their folders the mount point of a disk of its own?")
	}
	made.Promoted = promote
	return made, unavailable(errors.Join(durable.SyncFolder(filepath.Dir(source)), durable.SyncFolder(filepath.Dir(made.Folder))))
}

// copyOwner gives a folder the mode and the owner of another: a snapshot holds
// what is in a folder, not the folder.
func copyOwner(from, to string) error {
	var stat unix.Stat_t
	if err := unix.Stat(from, &stat); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Lchown(to, int(stat.Uid), int(stat.Gid)); err != nil {
			return err
		}
	}
	return os.Chmod(to, fs.FileMode(stat.Mode&0o777))
}

// discard removes what was restored and, once it is promoted, what was in use before.
func (f *files) discard(of Subject, id string) error {
	return unavailable(os.RemoveAll(f.restoredAt(of, id)))
}

// inode gives a folder's identity on its file system.
func inode(folder string) (uint64, error) {
	var stat unix.Stat_t
	err := unix.Stat(folder, &stat)
	return stat.Ino, err
}

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

// compareFolders says how what is in use differs from what was restored.
func compareFolders(ctx context.Context, current, restored string) (d Difference, err error) {
	err = d.compare(ctx, current, restored, "")
	return d, err
}

func (d *Difference) compare(ctx context.Context, current, restored, below string) error {
	now, err := readFolder(filepath.Join(current, below))
	if err != nil {
		return err
	}
	then, err := readFolder(filepath.Join(restored, below))
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	for len(now) > 0 || len(then) > 0 {
		switch {
		case len(then) == 0 || len(now) > 0 && now[0].Name() < then[0].Name():
			err = d.only(ctx, &d.New, "new", current, filepath.Join(below, now[0].Name()), now[0])
			now = now[1:]
		case len(now) == 0 || then[0].Name() < now[0].Name():
			err = d.only(ctx, &d.Missing, "missing", restored, filepath.Join(below, then[0].Name()), then[0])
			then = then[1:]
		default:
			path := filepath.Join(below, now[0].Name())
			switch a, b := now[0], then[0]; {
			case a.IsDir() && b.IsDir():
				err = d.compare(ctx, current, restored, path)
			case a.Mode().Type() != b.Mode().Type() || !a.IsDir() && (a.Size() != b.Size() || !a.ModTime().Equal(b.ModTime())):
				d.example(&d.Changed, "changed", path)
			default:
				d.Same++
			}
			now, then = now[1:], then[1:]
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// only counts what is in one of the trees alone.
func (d *Difference) only(ctx context.Context, count *int64, what, root, path string, info fs.FileInfo) error {
	if !info.IsDir() {
		d.example(count, what, path)
		return nil
	}
	inside, err := readFolder(filepath.Join(root, path))
	for _, info := range inside {
		if err == nil {
			err = d.only(ctx, count, what, root, filepath.Join(path, info.Name()), info)
		}
	}
	return errors.Join(err, ctx.Err())
}

func (d *Difference) example(count *int64, what, path string) {
	const most = 20
	*count++
	if len(d.Examples) < most && *count <= most/2 {
		d.Examples = append(d.Examples, what+" "+path)
	}
}

// readFolder reads a folder that may be missing, in order of the names.
func readFolder(folder string) ([]fs.FileInfo, error) {
	entries, err := os.ReadDir(folder) // sorted
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	infos := make([]fs.FileInfo, 0, len(entries))
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil { // or it was removed meanwhile
			infos = append(infos, info)
		}
	}
	return infos, nil
}
