package backup

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// expired gives the backups that are older than keep, counted from the newest of
// their kind: it and what is younger stays, whatever time it is now.
func expired(all []Manifest, keep time.Duration) (old []Manifest) {
	newest := map[Kind]time.Time{}
	for _, m := range all {
		if m.Finished.After(newest[m.Kind]) {
			newest[m.Kind] = m.Finished
		}
	}
	for _, m := range all {
		if m.Finished.Before(newest[m.Kind].Add(-keep)) {
			old = append(old, m)
		}
	}
	return old
}

// sane leaves out backups that were made by a clock that was ahead: no other is
// older for that.
func sane(all []Manifest, now time.Time) []Manifest {
	return slices.DeleteFunc(slices.Clone(all), func(m Manifest) bool { return m.Finished.After(now.Add(time.Hour)) })
}

// retain removes what need not be kept of a service: old backups, changes that
// no backup needs any more, and what attempts that were killed have left.
func (k *Keeper) retain(ctx context.Context, of Subject) error {
	keep, err := k.keepOf(ctx, of)
	if err != nil || keep <= 0 {
		return err
	}
	all, ids, err := k.vault.manifests(ctx, of)
	if err != nil || len(all) == 0 {
		return err
	}
	old := expired(sane(all, time.Now()), keep)
	for _, m := range old {
		if err := k.vault.forget(ctx, m); err != nil {
			return err
		}
	}
	kept := slices.DeleteFunc(all, func(m Manifest) bool {
		return slices.ContainsFunc(old, func(o Manifest) bool { return o.ID == m.ID })
	})
	before := kept[len(kept)-1].Begun.Add(-2 * attemptLimit)
	if err := k.vault.sweepLeft(ctx, of, ids, before); err != nil {
		return err
	}
	if len(ids) > len(all) {
		return nil // one cannot be read: nobody knows which changes it needs
	}
	return k.retainChanges(ctx, of, kept)
}

// planOf gives what is wanted of a subject; the zero Backup: nothing is.
func (k *Keeper) planOf(ctx context.Context, of Subject) (springtide.Backup, error) {
	plans, err := k.options.Plans(ctx)
	for _, plan := range plans {
		if plan.Subject == of {
			return plan.Backup, err
		}
	}
	return springtide.Backup{}, err
}

// keepOf tells how long a subject's backups are kept; 0: for ever.
func (k *Keeper) keepOf(ctx context.Context, of Subject) (time.Duration, error) {
	plan, err := k.planOf(ctx, of)
	return plan.Keep, err
}

// sweepLeft removes the objects that belong to no backup, of attempts that began
// before then, and what killed writing has left.
func (v *vault) sweepLeft(ctx context.Context, of Subject, ids []string, before time.Time) error {
	objects, err := v.target.List(ctx, path.Join(v.folder(of), "objects")+"/")
	if err != nil {
		return err
	}
	for _, object := range objects {
		id := path.Base(path.Dir(object.Name))
		if begun := idTime(id); begun.IsZero() || !begun.Before(before) || slices.Contains(ids, id) {
			continue
		}
		if err := v.target.Delete(ctx, object.Name); err != nil {
			return err
		}
	}
	if tidier, can := v.target.(Tidier); can {
		return tidier.Tidy(ctx, before)
	}
	return nil
}

// retainChanges removes the segments that none of the backups needs. Those of a
// lineage without a backup are left if it is the newest one's, or younger: its
// first backup may be under way.
func (k *Keeper) retainChanges(ctx context.Context, of Subject, kept []Manifest) error {
	after, current := map[string]int64{}, ""
	for _, m := range kept {
		if m.Kind != KindWhole || m.Lineage == "" {
			continue
		}
		if first, known := after[m.Lineage]; !known || m.After < first {
			after[m.Lineage] = m.After
		}
	}
	if server, _, _, err := k.backuper(of); err == nil {
		if current, err = lineageOf(server); err != nil {
			return err
		}
	} else {
		return nil // without its server it is not known which lineage goes on
	}
	folder := path.Join(k.vault.folder(of), "changes") + "/"
	objects, err := k.vault.target.List(ctx, folder)
	if err != nil {
		return err
	}
	for _, object := range objects {
		lineage, base, _ := strings.Cut(strings.TrimPrefix(object.Name, folder), "/")
		s, ok := parseSegment(base)
		first, needed := after[lineage]
		if !ok || !needed && lineage == current || needed && s.number > first {
			continue
		}
		if err := k.vault.target.Delete(ctx, object.Name); err != nil {
			return err
		}
	}
	return nil
}
