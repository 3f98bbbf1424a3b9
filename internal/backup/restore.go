package backup

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
	"github.com/springtide/springtide/internal/service"
)

// finishedWithin is how long after a moment the segment with its changes is
// finished at the latest: drivers finish one each minute.
const finishedWithin = time.Hour

// RestoreRequest says what is to be brought back.
type RestoreRequest struct {
	From springtide.ServiceID
	// Backup is the ID of one. Empty: the newest that was finished before To.
	Backup string
	// To is the moment to go back to, by the clock of the server's machine. Zero: of
	// a Backup that is named the moment at which it was made, else the newest.
	To time.Time
	// As is what the new service is called. Default: the name and the moment
	As springtide.ServiceName
}

// Restored tells what was brought back.
type Restored struct {
	Service springtide.ServiceID `json:"service"`
	Backup  string               `json:"backup"`
	// To is the moment that was asked for; zero: all there was.
	To   time.Time     `json:"to,omitzero"`
	Took time.Duration `json:"took"`
	// Verification is what a look at all of it has shown.
	Verification service.Verification `json:"verification"`
	// Differences are the tables that have another number of rows now.
	Differences []RowDifference `json:"differences,omitempty"`
}

// RowDifference is a table that is not the same before and after.
type RowDifference struct {
	Table string `json:"table"`
	// Rows; -1: there is no such table.
	Now      int64 `json:"now"`
	Restored int64 `json:"restored"`
}

// Maker makes a service in another way than from nothing. Implemented by
// service.Manager.
type Maker interface {
	// Make makes a service beside the others, with an address and logins of its own:
	// fill makes the data of its server. It gives back the server when that is
	// ready; what is not filled is removed. Where one of the name exists the error
	// is of kind Conflict.
	Make(ctx context.Context, id springtide.ServiceID, spec springtide.Service, version string,
		fill func(context.Context, service.Server) error) (service.Server, error)
}

// Restore makes a new service, beside that which is there, as another was at a
// time. Nothing is written over. Killed half-way, it can be asked for again.
func (k *Keeper) Restore(ctx context.Context, request RestoreRequest) (Restored, error) {
	began, of := time.Now(), SubjectOf(request.From)
	m, to, err := k.choose(ctx, of, request)
	if err != nil {
		return Restored{}, err
	}
	made := request.From
	made.Name = cmp.Or(request.As, springtide.ServiceName(fmt.Sprintf("%s-%s", request.From.Name, cmp.Or(to, m.Begun).UTC().Format("20060102-150405"))))
	restored := Restored{Service: made, Backup: m.ID, To: to}
	driver, backuper, err := k.driverOf(m)
	if err != nil {
		return restored, err
	}
	spec := *m.Service
	spec.Replica, spec.Synchronous, spec.External = false, false, ""
	server, err := k.options.Maker.Make(ctx, made, spec, m.Version, func(ctx context.Context, server service.Server) error {
		return k.fill(ctx, m, server, backuper, to)
	})
	if err != nil {
		return restored, fmt.Errorf("restore %s: %w", of, err)
	}
	if err := os.RemoveAll(filepath.Join(server.Folder, changesFolder)); err != nil {
		return restored, err
	}
	if restored.Verification, err = backuper.Verify(ctx, server); err != nil {
		return restored, err
	}
	restored.Took = time.Since(began)
	restored.Differences = k.compare(ctx, request.From, driver, restored.Verification.Rows, m.Rows)
	k.happened(of, "restore.made", fmt.Sprintf("%s is %s as it was at %s", made, of, cmp.Or(to, m.Begun).UTC().Format(time.RFC3339)),
		map[string]string{"service": string(made.Name), "id": m.ID})
	return restored, nil
}

// changesFolder is where a restored server finds changes, in its own folder.
const changesFolder = "changes"

// driverOf gives the driver for what was backed up.
func (k *Keeper) driverOf(m Manifest) (service.Driver, service.Backuper, error) {
	if m.Service == nil {
		return nil, nil, springtide.Errorf(springtide.Failed, "backup %s of %s does not say what service it is of", m.ID, m.Subject)
	}
	driver := k.options.Drivers[m.Service.Kind]
	backuper, can := driver.(service.Backuper)
	if !can {
		return nil, nil, springtide.Errorf(springtide.Invalid, "a service of kind %s cannot be restored here", m.Service.Kind)
	}
	return driver, backuper, nil
}

// choose finds the backup to begin with, and the moment to go on to.
func (k *Keeper) choose(ctx context.Context, of Subject, request RestoreRequest) (Manifest, time.Time, error) {
	all, err := k.List(ctx, of)
	if err != nil {
		return Manifest{}, time.Time{}, err
	}
	m, err := chosen(all, of, request, time.Now())
	if err != nil {
		return m, time.Time{}, err
	}
	// Of what came after the newest change there is nothing to wait for.
	standing := k.note(of, func(*Standing) {})
	if standing.lineage == m.Lineage && request.To.After(standing.Restorable) && !standing.Restorable.IsZero() {
		request.To = time.Time{}
	}
	return m, request.To, nil
}

