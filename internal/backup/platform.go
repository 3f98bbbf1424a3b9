package backup

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// PlatformOptions are what is needed to keep the platform's own state safe.
type PlatformOptions struct {
	// Folder is the data folder.
	Folder string
	// Databases copy the databases in it, by the names of their files.
	Databases map[string]func(ctx context.Context, to string) error
	// Open opens a restored copy of a database, and says what is wrong with it. nil:
	// nobody is asked.
	Open func(ctx context.Context, file string) error
	// Recovery gives the file that the recovery key opens.
	Recovery func() ([]byte, error)
	// Every is how often a backup is made. Default: an hour
	Every time.Duration
	// Keep is how long one is kept, counted from the newest. Default: 30 days
	Keep time.Duration
}

// PlatformState is the subject of the platform's own backups:
//
//	PLATFORM/_/_/state/manifests/ID         says of what each consists
//	PLATFORM/_/_/state/objects/ID/NAME      its databases, and its files as a tar archive
//	PLATFORM/_/_/state/blobs/DIGEST         of artifacts; all backups share them
//	PLATFORM/recovery.json                  holds the key of all this, for the recovery key
//
// Services and shared files are not in it: they have backups of their own.
func PlatformState() Subject { return Subject{Of: "state"} }

const (
	recoveryName = "recovery.json"
	filesObject  = "files"
	// blobFolder is where artifacts have their blobs, in the data folder.
	blobFolder = "artifacts/blobs/sha256"
)

// BackupPlatform keeps the platform's state safe as it is now.
func (k *Keeper) BackupPlatform(ctx context.Context) (Manifest, error) {
	began := time.Now()
	m := Manifest{ID: newID(began), Subject: PlatformState(), Kind: KindPlatform, Begun: began.UTC()}
	options := k.options.State
	if options == nil {
		return m, springtide.Errorf(springtide.Unavailable, "the platform's state is not kept safe here")
	}
	if err := k.putRecovery(ctx); err != nil {
		return m, err
	}
	earlier, _, err := k.vault.manifests(ctx, m.Subject)
	if err != nil {
		return m, err
	}
	// The databases come first: what they speak of is there when it is copied.
	for _, name := range slices.Sorted(maps.Keys(options.Databases)) {
		if err := k.putDatabase(ctx, &m, name); err != nil {
			return m, err
		}
	}
	entry, err := k.vault.put(ctx, k.vault.objectName(m.Subject, m.ID, filesObject), func(to io.Writer) error { return packState(ctx, options.Folder, to) })
	if err != nil {
		return m, err
	}
	m.Objects = append(m.Objects, entry)
	if err := k.putBlobs(ctx, &m, earlier); err != nil {
		return m, err
	}
	m.Finished = time.Now().UTC()
	if err := k.vault.record(ctx, m); err != nil {
		return m, err
	}
	k.made(m)
	return m, k.retainPlatform(ctx)
}

// putRecovery has the target have what the recovery key opens.
func (k *Keeper) putRecovery(ctx context.Context) error {
	file, err := k.options.State.Recovery()
	if err != nil {
		return err
	}
	name := path.Join(k.vault.platform, recoveryName)
	there, err := readObject(ctx, k.options.Target, name)
	if springtide.KindOf(err) != springtide.NotFound && err != nil {
		return err
	}
	if bytes.Equal(there, file) {
		return nil
	}
	return k.options.Target.Put(ctx, name, bytes.NewReader(file))
}

// readObject reads what is small, and not sealed by a vault.
func readObject(ctx context.Context, target Target, name string) ([]byte, error) {
	from, err := target.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	return io.ReadAll(io.LimitReader(stopped{ctx, from}, manifestLimit))
}

// putDatabase puts a copy of a database, which is beside it for a while.
func (k *Keeper) putDatabase(ctx context.Context, m *Manifest, name string) error {
	if err := os.MkdirAll(k.options.Scratch, 0o711); err != nil {
		return unavailable(err)
	}
	if info, err := os.Stat(filepath.Join(k.options.State.Folder, name)); err == nil {
		if err := fits(k.options.Scratch, info.Size()); err != nil {
			return err
		}
	}
	scratch := filepath.Join(k.options.Scratch, "copy-"+name)
	defer os.Remove(scratch)
	if err := k.options.State.Databases[name](ctx, scratch); err != nil {
		return err
	}
	entry, err := k.vault.put(ctx, k.vault.objectName(m.Subject, m.ID, name), func(to io.Writer) error { return copyFile(to, scratch) })
	m.Objects = append(m.Objects, entry)
	return err
}

