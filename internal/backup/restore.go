package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

const (
	// finishedWithin is how long it may take to finish a segment when asked to,
	// finishEvery how often that is asked.
	finishedWithin = 2 * time.Minute
	finishEvery    = time.Second
	// fileTick is by how much the time of a file may be behind.
	fileTick = 20 * time.Millisecond
	// fullBelow is how many bytes are free at least where something failed for
	// another reason than that the disk is full.
	fullBelow = 16 << 20
)

// RestoreRequest says what is to be brought back.
type RestoreRequest struct {
	From springtide.ServiceID
	// Backup is the ID of one. Empty: the newest that was finished before To.
	Backup string
	// To is the moment to go back to, by the clock of the server's machine. Zero: of
	// a Backup that is named the moment at which it was finished, else the newest.
	To time.Time
	// As is what the new service is called. Default: the name and the moment
	As springtide.ServiceName
}

// Restored tells what was brought back.
type Restored struct {
	Service springtide.ServiceID `json:"service"`
	Backup  string               `json:"backup"`
	// At is the moment that it is as of.
	At   time.Time     `json:"at"`
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
	restored := Restored{Service: made, Backup: m.ID, At: k.asOf(m, to)}
	server, driver, backuper, err := k.draft(ctx, made, request.From, m)
	if err != nil {
		return restored, err
	}
	if err = k.fill(ctx, m, server, backuper, to); err != nil {
		err = errors.Join(err, os.RemoveAll(server.Folder)) // to delete it needs room too
	} else {
		err = k.options.Services.Adopt(ctx, made, server)
	}
	if err != nil {
		// Killed before, it is the manager that does it when it starts again.
		return restored, errors.Join(fmt.Errorf("restore %s: %w", of, err), k.options.Services.Destroy(context.WithoutCancel(ctx), made))
	}
	if server, _, err = k.options.Services.Server(made); err != nil {
		return restored, err
	}
	if restored.Verification, err = backuper.Verify(ctx, server); err != nil {
		return restored, err
	}
	restored.Took = time.Since(began)
	restored.Differences = k.compare(ctx, request.From, driver, restored.Verification.Rows, m.Rows)
	k.happened(of, "restore.made", fmt.Sprintf("%s is %s as it was at %s", made, of, restored.At.UTC().Format(time.RFC3339)),
		map[string]string{"service": string(made.Name), "id": m.ID})
	return restored, nil
}

// draft makes room for what is restored.
func (k *Keeper) draft(ctx context.Context, made, from springtide.ServiceID, m Manifest) (service.Server, service.Driver, service.Backuper, error) {
	_, driver, backuper, err := k.backuper(SubjectOf(from))
	if err != nil {
		return service.Server{}, nil, nil, err
	}
	server, err := k.options.Services.Draft(ctx, made, from)
	if err != nil {
		return server, nil, nil, err
	}
	if m.Service == nil || m.Service.Kind != server.Spec.Kind {
		err := springtide.Errorf(springtide.Conflict, "backup %s is not of a %s as service %s is", m.ID, server.Spec.Kind, from)
		return server, nil, nil, errors.Join(err, k.options.Services.Destroy(ctx, made))
	}
	server.Version = m.Version
	return server, driver, backuper, nil
}

// choose finds the backup to begin with, and the moment to go on to.
func (k *Keeper) choose(ctx context.Context, of Subject, request RestoreRequest) (Manifest, time.Time, error) {
	var all []Manifest
	var err error
	if request.Backup == "" {
		all, err = k.List(ctx, of)
	} else {
		all = make([]Manifest, 1)
		all[0], err = k.named(ctx, of, request.Backup)
	}
	if err != nil {
		return Manifest{}, time.Time{}, err
	}
	m, err := chosen(all, of, request, time.Now())
	switch {
	case err != nil:
	case !request.To.IsZero():
		err = k.catchUp(ctx, m, request.To)
	case request.Backup != "":
		m.Lineage = "" // without what was changed since
	}
	return m, request.To, err
}

// named gives the backup of that ID, or says why it cannot be restored.
func (k *Keeper) named(ctx context.Context, of Subject, id string) (Manifest, error) {
	if !isID(id) {
		return Manifest{}, springtide.Errorf(springtide.Invalid, "%q is not the ID of a backup", id).WithHint("see: tide backups ls %s", of.Of)
	}
	m, err := k.vault.manifest(ctx, of, id)
	switch {
	case springtide.KindOf(err) == springtide.NotFound:
		return m, springtide.Errorf(springtide.NotFound, "there is no backup %s of %s", id, of).WithHint("see: tide backups ls %s", of.Of)
	case err == nil && m.Kind == KindDump:
		return m, springtide.Errorf(springtide.Invalid, "backup %s is a dump, which is for other servers", id).WithHint("name one that is whole: tide backups ls %s", of.Of)
	}
	return m, err
}

// Finisher is a driver that can finish the segment of its log of changes that is
// being written.
type Finisher interface {
	// Finish has a segment be finished soon, even if nothing was changed.
	Finish(ctx context.Context, server service.Server) error
}

