package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// files measures the backup and the restore of shared files with that content,
// all of them new in each round.
func (b *bench) files(ctx context.Context, kind string) error {
	peer := filepath.Join(b.folder, "restic")
	repository, restored := filepath.Join(peer, "repository"), filepath.Join(peer, "restored")
	restic := func(arguments ...string) func(context.Context, *row) (time.Duration, error) {
		return func(ctx context.Context, r *row) (time.Duration, error) {
			words := append([]string{"restic", "--quiet", "--cache-dir=" + filepath.Join(peer, "cache"), "--repo=" + repository}, arguments...)
			took, err := command(ctx, nil, peer, words...)
			if err == nil && arguments[0] == "backup" {
				r.Bytes, err = sizeOf(repository)
			}
			return took, err
		}
	}
	for round := 1; round <= b.rounds; round++ {
		seed := uint64(100 + round)
		if err := errors.Join(os.RemoveAll(peer), os.Mkdir(peer, 0o700), writeFiles(b.uploads(), content(kind, seed), b.size)); err != nil {
			return err
		}
		if _, err := restic("init")(ctx, nil); err != nil {
			return err
		}
		for _, one := range []struct {
			what, subject string
			work          func(context.Context, *row) (time.Duration, error)
		}{
			{"backup", "tide", b.tideBackupFiles},
			{"backup", "restic", restic("backup", b.uploads())},
			{"restore", "tide", func(ctx context.Context, _ *row) (time.Duration, error) { return 0, b.restored(ctx, "files", 0) }},
			{"restore", "restic", restic("restore", "latest", "--target="+restored)},
		} {
			if err := b.round(ctx, row{Case: "files " + one.what + ", " + kind, Subject: one.subject, Round: round}, one.work); err != nil {
				return err
			}
		}
		whole, err := sizeOf(restored)
		if err != nil || whole != b.size/fileSize*fileSize {
			return fmt.Errorf("restic has restored %d bytes of %d: %w", whole, b.size, err)
		}
	}
	return os.RemoveAll(peer)
}

func (b *bench) tideBackupFiles(ctx context.Context, r *row) (time.Duration, error) {
	target := filepath.Join(b.Data, "backups")
	before, err := sizeOf(target)
	if err != nil {
		return 0, err
	}
	if _, err := b.tide(ctx, "backups", "run", "files"); err != nil {
		return 0, err
	}
	after, err := sizeOf(target)
	r.Bytes = after - before
	return 0, err
}
