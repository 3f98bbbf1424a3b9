package backup

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// Recovery is what the recovery key opens. Implemented by secret.Recovery.
type Recovery interface {
	// BackupKey opens all backups.
	BackupKey() *age.X25519Identity
	// Install puts the root key into an empty data folder; a Conflict: there is one.
	Install(folder string, file []byte) error
}

// PlatformRestore says what a platform is to be brought back from.
type PlatformRestore struct {
	// Target is where its backups are; URL and Access are what it was opened with.
	Target Target
	URL    string
	Access TargetOptions
	// Platform is its name on the target. Default: springtide
	Platform string
	// Unlock opens what the target has for the recovery key. A wrong key is Denied.
	Unlock func(file []byte) (Recovery, error)
	// Folder is the data folder: empty, missing, or that of a restore that did not
	// come to its end.
	Folder string
	// Services opens those of the restored folder, none of which runs, and lets go of
	// them when close is called. nil: services are not restored.
	Services func(ctx context.Context) (services Services, close func() error, err error)
	// Progress is told what is being done. nil: nobody is.
	Progress func(string)
	Logger   *slog.Logger
}

// Brought is one thing that a restore has brought back.
type Brought struct {
	Subject Subject   `json:"subject"`
	Backup  string    `json:"backup"`
	Taken   time.Time `json:"taken"`
	// Problem says why it could not be brought back; empty: it was.
	Problem string `json:"problem,omitempty"`
}

// restoringFile is in a data folder that is not whole yet: nothing may be started
// on it.
const restoringFile = "restoring.json"

// restoring is that file.
type restoring struct {
	// Backup is that of the platform's state.
	Backup string `json:"backup"`
	// State says that it is there, Brought what is there besides.
	State   bool      `json:"state"`
	Brought []Brought `json:"brought,omitempty"`
}

// Restoring reports whether a data folder is one that a restore has not finished.
func Restoring(folder string) bool {
	_, err := os.Lstat(filepath.Join(folder, restoringFile))
	return err == nil
}

// RestorePlatform brings a whole platform back onto an empty data folder, from
// nothing but the target and the recovery key:
//
//  1. recovery.json is fetched, and opened with the recovery key
//  2. the newest backup of the state is chosen, and written down: restoring.json
//  3. the root key is installed; files, databases and artifacts are fetched
//  4. each service is filled from its newest backup and all changes since, started
//     where nobody reaches it, read whole, and stopped
//  5. the shared files of each environment are restored from their newest backup
//  6. restoring.json is removed: the platform can be started
//
// Killed at any point it goes on where it was when it is called again; what was
// half done is done anew. A service or files that cannot be brought back do not
// keep the others away: what has a Problem is tried again by the next call.
func RestorePlatform(ctx context.Context, restore PlatformRestore) ([]Brought, error) {
	restore.Platform = cmp.Or(restore.Platform, "springtide")
	restore.Logger = cmp.Or(restore.Logger, slog.New(slog.DiscardHandler))
	if restore.Progress == nil {
		restore.Progress = func(string) {}
	}
	r := &platformRestore{PlatformRestore: restore}
	if err := r.open(ctx); err != nil {
		return nil, err
	}
	if !r.done.State {
		if err := r.bringState(ctx); err != nil {
			return nil, err
		}
	}
	err := r.bringRest(ctx)
	if err != nil {
		return r.done.Brought, err
	}
	if err := os.RemoveAll(filepath.Join(r.Folder, "scratch")); err != nil {
		return r.done.Brought, unavailable(err)
	}
	syncTree(r.Folder)
	return r.done.Brought, unavailable(cmp.Or(os.Remove(r.file()), durable.SyncFolder(r.Folder)))
}

type platformRestore struct {
	PlatformRestore
	keeper   *Keeper
	recovery Recovery
	sealed   []byte // recovery.json
	done     restoring
}

func (r *platformRestore) file() string { return filepath.Join(r.Folder, restoringFile) }

