package backup

import (
	"context"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// RestoreFiles brings shared files back, beside those in use: as the backup of
// that ID has them or, where it is empty, the newest that was begun before then. A
// zero time is the newest.
func (k *Keeper) RestoreFiles(ctx context.Context, id springtide.EnvironmentID, backup string, to time.Time) (RestoredFiles, error) {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return RestoredFiles{}, err
	}
	if backup != "" {
		if !to.IsZero() {
			return RestoredFiles{}, springtide.Errorf(springtide.Invalid, "shared files are as they were at the time of a backup: name it, or a time")
		}
		m, err := k.named(ctx, of, backup)
		if err != nil {
			return RestoredFiles{}, err
		}
		return k.files.restore(ctx, m, func(springtide.Progress) {})
	}
	all, err := k.List(ctx, of)
	if err != nil {
		return RestoredFiles{}, err
	}
	for _, m := range slices.Backward(all) {
		if to.IsZero() || !m.Begun.After(to) {
			return k.files.restore(ctx, m, func(springtide.Progress) {})
		}
	}
	if len(all) == 0 {
		return RestoredFiles{}, springtide.Errorf(springtide.NotFound, "there is no backup of %s", of).WithHint("make one: tide backups run files")
	}
	return RestoredFiles{}, springtide.Errorf(springtide.NotFound, "the oldest backup of %s is of %s", of, all[0].Begun.Format(time.RFC3339)).
		WithHint("see: tide backups ls files")
}

// ExchangeFiles has restored files and those in use change places.
func (k *Keeper) ExchangeFiles(id springtide.EnvironmentID, backup string) (RestoredFiles, error) {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return RestoredFiles{}, err
	}
	made, err := k.files.restored(of, backup)
	if err != nil {
		return made, err
	}
	return k.files.exchange(of, backup, !made.Promoted)
}

// DiscardFiles deletes what is not in use: the restored files, or, once they are
// promoted, those before.
func (k *Keeper) DiscardFiles(id springtide.EnvironmentID, backup string) error {
	of, err := k.subjectOfFiles(id)
	if err != nil {
		return err
	}
	if _, err := k.files.restored(of, backup); err != nil {
		return err
	}
	return k.files.discard(of, backup)
}

func (k *Keeper) subjectOfFiles(id springtide.EnvironmentID) (Subject, error) {
	if k.files == nil {
		return Subject{}, springtide.Errorf(springtide.Unavailable, "shared files are not kept safe here")
	}
	return Subject{Environment: id, Of: springtide.BackupFiles}, nil
}
