package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/jobs"
)

// How often it is looked for uploads, and how many are enqueued at once.
const (
	uploadsEvery = 500 * time.Millisecond
	uploadsChunk = 100
)

// uploads makes runs of what was uploaded. An upload is forgotten once its run is
// in the ledger; killed between, it is enqueued again, by the same key:
//
//	object ──▶ noted ──▶ acknowledged      the gateway
//	             └──▶ enqueued ──▶ forgotten
type uploads struct {
	store  *files.Store
	jobs   jobs.Enqueuer
	logger *slog.Logger
	// trouble is what the log says already of a folder.
	trouble map[files.FolderID]string
}

// Run enqueues until ctx ends.
func (u *uploads) Run(ctx context.Context) error {
	u.trouble = map[files.FolderID]string{}
	for ctx.Err() == nil {
		all, err := u.store.All()
		if err != nil {
			u.logger.Error("shared folders cannot be listed", "error", err)
		}
		for _, id := range all {
			u.complain(ctx, id, u.enqueue(ctx, id))
		}
		select {
		case <-ctx.Done():
		case <-time.After(uploadsEvery):
		}
	}
	return nil
}

// enqueue makes runs of all that was uploaded to a folder, in order.
func (u *uploads) enqueue(ctx context.Context, id files.FolderID) error {
	for {
		waiting, err := u.store.Uploaded(id, uploadsChunk)
		if err != nil || len(waiting) == 0 {
			return err
		}
		asked := make([]springtide.Job, len(waiting))
		for i, one := range waiting {
			asked[i] = springtide.Job{Queue: one.Queue, Payload: one.Payload, Key: "upload " + one.ID}
		}
		if _, err := u.jobs.Enqueue(ctx, id.Environment, asked, nil); err != nil {
			return err
		}
		for _, one := range waiting {
			if err := u.store.SetEnqueued(id, one.ID); err != nil {
				return err
			}
		}
	}
}

func (u *uploads) complain(ctx context.Context, id files.FolderID, err error) {
	switch {
	case err == nil:
		delete(u.trouble, id)
	case ctx.Err() == nil && u.trouble[id] != err.Error():
		u.trouble[id] = err.Error()
		u.logger.Error("uploads are not enqueued; it is tried again", "folder", id, "error", err)
	}
}
