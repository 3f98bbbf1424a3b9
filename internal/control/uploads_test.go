package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/jobs"
)

// deafLedger takes jobs, but its answer may be lost, as by a kill.
type deafLedger struct {
	keys []string
	lost bool
}

func (f *deafLedger) Enqueue(_ context.Context, _ springtide.EnvironmentID, all []springtide.Job, _ *jobs.Batch) ([]jobs.Enqueued, error) {
	for _, job := range all {
		f.keys = append(f.keys, job.Key)
	}
	if f.lost {
		return nil, errors.New("the answer is lost")
	}
	return make([]jobs.Enqueued, len(all)), nil
}

func TestAnUploadIsEnqueuedByTheSameKeyUntilTheLedgerHasIt(t *testing.T) {
	store, err := files.New(files.Options{Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Provision(t.Context(), quiz, map[springtide.FilesName]springtide.Files{"uploads": {Enqueue: "thumbnails"}}, os.Geteuid()); err != nil {
		t.Fatal(err)
	}
	id := files.FolderID{Environment: quiz, Name: "uploads"}
	folder, err := store.Open(id)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	const count = uploadsChunk + 7
	for i := range count {
		if err := folder.Announce(files.Entry{Name: fmt.Sprint(i), Size: 1}, ""); err != nil {
			t.Fatal(err)
		}
	}
	ledger := &deafLedger{lost: true}
	u := &uploads{store: store, jobs: ledger, logger: slog.New(slog.DiscardHandler)}
	if err := u.enqueue(t.Context(), id); err == nil || len(ledger.keys) != uploadsChunk {
		t.Fatalf("%d keys, %v", len(ledger.keys), err)
	}
	first := ledger.keys
	ledger.keys, ledger.lost = nil, false
	if err := u.enqueue(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if len(ledger.keys) != count || !slices.Equal(first, ledger.keys[:uploadsChunk]) || !slices.IsSortedFunc(ledger.keys, strings.Compare) {
		t.Errorf("the keys are %q, at first %q", ledger.keys, first)
	}
	if left, err := store.Uploaded(id, 1); err != nil || len(left) > 0 {
		t.Errorf("left are %v, %v", left, err)
	}
}
