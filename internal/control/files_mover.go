package control

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/observe"
)

// How often what is still written to a folder is carried over to the bucket that
// a release uses instead, and how long to wait when that does not work.
const (
	carryPause = 2 * time.Second
	carryRetry = 30 * time.Second
)

// mover carries over what instances of earlier releases still write to a folder,
// from when a release is made that has its files in a bucket, until none of
// theirs is left:
//
//	carrying ──▶ settled: only the release with the bucket has groups
//	                │ one more pass, from its begin to its end
//	                ▼
//	              moved: noted with the folder, which nobody uses any more
//
// A release that fails ends it. It begins again with the control plane.
type mover struct {
	store  *files.Store
	fleet  *deploy.Fleet
	events *observe.Events
	// bucket gives where the files are, with the keys.
	bucket func(id files.FolderID, url string) (files.Bucket, error)
	logger *slog.Logger

	wanted  chan carry
	mu      sync.Mutex
	current map[files.FolderID]context.CancelFunc
}

// carry is a folder whose files are carried over to the bucket at a URL.
type carry struct {
	id  files.FolderID
	url string
}

// Run carries over what is wanted until ctx ends.
func (m *mover) Run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case wanted := <-m.wanted:
			one, cancel := context.WithCancel(ctx)
			m.mu.Lock()
			if before := m.current[wanted.id]; before != nil {
				before()
			}
			m.current[wanted.id] = cancel
			m.mu.Unlock()
			all.Go(func() {
				defer cancel()
				m.carry(one, wanted)
			})
		}
	}
}

// begin has the files of a release's folders be in its buckets: at first all that
// there is, unless the release has the traffic already, then what is still written.
func (m *mover) begin(ctx context.Context, release springtide.Release, say func(string)) error {
	_, active, err := m.fleet.Environment(release.Environment)
	if err != nil {
		return err
	}
	for name, spec := range release.App.Files {
		if spec.Bucket == "" {
			continue
		}
		wanted := carry{files.FolderID{Environment: release.Environment, Name: name}, spec.Bucket}
		if active.Number != release.Number {
			done, err := m.pass(ctx, wanted)
			if err != nil {
				return err
			}
			if done != nil && done.Copied > 0 {
				say(fmt.Sprintf("%d files of %s were carried over to the bucket", done.Copied, name))
			}
		}
		select {
		case m.wanted <- wanted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// pass copies once what the bucket lacks; nil if there is nothing to carry over.
func (m *mover) pass(ctx context.Context, wanted carry) (*files.Copied, error) {
	folder, err := m.store.Open(wanted.id)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if folder.Moved != "" { // it is not what counts any more
		return nil, nil
	}
	bucket, err := m.bucket(wanted.id, wanted.url)
	if err != nil {
		return nil, err
	}
	done, err := folder.CopyTo(ctx, bucket, files.CopyOptions{})
	return &done, err
}

func (m *mover) carry(ctx context.Context, wanted carry) {
	for pause := carryPause; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		settled := m.settled(wanted)
		done, err := m.pass(ctx, wanted)
		switch {
		case ctx.Err() != nil || err == nil && done == nil:
			return
		case err != nil:
			m.logger.Error("files are not carried over to their bucket; it is tried again", "folder", wanted.id, "error", err)
			pause = carryRetry
			continue
		}
		pause = carryPause
		if !settled {
			continue
		}
		if err := m.store.SetMoved(wanted.id, wanted.url); err != nil {
			m.logger.Error("that files were moved could not be noted", "folder", wanted.id, "error", err)
			continue
		}
		m.events.Publish(springtide.Event{
			Environment: wanted.id.Environment, Kind: "files.moved",
			Message: "all files of " + string(wanted.id.Name) + " are in their bucket; the folder is kept until it is destroyed",
		})
		return
	}
}

// settled reports whether only a release that uses the bucket has instances.
func (m *mover) settled(wanted carry) bool {
	_, release, err := m.fleet.Environment(wanted.id.Environment)
	if err != nil || release.App.Files[wanted.id.Name].Bucket != wanted.url {
		return false
	}
	for _, group := range m.fleet.Groups() {
		if group.ID.Environment == wanted.id.Environment && group.ID.Release != release.Number {
			return false
		}
	}
	return true
}

// over ends what was begun for a release that is not the active one.
func (m *mover) over(id springtide.EnvironmentID, active map[springtide.FilesName]springtide.Files) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for folder, cancel := range m.current {
		if folder.Environment == id && active[folder.Name].Bucket == "" {
			cancel()
			delete(m.current, folder)
		}
	}
}