func copyFile(to io.Writer, name string) error {
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

// putBlobs puts the blobs that no earlier backup has: they never change.
func (k *Keeper) putBlobs(ctx context.Context, m *Manifest, earlier []Manifest) error {
	known := map[string]Entry{}
	for _, m := range earlier {
		for _, entry := range m.Objects {
			known[entry.Name] = entry
		}
	}
	there, err := k.options.Target.List(ctx, k.blobs())
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, object := range there {
		sizes[object.Name] = object.Size
	}
	entries, err := os.ReadDir(filepath.Join(k.options.State.Folder, blobFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unavailable(err)
	}
	for _, blob := range entries {
		if isOwn(blob.Name()) || !blob.Type().IsRegular() {
			continue
		}
		entry, has := known[k.blobs()+blob.Name()]
		if size, is := sizes[entry.Name]; !has || !is || size != entry.Size {
			entry, err = k.vault.put(ctx, k.blobs()+blob.Name(), func(to io.Writer) error {
				return copyFile(to, filepath.Join(k.options.State.Folder, blobFolder, blob.Name()))
			})
			if errors.Is(err, fs.ErrNotExist) {
				continue // its release has been forgotten meanwhile
			}
			if err != nil {
				return err
			}
		}
		m.Objects = append(m.Objects, entry)
	}
	return nil
}

func (k *Keeper) blobs() string { return path.Join(k.vault.folder(PlatformState()), "blobs") + "/" }

// retainPlatform removes old backups, and blobs that none needs any more.
func (k *Keeper) retainPlatform(ctx context.Context) error {
	of := PlatformState()
	all, ids, err := k.vault.manifests(ctx, of)
	if err != nil {
		return err
	}
	old := outdated(all, cmp.Or(k.options.State.Keep, 30*24*time.Hour), time.Now())
	for _, m := range old {
		if err := k.vault.forget(ctx, m); err != nil {
			return err
		}
	}
	if err := k.vault.sweepLeft(ctx, of, ids, time.Now().Add(-leftAlone)); err != nil || len(ids) > len(all) {
		return err // what one needs that cannot be read, nobody knows
	}
	needed := map[string]bool{}
	for _, m := range all {
		if !slices.ContainsFunc(old, func(o Manifest) bool { return o.ID == m.ID }) {
			for _, entry := range m.Objects {
				needed[entry.Name] = true
			}
		}
	}
	there, err := k.options.Target.List(ctx, k.blobs())
	for _, object := range there {
		if !needed[object.Name] && err == nil {
			err = k.options.Target.Delete(ctx, object.Name)
		}
	}
	return err
}

// againAfter is how soon a backup of the platform that failed is tried again.
const againAfter = 5 * time.Minute

// keepPlatform makes a backup of the platform when one is due, and tries the
// newest one out once a day; it says if it could not.
func (k *Keeper) keepPlatform(ctx context.Context) {
	if k.options.State == nil {
		return
	}
	of := PlatformState()
	err := k.look(ctx, of)
	due := false
	k.note(of, func(s *Standing) {
		if due = time.Since(cmp.Or(s.asked, s.Last)) >= cmp.Or(k.options.State.Every, time.Hour); due {
			s.asked = time.Now()
		}
	})
	if !due {
		return
	}
	if err == nil {
		_, err = k.BackupPlatform(ctx)
	}
	if err != nil && ctx.Err() == nil {
		if springtide.KindOf(err) == springtide.NotFound {
			return // there is no recovery key yet: nothing could open it
		}
		k.note(of, func(s *Standing) { s.asked = time.Now().Add(againAfter - cmp.Or(k.options.State.Every, time.Hour)) })
		k.happened(of, "backup.failed", fmt.Sprintf("the platform's own state could not be kept safe: %v", err), nil)
		return
	}
	if proof, err := k.Proof(of); err == nil && time.Since(proof.Tried) < 24*time.Hour {
		return
	}
	if _, err := k.drill(ctx, springtide.Run{}, of); err != nil && ctx.Err() == nil {
		k.happened(of, "drill.failed", fmt.Sprintf("the drill of the platform's own state failed: %v", err), nil)
	}
}

// blobDays is in how many days the drills have fetched all blobs of artifacts.
const blobDays = 7

// drillPlatform fetches the state to where nobody uses it, and of the artifacts'
// blobs those of today.
func (k *Keeper) drillPlatform(ctx context.Context, m Manifest, scratch string) (proved, error) {
	entries := slices.DeleteFunc(slices.Clone(m.Objects), func(entry Entry) bool {
		return strings.HasPrefix(entry.Name, k.blobs()) && crc32.ChecksumIEEE([]byte(entry.Name))%blobDays != uint32(time.Now().YearDay()%blobDays)
	})
	var size int64
	for _, entry := range entries {
		size += entry.Plain
	}
	if err := fits(scratch, size); err != nil {
		return proved{}, err
	}
	r := &platformRestore{PlatformRestore: PlatformRestore{Folder: scratch}, keeper: k}
	for _, entry := range entries {
		if err := r.bringObject(ctx, entry); err != nil {
			return proved{}, err
		}
	}
	for name := range k.options.State.Databases {
		if k.options.State.Open == nil {
			break
		}
		if err := k.options.State.Open(ctx, filepath.Join(scratch, name)); err != nil {
			return proved{}, springtide.Errorf(springtide.Failed, "%s of backup %s cannot be opened: %w", name, m.ID, err)
		}
	}
	return proved{checked: fmt.Sprintf("%d of %d objects fetched, %d databases opened", len(entries), len(m.Objects), len(k.options.State.Databases))}, nil
}

// belongs says whether what is at a path below the data folder is part of the
// platform's state or, if it is a folder, has such.
func belongs(below string, folder bool) bool {
	parts := strings.Split(filepath.ToSlash(below), "/")
	last := parts[len(parts)-1]
	switch parts[0] {
	// What runs, what was said, what can be made again, what has backups of its own,
	// and what the recovery key opens.
	case "run", "instances", "tasks", "logs", "output", "shells", "roots", "builds", "cache", "bin", "uploads", "backups", "scratch", "root-key", recoveryName, restoringFile:
		return false
	case "artifacts":
		return len(parts) == 1 || len(parts) == 2 && !folder && !isOwn(last)
	case "backup":
		return len(parts) == 1 || parts[1] != "scratch" && last != "cache"
	case "services": // the records, not the servers' folders: APP/ENVIRONMENT/NAME/FILE
		return len(parts) <= 4 || len(parts) == 5 && !folder
	case "files": // what is beside the folders: APP/ENVIRONMENT/.NAME/settings.json
		return len(parts) <= 3 || len(parts) == 4 && isOwn(last) || len(parts) == 5 && last == "settings.json"
	}
	if folder {
		return last != "cache"
	}
	for _, end := range []string{".db", ".db-wal", ".db-shm", ".log", ".lock"} {
		if strings.HasSuffix(last, end) {
			return false
		}
	}
	return !isOwn(last) // a file that is being written
}

// packState writes the platform's files as a tar archive.
func packState(ctx context.Context, folder string, to io.Writer) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return unavailable(err)
	}
	defer root.Close()
	archive := tar.NewWriter(to)
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) || name == ".":
			return nil
		case err != nil || ctx.Err() != nil:
			return cmp.Or(ctx.Err(), err)
		case !belongs(name, entry.IsDir()) && entry.IsDir():
			return fs.SkipDir
		case !belongs(name, entry.IsDir()) || !entry.IsDir() && !entry.Type().IsRegular():
			return nil
		}
		if err := packOne(archive, root, name); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil // it has gone meanwhile
	})
	return cmp.Or(err, archive.Close())
}

// packOne writes one file or folder. Files of state are replaced, never changed:
// what was opened is whole.
func packOne(archive *tar.Writer, root *os.Root, name string) error {
	file, err := root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name, header.Format = name, tar.FormatPAX
	if err := archive.WriteHeader(header); err != nil || info.IsDir() {
		return err
	}
	_, err = io.CopyN(archive, file, info.Size())
	return err
}
