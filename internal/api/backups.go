package api

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

func (s *Server) backupStatus(ctx context.Context, in *EnvironmentPath) ([]BackupStatus, error) {
	return s.platform.Backups.BackupStatus(ctx, in.id())
}

type listBackupsInput struct {
	EnvironmentPath
	Of string `query:"of" doc:"a service, or files; default: all"`
}

func (s *Server) listBackups(ctx context.Context, in *listBackupsInput) ([]BackupRecord, error) {
	return s.platform.Backups.Backups(ctx, in.id(), in.Of)
}

// BackupPath is the part of a path that names what is kept safe.
type BackupPath struct {
	EnvironmentPath
	Of string `path:"of" maxLength:"40" pattern:"^[a-z0-9-]+$" doc:"a service, or files"`
}

// StartedRun names a run that was made.
type StartedRun struct {
	Run springtide.RunID `json:"run"`
}

func (s *Server) runBackup(ctx context.Context, in *BackupPath) (StartedRun, error) {
	run, err := s.platform.Backups.RunBackup(ctx, in.id(), in.Of, springtide.RunBackup)
	return StartedRun{run}, err
}

func (s *Server) runDrill(ctx context.Context, in *BackupPath) (StartedRun, error) {
	run, err := s.platform.Backups.RunBackup(ctx, in.id(), in.Of, springtide.RunDrill)
	return StartedRun{run}, err
}

func (s *Server) verifyBackups(ctx context.Context, in *BackupPath) (Verification, error) {
	return s.platform.Backups.VerifyBackups(context.WithoutCancel(ctx), in.id(), in.Of)
}

func (s *Server) acceptFiles(ctx context.Context, in *EnvironmentPath) error {
	return s.platform.Backups.AcceptFiles(ctx, in.id())
}

// RestoreRequest asks for a state of the past.
type RestoreRequest struct {
	To     time.Time `json:"to,omitzero" doc:"the time to go back to; default: that of the backup, if one is named, or the newest that there is"`
	Backup string    `json:"backup,omitempty" maxLength:"60" doc:"the ID of the backup to take; default: the newest before that time"`
}

type restoreInput struct {
	BackupPath
	Body RestoreRequest
}

func (s *Server) restore(ctx context.Context, in *restoreInput) (Restored, error) {
	return s.platform.Backups.Restore(context.WithoutCancel(ctx), in.id(), in.Of, in.Body)
}

type restoredInput struct {
	BackupPath
	Restored string `path:"restored" maxLength:"60"`
}

func (s *Server) promoteRestored(ctx context.Context, in *restoredInput) error {
	return s.platform.Backups.Promote(context.WithoutCancel(ctx), in.id(), in.Of, in.Restored)
}

func (s *Server) discardRestored(ctx context.Context, in *restoredInput) error {
	return s.platform.Backups.Discard(context.WithoutCancel(ctx), in.id(), in.Of, in.Restored)
}