func (r *platformRestore) keep() error {
	data, err := json.Marshal(r.done)
	if err != nil {
		return err
	}
	return unavailable(durable.WriteFile(r.file(), data, 0o600))
}

// open looks at the folder, opens the target, and chooses the backup.
func (r *platformRestore) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.Folder, 0o711); err != nil {
		return unavailable(err)
	}
	data, err := os.ReadFile(r.file())
	if err == nil {
		err = json.Unmarshal(data, &r.done)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = checkEmpty(r.Folder)
	}
	if err != nil {
		return err
	}
	r.sealed, err = readObject(ctx, r.Target, path.Join(r.Platform, recoveryName))
	if springtide.KindOf(err) == springtide.NotFound {
		return springtide.Errorf(springtide.NotFound, "there is no platform called %s on the backup target", r.Platform).WithHint("is it the right target?")
	}
	if err != nil {
		return err
	}
	if r.recovery, err = r.Unlock(r.sealed); err != nil {
		return err
	}
	r.keeper = New(Options{
		Target: r.Target, Platform: r.Platform, Identities: []age.Identity{r.recovery.BackupKey()}, Recipients: []age.Recipient{r.recovery.BackupKey().Recipient()},
		Files:  &FilesOptions{URL: r.URL, Access: r.Access, Source: filepath.Join(r.Folder, "files"), Folder: filepath.Join(r.Folder, "scratch", "restic")},
		Logger: r.Logger,
	})
	if r.done.Backup != "" {
		return nil
	}
	newest, err := r.keeper.newest(ctx, PlatformState())
	if err != nil {
		return err
	}
	r.done.Backup = newest.ID
	return r.keep()
}

// checkEmpty is a Conflict if there is anything in the folder.
func checkEmpty(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) == 0 {
		return unavailable(err)
	}
	return springtide.Errorf(springtide.Conflict, "%s is not empty: it has %s, …", folder, entries[0].Name()).
		WithHint("restore into an empty folder; nothing is ever written over")
}

// bringState fetches the platform's own state.
func (r *platformRestore) bringState(ctx context.Context) error {
	m, err := r.keeper.vault.manifest(ctx, PlatformState(), r.done.Backup)
	if err != nil {
		return err
	}
	var size int64
	for _, entry := range m.Objects {
		size += entry.Plain
	}
	if err := fits(r.Folder, size); err != nil {
		return err
	}
	if err := r.recovery.Install(r.Folder, r.sealed); err != nil && springtide.KindOf(err) != springtide.Conflict {
		return err
	}
	for _, entry := range m.Objects {
		r.Progress(fmt.Sprintf("%s, %d KiB", path.Base(entry.Name), entry.Plain>>10))
		if err := r.bringObject(ctx, entry); err != nil {
			return err
		}
	}
	syncTree(r.Folder)
	r.done.State = true
	return r.keep()
}

// bringObject fetches one object of the state to where it belongs.
func (r *platformRestore) bringObject(ctx context.Context, entry Entry) error {
	name := path.Base(entry.Name)
	blob := strings.HasPrefix(entry.Name, r.keeper.blobs())
	to := filepath.Join(r.Folder, name)
	if blob {
		to = filepath.Join(r.Folder, filepath.FromSlash(blobFolder), name)
		if sum, err := hashOf(to, entry.Plain); err == nil && hex.EncodeToString(sum[:]) == name {
			return nil // an earlier attempt has it
		}
	}
	from, err := r.keeper.vault.open(ctx, entry)
	if err != nil {
		return err
	}
	defer from.Close()
	if name == filesObject && !blob {
		return cmp.Or(unpackState(r.Folder, from), drained(from))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return unavailable(err)
	}
	mode := fs.FileMode(0o600)
	if blob {
		mode = 0o644
	}
	hash := sha256.New()
	part := filepath.Join(filepath.Dir(to), ".part-"+name)
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return unavailable(err)
	}
	_, err = io.Copy(io.MultiWriter(file, hash), from)
	if err = cmp.Or(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if blob && hex.EncodeToString(hash.Sum(nil)) != name {
		return springtide.Errorf(springtide.Failed, "blob %s of an artifact has another content", name)
	}
	return unavailable(os.Rename(part, to))
}