// chosen finds the backup that a request means.
func chosen(all []Manifest, of Subject, request RestoreRequest, now time.Time) (Manifest, error) {
	wholes := slices.DeleteFunc(slices.Clone(all), func(m Manifest) bool { return m.Kind != KindWhole })
	if len(wholes) == 0 {
		return Manifest{}, springtide.Errorf(springtide.NotFound, "there is no backup of %s", of)
	}
	if request.To.After(now) {
		return Manifest{}, springtide.Errorf(springtide.Invalid, "%s is in the future: here it is %s", request.To.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	for _, m := range slices.Backward(wholes) {
		switch {
		case request.Backup != "" && m.ID != request.Backup:
		case request.To.IsZero():
			return m, nil
		case m.Finished.After(request.To) && request.Backup == "":
		case m.Finished.After(request.To):
			return m, springtide.Errorf(springtide.Invalid, "backup %s was finished at %s: what was before cannot be made from it", m.ID, m.Finished.Format(time.RFC3339))
		case m.Lineage == "":
			return m, springtide.Errorf(springtide.Invalid, "%s cannot go back to any moment: no changes are kept of it, only backups", of).
				WithHint("name one of its backups; write pitr: true in the manifest for what comes")
		default:
			return m, nil
		}
	}
	if request.Backup != "" {
		return Manifest{}, springtide.Errorf(springtide.NotFound, "there is no backup %s of %s", request.Backup, of)
	}
	return Manifest{}, springtide.Errorf(springtide.NotFound, "no backup of %s is that old: the first was finished at %s", of, wholes[0].Finished.Format(time.RFC3339))
}

// fill makes a stopped server's data from a backup and the changes since. It
// begins anew whatever is there.
func (k *Keeper) fill(ctx context.Context, m Manifest, server service.Server, backuper service.Backuper, to time.Time) error {
	changes := map[string]segment{}
	if m.Lineage != "" {
		needed, err := k.needed(ctx, m, to)
		if err != nil {
			return err
		}
		if err := k.fetchChanges(ctx, needed, server); err != nil {
			return err
		}
		for _, s := range needed {
			changes[s.name] = s
		}
	}
	from, err := k.vault.open(ctx, m.Objects[0])
	if err != nil {
		return err
	}
	defer from.Close()
	err = backuper.Restore(ctx, server, from, service.RestoreTo{Time: to, Changes: func(ctx context.Context, name string, out io.Writer) error {
		s, known := changes[name]
		if !known {
			return springtide.Errorf(springtide.NotFound, "%s has no change %s", m.Subject, name)
		}
		return k.vault.copyOut(ctx, s.object, out)
	}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from) // the end tells whether all of it was right
	return err
}

// needed lists the segments that take a backup to a moment. All of them must be
// there: their numbers have no gap.
func (k *Keeper) needed(ctx context.Context, m Manifest, to time.Time) ([]segment, error) {
	all, err := k.vault.segments(ctx, m.Subject, m.Lineage)
	if err != nil {
		return nil, err
	}
	last, err := k.lastNeeded(ctx, m, to)
	if err != nil {
		return nil, err
	}
	var needed []segment
	next := m.After + 1
	for _, s := range all {
		if s.number <= m.After || last > 0 && s.number > last {
			continue
		}
		if s.number > next {
			return nil, springtide.Errorf(springtide.Failed, "the backup target has lost change %d of %s", next, m.Subject).
				WithHint("go back to a moment before it, or to a later backup")
		}
		next = s.number + 1
		needed = append(needed, s)
	}
	return needed, nil
}

// lastNeeded is the number of the last segment that may hold changes from before
// the moment; 0: all may. What was finished when a later backup was begun has
// numbers up to that one's.
func (k *Keeper) lastNeeded(ctx context.Context, m Manifest, to time.Time) (int64, error) {
	if to.IsZero() {
		return 0, nil
	}
	all, err := k.List(ctx, m.Subject)
	if err != nil {
		return 0, err
	}
	for _, later := range all {
		if later.Kind == KindWhole && later.Lineage == m.Lineage && later.Begun.After(to.Add(finishedWithin)) {
			return later.After, nil
		}
	}
	return 0, nil
}

// fetchChanges puts segments where the server finds them.
func (k *Keeper) fetchChanges(ctx context.Context, needed []segment, server service.Server) error {
	folder := filepath.Join(server.Folder, changesFolder)
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	for _, s := range needed {
		file, err := os.OpenFile(filepath.Join(folder, s.name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		err = k.vault.copyOut(ctx, s.object, file)
		if err == nil {
			err = file.Sync()
		}
		if err := cmp.Or(err, file.Close(), give(file.Name(), server.User)); err != nil {
			return err
		}
	}
	return cmp.Or(give(folder, server.User), durable.SyncFolder(folder))
}

// give makes a file the user's.
func give(path string, user service.User) error {
	if user == (service.User{}) {
		return nil
	}
	return os.Chown(path, user.UID, user.GID)
}

// copyOut writes what is in an object that no manifest knows.
func (v *vault) copyOut(ctx context.Context, name string, to io.Writer) error {
	from, err := v.openNamed(ctx, name)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(to, from)
	return err
}

// Counter is a driver that counts rows without a look at everything.
type Counter interface {
	Rows(ctx context.Context, server service.Server) (map[string]int64, error)
}

// compare tells which tables are not as many rows as in the service that is
// there; if that cannot be asked, as in the backup.
func (k *Keeper) compare(ctx context.Context, from springtide.ServiceID, driver service.Driver, restored, backup map[string]int64) []RowDifference {
	now := backup
	if counter, can := driver.(Counter); can {
		if server, _, err := k.options.Services.Server(from); err == nil {
			if rows, err := counter.Rows(ctx, server); err == nil {
				now = rows
			}
		}
	}
	return differences(now, restored)
}

func differences(now, restored map[string]int64) (all []RowDifference) {
	tables := maps.Clone(restored)
	maps.Copy(tables, now)
	for _, table := range slices.Sorted(maps.Keys(tables)) {
		d := RowDifference{table, -1, -1}
		if rows, there := now[table]; there {
			d.Now = rows
		}
		if rows, there := restored[table]; there {
			d.Restored = rows
		}
		if d.Now != d.Restored {
			all = append(all, d)
		}
	}
	return all
}