// catchUp has the changes up to a moment that has just passed shipped, if the
// service still is the one that was backed up. A server that does not run any
// more has left what is waiting.
func (k *Keeper) catchUp(ctx context.Context, m Manifest, to time.Time) error {
	server, driver, backuper, err := k.backuper(m.Subject)
	finisher, can := driver.(Finisher)
	if err != nil || !can {
		return nil // what is on the target is all there is
	}
	ctx, cancel := context.WithTimeout(ctx, finishedWithin)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for asked, stopped := (time.Time{}), error(nil); ; {
		lineage, _, err := k.shipped(ctx, m.Subject, server, backuper)
		if err != nil || stopped != nil || lineage != m.Lineage || k.reached(m).After(to) {
			return err
		}
		if time.Since(asked) > finishEvery {
			asked, stopped = time.Now(), finisher.Finish(ctx, server)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return springtide.Errorf(springtide.Unavailable, "the changes of %s up to %s have not arrived", m.Subject, to.UTC().Format(time.RFC3339)).
				WithHint("try again, or ask for an earlier moment")
		}
	}
}

// asOf is the moment that a backup with its changes is of; a zero to is all there
// is.
func (k *Keeper) asOf(m Manifest, to time.Time) time.Time {
	if reached := k.reached(m); to.IsZero() && reached.After(m.Finished) {
		return reached
	}
	return cmp.Or(to, m.Finished)
}

// reached is how far a backup's changes go.
func (k *Keeper) reached(m Manifest) (until time.Time) {
	k.note(m.Subject, func(s *Standing) { until = s.reached[m.Lineage] })
	return until
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
	return Manifest{}, springtide.Errorf(springtide.NotFound, "no backup of %s is that old: the first was finished at %s", of, wholes[0].Finished.Format(time.RFC3339))
}

// fill makes a stopped server's data from a backup and the changes since. It
// begins anew whatever is there. A disk without room is an error of kind
// Unavailable: it says nothing of the backup.
func (k *Keeper) fill(ctx context.Context, m Manifest, server service.Server, backuper service.Backuper, to time.Time) error {
	if err := fits(server.Folder, m.Plain()); err != nil {
		return err
	}
	err := k.fillAll(ctx, m, server, backuper, to)
	if err != nil && isFull(server.Folder) {
		return springtide.Errorf(springtide.Unavailable, "the disk of %s is full: %w", server.Folder, err).
			WithHint("make room there and try again: nothing is left half done")
	}
	return err
}

// isFull reports whether the disk of a folder has no room left: programs that
// drivers run do not always say that it was this that they failed for.
func isFull(folder string) bool {
	var room unix.Statfs_t
	if err := unix.Statfs(folder, &room); err != nil {
		return false
	}
	return int64(room.Bavail)*room.Bsize < max(fullBelow, int64(room.Blocks)*room.Bsize/100)
}

func (k *Keeper) fillAll(ctx context.Context, m Manifest, server service.Server, backuper service.Backuper, to time.Time) error {
	changes, to, within, err := k.changesFor(ctx, m, to)
	if err != nil {
		return err
	}
	err = k.refill(ctx, m, server, backuper, changes, to)
	if within && springtide.KindOf(err) == springtide.Invalid {
		// The moment is in what was shipped last, but after all that is in it.
		err = k.refill(ctx, m, server, backuper, changes, time.Time{})
	}
	return err
}

func (k *Keeper) refill(ctx context.Context, m Manifest, server service.Server, backuper service.Backuper, changes map[string]string, to time.Time) error {
	from, err := k.vault.open(ctx, m.Objects[0])
	if err != nil {
		return err
	}
	defer from.Close()
	err = backuper.Restore(ctx, server, from, service.RestoreTo{Time: to, Changes: func(ctx context.Context, name string, out io.Writer) error {
		object, known := changes[name]
		if !known {
			return springtide.Errorf(springtide.NotFound, "%s has no change %s", m.Subject, name)
		}
		return k.vault.copyOut(ctx, object, out)
	}})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, from) // the end tells whether all of it was right
	return err
}

// changesFor gives the objects of the segments that take a backup to a moment, by
// their names. All must be there: their numbers have no gap. The moment that it
// gives back is zero where all there is ends before it; within says that it is in
// the last segment.
func (k *Keeper) changesFor(ctx context.Context, m Manifest, to time.Time) (changes map[string]string, until time.Time, within bool, err error) {
	if m.Lineage == "" {
		return nil, to, false, nil
	}
	all, err := k.vault.segments(ctx, m.Subject, m.Lineage)
	if err != nil {
		return nil, to, false, err
	}
	changes = map[string]string{}
	next, before, reached := m.After+1, m.Finished, m.Finished
	for _, s := range all {
		if s.number > next && (to.IsZero() || !reached.After(to)) {
			return nil, to, false, springtide.Errorf(springtide.Failed, "the backup target has lost change %d of %s", next, m.Subject).
				WithHint("go back to a moment before %s, or to a later backup", reached.UTC().Format(time.RFC3339))
		}
		if s.number > m.After {
			changes[s.name], next = s.object, s.number+1
			before, reached = reached, s.finished
		}
	}
	if !reached.Add(fileTick).After(to) {
		return changes, time.Time{}, false, nil
	}
	return changes, to, !to.IsZero() && !before.After(to), nil
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