// drained reads to the end, which tells whether all of it was right.
func drained(from io.Reader) error {
	_, err := io.Copy(io.Discard, from)
	return err
}

// unpackState makes the files of a tar archive, over what an earlier attempt made.
func unpackState(folder string, from io.Reader) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return unavailable(err)
	}
	defer root.Close()
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = unpackOne(root, header, archive)
		}
		if err != nil {
			return err
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, from io.Reader) error {
	name, mode := header.Name, header.FileInfo().Mode().Perm()
	if header.Typeflag == tar.TypeDir {
		if err := root.MkdirAll(name, 0o700); err != nil {
			return err
		}
	} else {
		file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, from)
		if err = cmp.Or(err, file.Close()); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 {
		if err := root.Lchown(name, header.Uid, header.Gid); err != nil {
			return err
		}
	}
	return root.Chmod(name, mode)
}

// bringRest brings back services and shared files, each from its newest backup.
func (r *platformRestore) bringRest(ctx context.Context) error {
	subjects, err := r.keeper.Subjects(ctx)
	if err != nil {
		return err
	}
	if r.Services != nil {
		services, closeServices, err := r.Services(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = closeServices() }() // nothing was started by it
		r.keeper.options.Services = services
	}
	r.done.Brought = slices.DeleteFunc(r.done.Brought, func(b Brought) bool { return b.Problem != "" })
	var problems []error
	for _, of := range subjects {
		if of == PlatformState() || slices.ContainsFunc(r.done.Brought, func(b Brought) bool { return b.Subject == of }) {
			continue
		}
		r.Progress("restoring " + of.String())
		brought, err := r.bringSubject(ctx, of)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			brought.Problem = err.Error()
			problems = append(problems, fmt.Errorf("%s: %w", of, err))
		}
		r.done.Brought = append(r.done.Brought, brought)
		if err := r.keep(); err != nil {
			return err
		}
	}
	return errors.Join(problems...)
}

func (r *platformRestore) bringSubject(ctx context.Context, of Subject) (Brought, error) {
	m, err := r.keeper.newest(ctx, of)
	brought := Brought{Subject: of, Backup: m.ID, Taken: m.Begun}
	switch {
	case err != nil:
		return brought, err
	case m.Kind == KindFiles:
		return brought, r.keeper.files.bring(ctx, m, r.keeper.files.source(of), nil, func(p springtide.Progress) { r.Progress(p.Message) })
	case m.Kind == KindWhole && r.Services != nil:
		return brought, r.bringService(ctx, m)
	}
	return brought, springtide.Errorf(springtide.Unavailable, "services are not restored here")
}

// bringService fills a service's server, and has it do its changes again.
func (r *platformRestore) bringService(ctx context.Context, m Manifest) error {
	server, driver, backuper, err := r.keeper.backuper(m.Subject)
	if springtide.KindOf(err) == springtide.NotFound {
		r.Progress(m.String() + " is left on the target: the platform had no such service any more")
		return nil
	}
	if err != nil {
		return err
	}
	if server.Version != m.Version {
		return springtide.Errorf(springtide.Conflict, "the service is of version %s, and its newest backup of %s", server.Version, m.Version)
	}
	server.Role, server.Standby, server.Spec.Synchronous = service.RolePrimary, false, false
	if server.Address, err = scratchAddress(ctx, loopback()); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(server.Folder), 0o711); err != nil {
		return unavailable(err)
	}
	if err := server.MakeFolders(); err != nil {
		return unavailable(err)
	}
	if err := r.keeper.fill(ctx, m, server, backuper, time.Time{}); err != nil {
		return err
	}
	running, stop, err := startScratch(ctx, server, driver.Process(server))
	if err != nil {
		return err
	}
	defer stop()
	if err := waitReady(running, server, driver); err != nil {
		return err
	}
	_, err = r.keeper.lookAt(running, m, server, driver, backuper)
	return err
}
