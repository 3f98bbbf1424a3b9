package control

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/springtide/springtide/internal/backup"
	"github.com/springtide/springtide/internal/secret"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// RestoreOptions say what platform is to be brought back, and where.
type RestoreOptions struct {
	// DataFolder is empty, or missing, or that of a restore that did not come to
	// its end.
	DataFolder string
	// From is where the backups are.
	From BackupTarget
	// RecoveryKey is what `tide recovery-key` showed.
	RecoveryKey string
	// Progress is told what is being done.
	Progress func(string)
	Logger   *slog.Logger
}

// Restore brings a whole platform back. It can be called again until it succeeds.
func Restore(ctx context.Context, o RestoreOptions) ([]backup.Brought, error) {
	target, err := backup.OpenTarget(o.From.URL, o.From.access(""))
	if err != nil {
		return nil, err
	}
	open := func(ctx context.Context) (*service.Manager, func() error, error) { return openServices(ctx, o) }
	brought, err := backup.RestorePlatform(ctx, backup.PlatformRestore{
		Target: target, URL: o.From.URL, Access: o.From.access(""), Folder: o.DataFolder, Progress: o.Progress, Logger: o.Logger,
		Unlock: func(file []byte) (backup.Recovery, error) {
			return secret.OpenRecovery(file, o.RecoveryKey)
		},
		Services: func(ctx context.Context) (backup.Services, func() error, error) { return open(ctx) },
	})
	if err != nil {
		return brought, err
	}
	manager, closeServices, err := open(ctx)
	if err != nil {
		return brought, err
	}
	return brought, errors.Join(destroyEmpty(ctx, manager, o.Progress), closeServices())
}

// openServices opens those of a data folder on which nothing runs.
func openServices(ctx context.Context, o RestoreOptions) (*service.Manager, func() error, error) {
	store, err := sqlite.Open(ctx, filepath.Join(o.DataFolder, "tide.db"), o.Logger)
	if err != nil {
		return nil, nil, err
	}
	keyring, err := secret.Open(ctx, secret.Options{Folder: o.DataFolder, Store: store, Logger: o.Logger})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	manager, err := service.New(service.Options{
		Folder: filepath.Join(o.DataFolder, "services"), Drivers: drivers(o.Logger), Sealer: keyring,
		Host: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Logger: o.Logger,
	})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return manager, func() error { return errors.Join(manager.Close(), store.Close()) }, nil
}

// destroyEmpty forgets the services of which there was no backup: those that a
// release names are made anew when the platform starts.
func destroyEmpty(ctx context.Context, manager *service.Manager, progress func(string)) error {
	for _, status := range manager.All() {
		if status.Spec.External != "" {
			continue
		}
		server, _, err := manager.Server(status.ID)
		if err == nil {
			if _, err := os.Stat(filepath.Join(server.Folder, "data")); err == nil {
				continue
			}
		}
		progress(status.ID.String() + " had no backup: it begins empty")
		if err := manager.Destroy(ctx, status.ID); err != nil {
			return err
		}
	}
	return nil
}

// BackupTarget is where backups are kept.
type BackupTarget struct {
	// URL is like file:///folder, sftp://user@host/folder or
	// s3://bucket/prefix?endpoint=https://host. Empty: in the data folder.
	URL string
	// Key is the file of a private key, and KnownHosts that of the hosts' public
	// keys, for SFTP.
	Key, KnownHosts string
	// AccessKey and SecretKey are those of S3.
	AccessKey, SecretKey string
}

// access is what it takes to get in. Records is the folder in which is remembered
// which targets are ours.
func (t BackupTarget) access(records string) backup.TargetOptions {
	return backup.TargetOptions{Records: records, Key: t.Key, KnownHosts: t.KnownHosts, AccessKey: t.AccessKey, SecretKey: t.SecretKey}
}

// Check refuses what is no target.
func (t BackupTarget) Check() error {
	if t.URL == "" {
		return nil
	}
	_, err := backup.OpenTarget(t.URL, t.access(""))
	return err
}
